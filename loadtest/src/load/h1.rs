//! The generator for HTTP/1.1: one thread, one epoll, non-blocking sockets. Per request: one write of bytes that were
//! made before, one read, and a share of one wait. Sockets are watched edge-triggered, so that nothing is registered
//! anew; the wait ends by nanoseconds (`epoll_pwait2`, Linux 5.11), where an async runtime's timer has milliseconds.
//!
//! A request that falls due takes any free connection, else it waits its turn. A closed connection is free: sending on
//! it begins with connecting. One that could not be connected rests first, so that a dead target is not hammered.

#![allow(clippy::indexing_slicing, reason = "the indices are those of our own connections, whose number never changes")]

mod connection;

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use self::connection::{Connection, State};
use super::answer::{self, Answer};
use super::control::Window;
use super::plan::Plan;
use super::schedule::{Due, Source};
use super::tally::Tally;

/// After a connection could not be made.
const REST: u64 = 100_000_000;
/// The thread looks around at least so often, for the end may have moved.
const LONGEST_WAIT: u64 = 100_000_000;
const BUFFER: usize = 64 << 10;
const EVENTS: usize = 256;
const CONNECT: Duration = Duration::from_secs(5);

/// One thread of the generator.
pub(super) struct Driver<'a> {
    plan: &'a Plan,
    window: &'a Window,
    source: Source,
    tally: Tally<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections that a request may take, the longest free first: all of them stay in use.
    free: VecDeque<usize>,
    /// Connections that could not be made, and when they may be tried again; in that order.
    resting: VecDeque<(u64, usize)>,
    /// Requests that fell due while no connection was free.
    waiting: VecDeque<Due>,
    in_flight: usize,
    buffer: Box<[u8]>,
}

impl<'a> Driver<'a> {
    /// Opens the connections. That a target is not there is no fault here: the requests will tell.
    pub(super) fn new(
        plan: &'a Plan,
        window: &'a Window,
        source: Source,
        tally: Tally<'a>,
        connections: usize,
    ) -> Result<Self> {
        // Waits of microseconds must end on time: by default the kernel adds up to 50 us.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let mut driver = Self {
            plan,
            window,
            source,
            tally,
            epoll: epoll::create(CreateFlags::CLOEXEC).context("epoll")?,
            connections: (0..connections).map(|_| Connection::default()).collect(),
            free: (0..connections).collect(),
            resting: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        };
        for index in 0..connections {
            let Ok(stream) = TcpStream::connect_timeout(&plan.address, CONNECT) else { break };
            stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).context("a socket")?;
            driver.watch(index, stream.into()).context("epoll")?;
        }
        Ok(driver)
    }

    /// Sends until the end, waits for the last answers, and gives back what was seen.
    pub(super) fn run(mut self) -> Result<Tally<'a>> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = self.window.now();
            self.tally.mark(now);
            self.dispatch(now);
            if self.is_over(now) {
                break;
            }
            events.clear();
            let timeout = timespec(self.wake_at(now).saturating_sub(now));
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(fault) => return Err(fault).context("waiting for answers (sub-millisecond waits need Linux 5.11)"),
            }
            for event in &events {
                let now = self.window.now();
                self.ready(*event, now);
                self.dispatch(now);
            }
        }
        let now = self.window.now();
        for connection in &self.connections {
            if connection.state != State::Free {
                let due = connection.due;
                self.tally.lost(due, now, "unanswered", self.plan.body(due.number).len());
            }
        }
        for due in std::mem::take(&mut self.waiting) {
            self.tally.missed(due, now.min(self.window.end()), self.plan.body(due.number).len());
        }
        self.tally.finish(now);
        Ok(self.tally)
    }

    /// Gives what is due to free connections.
    fn dispatch(&mut self, now: u64) {
        let end = self.window.end();
        while let Some(due) = self.source.take_due(now, end) {
            self.tally.due(due);
            self.waiting.push_back(due);
        }
        while self.resting.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((until, index)) = self.resting.pop_front() {
                self.connections[index].free_since = until;
                self.free.push_back(index);
            }
        }
        if !self.source.is_open() && now < end {
            while let Some(index) = self.free.pop_front() {
                let Some(due) = self.source.take_now(now) else {
                    self.free.push_front(index);
                    return;
                };
                self.tally.due(due);
                self.send(index, due, now);
            }
        }
        while !self.waiting.is_empty() && !self.free.is_empty() {
            // After the end only what was due and could have been sent at once still goes.
            let (Some(due), Some(&index)) = (self.waiting.front().copied(), self.free.front()) else { return };
            if now >= end && self.connections[index].free_since > end {
                return;
            }
            self.waiting.pop_front();
            self.free.pop_front();
            self.send(index, due, now);
        }
    }

    fn is_over(&self, now: u64) -> bool {
        let ended = now >= self.window.end();
        let sent = ended || (self.source.is_exhausted() && self.waiting.is_empty());
        (sent && self.in_flight == 0) || now >= self.window.last_call()
    }

    /// The next time something is to be done without an answer.
    fn wake_at(&self, now: u64) -> u64 {
        let mut at = now + LONGEST_WAIT;
        let (from, end) = (self.window.from, self.window.end());
        for mark in [from, end, self.window.last_call()] {
            if mark > now {
                at = at.min(mark);
            }
        }
        if now < end {
            at = at.min(self.source.next_at().unwrap_or(u64::MAX));
        }
        at.min(self.resting.front().map_or(u64::MAX, |(until, _)| *until))
    }

    fn send(&mut self, index: usize, due: Due, now: u64) {
        let connection = &mut self.connections[index];
        self.tally.sending(due, connection.free_since, now);
        self.in_flight += 1;
        connection.begin(due, self.plan);
        if connection.is_open() {
            self.write(index, now);
            return;
        }
        match connection::connect(self.plan.address) {
            Ok((socket, connected)) => {
                if self.watch(index, socket).is_err() {
                    self.lose(index, now, "connect");
                } else if connected {
                    self.write(index, now);
                } else {
                    self.connections[index].state = State::Connecting;
                }
            }
            Err(_) => self.lose(index, now, "connect"),
        }
    }

    fn ready(&mut self, event: Event, now: u64) {
        let data = event.data.u64();
        let (index, generation) = ((data & u64::from(u32::MAX)) as usize, (data >> 32) as u32);
        let flags = event.flags;
        // A socket that was closed while its event was on the way.
        if self.connections[index].generation != generation {
            return;
        }
        let hang_up = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let readable = hang_up || flags.contains(EventFlags::IN);
        match self.connections[index].state {
            // The target closed it, or says what nobody asked (408 before it closes).
            State::Free if readable => self.connections[index].close(),
            State::Free => {}
            State::Connecting => {
                if hang_up || !self.connections[index].is_connected() {
                    self.lose(index, now, "connect");
                } else if flags.contains(EventFlags::OUT) {
                    self.write(index, now);
                }
            }
            State::Writing => {
                if readable {
                    self.read(index, now, hang_up);
                }
                if self.connections[index].state == State::Writing && self.connections[index].generation == generation {
                    self.write(index, now);
                }
            }
            State::Reading if readable => self.read(index, now, hang_up),
            State::Reading => {}
        }
    }

    fn write(&mut self, index: usize, now: u64) {
        let connection = &mut self.connections[index];
        connection.state = State::Writing;
        match connection.write(self.plan) {
            Ok(true) => connection.state = State::Reading,
            Ok(false) => {}
            // A target may answer (413) and close before it has read all: the answer counts.
            Err(_) => self.read(index, now, true),
        }
    }

    fn read(&mut self, index: usize, now: u64, hang_up: bool) {
        loop {
            let connection = &mut self.connections[index];
            let (count, ended) = match connection.read(&mut self.buffer) {
                Ok(count) => (count, count == 0),
                Err(Errno::AGAIN) if !hang_up => return,
                Err(Errno::INTR) => continue,
                Err(_) => (0, true),
            };
            let (bytes, enough) = connection.gather(&self.buffer[..count]);
            let read = if enough || ended { answer::read(bytes, ended) } else { answer::Read::Partial(0) };
            match read {
                answer::Read::Whole(answer) => {
                    let surplus = bytes.len() > answer.length;
                    let code = if self.plan.accepts(answer.status) { String::new() } else { answer.code(bytes) };
                    self.answered(index, now, &answer, code, surplus || hang_up || ended);
                    return;
                }
                answer::Read::Malformed => return self.lose(index, now, "malformed"),
                answer::Read::Partial(_) if ended => return self.lose(index, now, "cut"),
                answer::Read::Partial(need) => {
                    connection.keep(&self.buffer[..count], need);
                    // A short read has emptied the socket; but for its end, which came with the hang-up.
                    if count < self.buffer.len() && !hang_up {
                        return;
                    }
                }
            }
        }
    }

    fn answered(&mut self, index: usize, now: u64, answer: &Answer, code: String, close: bool) {
        let connection = &mut self.connections[index];
        let due = connection.due;
        // Answered before all was written: what is left of the request would be read as the next one.
        if close || answer.close || connection.state == State::Writing {
            connection.close();
        }
        let bytes = self.plan.body(due.number).len();
        if self.plan.accepts(answer.status) {
            self.tally.accepted(due, now, answer.status, bytes);
        } else {
            self.tally.refused(due, now, answer.status, code, bytes);
        }
        self.release(index, now);
        self.free.push_back(index);
    }

    fn lose(&mut self, index: usize, now: u64, reason: &'static str) {
        let due = self.connections[index].due;
        self.connections[index].close();
        self.tally.lost(due, now, reason, self.plan.body(due.number).len());
        self.release(index, now);
        if reason == "connect" {
            self.resting.push_back((now + REST, index));
        } else {
            self.free.push_back(index);
        }
    }

    fn release(&mut self, index: usize, now: u64) {
        self.in_flight -= 1;
        self.connections[index].state = State::Free;
        self.connections[index].free_since = now;
    }

    fn watch(&mut self, index: usize, socket: OwnedFd) -> rustix::io::Result<()> {
        let connection = &mut self.connections[index];
        connection.generation = connection.generation.wrapping_add(1);
        let data = EventData::new_u64(u64::from(connection.generation) << 32 | index as u64);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &socket, data, flags)?;
        connection.open(socket);
        Ok(())
    }
}

fn timespec(nanos: u64) -> Timespec {
    Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 }
}
