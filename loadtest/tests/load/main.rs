//! Loads against a target that does what a test says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panic")]

mod cli;
mod h2c;
mod open_loop;
mod outcomes;
mod sent;
mod target;

use std::time::Duration;

use klamm_load::load::{Options, Run};

/// A short load without a warm-up.
fn options(url: &str) -> Options {
    Options {
        url: url.to_owned(),
        connections: 4,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(20),
        last_answers: Duration::from_secs(5),
        ..Options::default()
    }
}

/// The requests of a run, however they ended.
fn all(run: &Run) -> u64 {
    run.accepted.requests + run.failed()
}

/// How many requests ended with an error.
fn errors(run: &Run, reason: &str) -> u64 {
    run.errors.get(reason).map_or(0, |answers| answers.requests)
}
