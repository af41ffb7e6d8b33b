//! The stages of an event's path, one module each. No stage knows another; `ingest` puts them in order.

pub mod acl;
pub mod admission;
pub mod auth;
pub mod decode;
pub mod limit;
pub mod produce;
pub mod route;
pub mod spool;
pub mod validate;
