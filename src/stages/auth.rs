//! Who sends.
//!
//! A [`Chain`] of methods looks at the head of a request and names its [`Principal`]. Every refusal is the same, so that
//! nobody learns whether a key was missing, unknown, wrong or expired. What the principal may do is `acl`'s.

pub mod api_key;
pub mod chain;
pub mod principal;

pub use chain::{Chain, Head};
pub use principal::Principal;
