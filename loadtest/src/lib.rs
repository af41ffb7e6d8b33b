//! An open-loop HTTP load generator that says when it cannot be believed.
//!
//! A load is fixed before it starts ([`load::Options`]); [`load::run`] sends it and gives back what was seen
//! ([`load::Run`]). The commands of [`cli`] are loops around that one call.

pub mod bench;
pub mod capacity;
pub mod cli;
pub mod compare;
pub mod gateway;
pub mod load;
pub mod overload;
pub mod report;
mod stage;
pub mod statistics;
pub mod sweep;
pub mod topics;
pub mod verify;
pub mod yardstick;
