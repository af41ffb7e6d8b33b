//! Facts about the spool.

mod files;
mod memory;
mod model;
mod rates;
