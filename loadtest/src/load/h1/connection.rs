//! One connection of HTTP/1.1 and the request on it.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::load::plan::Plan;
use crate::load::schedule::Due;

/// What is being done on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Nothing; open or not.
    #[default]
    Free,
    /// Its request waits for it to open.
    Connecting,
    /// Part of the request is written.
    Writing,
    /// The request is written, the answer not here.
    Reading,
}

/// A connection, open or not.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Option<OwnedFd>,
    /// Counts its sockets, to tell the events of an earlier one.
    pub(super) generation: u32,
    pub(super) state: State,
    /// The request it has, unless it is free.
    pub(super) due: Due,
    /// When it was last given back.
    pub(super) free_since: u64,
    /// Bytes of the request that are written.
    written: usize,
    /// The request with its numbers; empty unless they are asked for.
    numbered: Vec<u8>,
    /// What has come of an answer that took more than one read.
    gathered: Vec<u8>,
    /// Bytes that the answer has at least.
    need: usize,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            socket: None,
            generation: 0,
            state: State::Free,
            due: Due { number: 0, at: 0 },
            free_since: 0,
            written: 0,
            numbered: Vec::new(),
            gathered: Vec::new(),
            need: 0,
        }
    }
}

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    pub(super) fn open(&mut self, socket: OwnedFd) {
        self.socket = Some(socket);
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
        // Events of it that were fetched already are no longer for us.
        self.generation = self.generation.wrapping_add(1);
    }

    /// Takes a request.
    pub(super) fn begin(&mut self, due: Due, plan: &Plan) {
        self.due = due;
        self.written = 0;
        self.gathered.clear();
        self.need = 0;
        if plan.numbered {
            self.numbered.clear();
            self.numbered.extend_from_slice(&plan.body(due.number).wire);
            plan.bodies.number(&mut self.numbered, due.number);
        }
    }

    /// Whether connecting has succeeded so far.
    pub(super) fn is_connected(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| matches!(sockopt::socket_error(socket), Ok(Ok(()))))
    }

    /// Writes as much of the request as the socket takes; whether that is all of it.
    pub(super) fn write(&mut self, plan: &Plan) -> Result<bool> {
        let Some(socket) = &self.socket else { return Err(Errno::NOTCONN) };
        let head = plan.h1_head(self.due.number);
        let rest = if plan.numbered { &self.numbered[..] } else { &plan.body(self.due.number).wire[..] };
        let length = head.len() + rest.len();
        while self.written < length {
            let head_left = head.get(self.written..).unwrap_or_default();
            let rest_left = &rest[self.written.saturating_sub(head.len())..];
            match rustix::io::writev(socket, &[IoSlice::new(head_left), IoSlice::new(rest_left)]) {
                Ok(count) => self.written += count,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(true)
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let Some(socket) = &self.socket else { return Err(Errno::NOTCONN) };
        rustix::io::read(socket, buffer)
    }

    /// All that has come of the answer, `fresh` the last of it, and whether it can be whole. One that comes in one read
    /// is not copied.
    pub(super) fn gather<'a>(&'a mut self, fresh: &'a [u8]) -> (&'a [u8], bool) {
        if self.gathered.is_empty() {
            return (fresh, true);
        }
        self.gathered.extend_from_slice(fresh);
        (&self.gathered, self.gathered.len() >= self.need)
    }

    /// Keeps what came for the next read; the answer has at least `need` bytes.
    pub(super) fn keep(&mut self, fresh: &[u8], need: usize) {
        if self.gathered.is_empty() {
            self.gathered.extend_from_slice(fresh);
        }
        self.need = self.need.max(need);
    }
}

/// Begins to connect; whether it is done already.
pub(super) fn connect(address: SocketAddr) -> Result<(OwnedFd, bool)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS) => Ok((socket, false)),
        Err(fault) => Err(fault),
    }
}
