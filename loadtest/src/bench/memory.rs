//! P5, idle: what klamm holds when it does nothing, and when 10,000 clients hold a connection and do nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::row::{Bar, Row};
use super::{Bench, PARTITIONS, machine};
use crate::gateway::Gateway;

const CONNECTIONS: usize = 10_000;
/// Files of this process beside its connections.
const OTHERS: u64 = 100;
/// Memory is read so long after the last thing happened.
const SETTLE: Duration = Duration::from_secs(2);
/// A fresh gateway each; the figure hardly varies.
const ROUNDS: usize = 3;
const MB: f64 = 1e6;

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let stage = bench.tier.stage(1, PARTITIONS)?;
    allow_files()?;
    let (mut idle, mut connected) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let gateway = bench.start(&bench.setup(&stage), &stage)?;
        thread::sleep(SETTLE);
        idle.push(resident(&gateway)?);
        let connections = (0..CONNECTIONS).map(|_| used(&gateway)).collect::<Result<Vec<_>>>()?;
        thread::sleep(SETTLE);
        connected.push(resident(&gateway)?);
        let open = connections.iter().filter(|connection| is_open(connection)).count();
        ensure!(open == CONNECTIONS, "{open} of {CONNECTIONS} connections stayed open");
    }
    Ok(vec![
        Row::alone("P5-idle", "idle after its first event: resident memory", "MB", &idle, Bar::AtMost(20.0)),
        Row::alone(
            "P5-connections",
            "10,000 connections that were used once and idle: resident memory",
            "MB",
            &connected,
            Bar::AtMost(150.0),
        ),
    ])
}

fn resident(gateway: &Gateway) -> Result<f64> {
    Ok(machine::resident(gateway.pid()).context("the gateway ended")? as f64 / MB)
}

/// A connection that has had a request and its answer: one that never says anything is closed after 10 s.
fn used(gateway: &Gateway) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway.ingest()).context("connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let header = gateway.header().context("a gateway with keys")?;
    write!(stream, "GET /v1/topics HTTP/1.1\r\nhost: {}\r\n{header}\r\n\r\n", gateway.ingest())?;
    // The answer is small and comes in one piece, or the pieces that come later stay unread; both are fine.
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer)?;
    let ok = answer.get(..count).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200 "));
    ensure!(ok, "not answered 200: {}", String::from_utf8_lossy(answer.get(..count).unwrap_or_default()));
    Ok(stream)
}

/// Whether the peer has neither closed nor reset it.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut byte));
    looked.map_or_else(|error| error.kind() == std::io::ErrorKind::WouldBlock, |count| count > 0)
}

/// Each connection is a file here and one there; the gateway raises its own limit.
fn allow_files() -> Result<()> {
    let needed = CONNECTIONS as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    ensure!(limit.maximum.is_none_or(|most| most >= needed), "{needed} open files are needed: raise `ulimit -Hn`");
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}
