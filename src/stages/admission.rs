//! Byte budget: how much may wait for Kafka, and whose it may be.
//!
//! A [`Permit`] goes with a request from the first byte of its body to Kafka's receipt. It is granted more, or refused,
//! at once: there is no waiting line. Invariants: what all permits hold is at most the total; what a dropped permit
//! held is free again.
//!
//! The rule, first for the whole budget, then the same for the part of it that one topic may have:
//!
//! - A client's fair share is size x its weight / the weights of all clients that hold something (itself included).
//! - No client holds more than the line, `budget.client` (75 %) of the size, so that a lone one leaves a quarter free.
//! - Up to the line everybody is admitted. Beyond it only clients that stay within their fair share are: a flood is
//!   refused and the others are not.
//! - Over its share: [`ShareExhausted`](crate::reject::Reject::ShareExhausted), a 429. Within its share, but all is
//!   taken: [`Overloaded`](crate::reject::Reject::Overloaded), a 503.
//!
//! A topic's part is `budget.topic` (50 %) of the total, so that a topic whose leader is gone does not take all. A permit
//! that has a topic for itself is not held to that part: a large request must be possible.

mod budget;
mod permit;

pub use budget::{Budget, Share, Usage};
pub use permit::Permit;

#[cfg(test)]
mod tests;
