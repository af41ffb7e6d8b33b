//! Who is at the other end of the socket, by the kernel's word.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection; an extension of requests that go through the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A process on this machine.
    Unix(Process),
}

/// The process that connected (`SO_PEERCRED`), as it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its id; another process may have it by now.
    pub pid: Option<i32>,
}

impl Peer {
    /// The peer's address, an IPv4 one as such even where it came through an IPv6 socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix(_) => None,
        }
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|address| address.is_loopback())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix(process) => {
                write!(f, "unix uid {} gid {}", process.uid, process.gid)?;
                process.pid.map_or(Ok(()), |pid| write!(f, " pid {pid}"))
            }
        }
    }
}
