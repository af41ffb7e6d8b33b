//! Everything of klamm that needs more than its own process: a real Apache Kafka, real sockets, the real binary.
//!
//! One binary, so that one broker serves most tests (`Kafka::shared`) and linking is paid once. `make kafka` fetches
//! the broker's jars.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking; clippy's switch for tests does not reach the helpers of an integration binary"
)]

mod admin;
mod admission;
mod chaos;
mod cli;
mod contagion;
mod costs;
mod delivery;
mod demo_real;
mod deploy;
mod dev;
mod docs;
mod edge;
mod faults;
mod hostile;
mod java_partitions;
mod layers;
mod limits;
mod live;
mod outage;
mod partial;
mod probe;
mod proxy_works;
mod refusals;
mod reload;
mod rolling;
mod security;
mod shutdown;
mod sidecar;
mod smuggling;
mod spool;
mod spooling;
mod support;
mod support_works;
mod systemd;
mod terminal;
