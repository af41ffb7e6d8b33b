//! Facts about the spool.

mod files;
mod headless;
mod memory;
mod model;
mod rates;
