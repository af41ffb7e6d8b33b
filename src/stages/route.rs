//! Where an event goes: the policy of its topic, and its key.

pub mod key;
pub mod policy;
