//! Who sends.
//!
//! A [`Chain`] of methods looks at the head of a request and at its [`Peer`] and names its [`Principal`]. Every refusal
//! is the same, so that nobody learns whether a key was missing, unknown, wrong or expired; but web pages are told that
//! they may not use who they run beside. What the principal may do is `acl`'s.

pub mod api_key;
pub mod chain;
pub mod local;
pub mod peer;
pub mod principal;
pub mod unix;

pub use chain::{Chain, Head};
pub use peer::Peer;
pub use principal::Principal;
