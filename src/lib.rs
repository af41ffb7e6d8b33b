//! klamm: HTTP ingest gateway for Apache Kafka.
//!
//! An event's path, and where each step lives:
//!
//! | step | module |
//! |---|---|
//! | accept the connection, read the head, hold every timer and limit of the edge | [`http::listener`], [`http::layers`] |
//! | who sends, may they, one request of their quota, is there such a topic | [`ingest::gate`] over [`stages::auth`], [`stages::acl`], [`stages::limit`], [`stages::produce::catalog`] |
//! | take the body's bytes from the budget, then read them | [`stages::admission`], [`http::body`] |
//! | inflate, split and validate | [`ingest::accept`] over [`stages::decode`] |
//! | key, quota, topic policy | [`stages::route`], [`stages::limit`], [`stages::validate`] |
//! | hand over to Kafka; delivery reports become fates | [`stages::produce`] |
//! | count every event once, fold fates into an answer | [`ingest::outcome`], [`telemetry`] |
//! | render the answer, or the refusal | [`http::answer`], [`http::problem`], [`reject`] |
//!
//! Layers, the lower ones never naming the higher: `units event reject telemetry librdkafka`; `config`; `stages`;
//! `ingest`; `http admin`; `boot cli`. A test holds the house to it.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("failpoints are for tests, not for a release build");

pub mod admin;
pub mod boot;
pub mod cli;
pub mod config;
pub mod event;
pub mod http;
pub mod ingest;
pub mod librdkafka;
pub mod reject;
pub mod shutdown;
pub mod stages;
pub mod tasks;
pub mod telemetry;
pub mod units;
