//! A running klamm's admin listener, from outside: where it is, by which key, one request at a time.
//!
//! Plain blocking sockets, so that a probe needs no runtime. A key is never taken from the command line, where other
//! users of the machine could see it, and never printed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

pub(super) mod feed;
mod http;
mod key;
pub(super) mod sse;

pub(super) use http::Answer;
use key::Key;

/// The admin listener that a command watches.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// Its admin listener
    #[arg(long, value_name = "URL|unix:PATH", default_value = "http://127.0.0.1:8081")]
    admin: Address,

    /// A file with an admin key, where one is needed; without it the key is read from KLAMM_ADMIN_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Target {
    /// The listener, with its key.
    ///
    /// # Errors
    /// A key that cannot be read, or is none.
    pub(super) fn open(&self) -> io::Result<Admin> {
        let key = Key::find(self.key_file.as_deref(), std::env::var_os("KLAMM_ADMIN_KEY"))?;
        Ok(Admin { address: self.admin.clone(), key })
    }

    /// What to say where there was no answer from the beginning.
    pub(super) fn unreachable(&self, why: &str) -> io::Error {
        let address = &self.admin;
        io::Error::other(format!("{address}: {why}; is klamm running, and is that its admin listener?"))
    }

    /// Without a key.
    #[cfg(test)]
    pub(super) fn at(admin: Address) -> Self {
        Self { admin, key_file: None }
    }
}

/// Where the admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// Host and port.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err("the path must be absolute".into()) };
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or("not http://HOST:PORT or unix:/PATH")?;
        let good = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) && port.parse::<u16>().is_ok();
        if good { Ok(Self::Tcp(authority.to_owned())) } else { Err("not http://HOST:PORT or unix:/PATH".into()) }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(authority) => write!(f, "http://{authority}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// For the header `Host`; the admin listener takes this one from everywhere on a unix socket.
    fn host(&self) -> &str {
        match self {
            Address::Tcp(authority) => authority,
            Address::Unix(_) => "localhost",
        }
    }

    /// Connects; no read or write on it takes longer than `limit`. Looking a name up is not bounded.
    fn connect(&self, limit: Duration) -> io::Result<Socket> {
        let socket = match self {
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
            Address::Tcp(authority) => Socket::Tcp(connect(authority, limit)?),
        };
        socket.limit(limit)?;
        Ok(socket)
    }
}

/// The first address of a name that takes the connection.
fn connect(authority: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The listener and the right to ask it.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    address: Address,
    key: Key,
}

impl Admin {
    /// One that is asked without a key.
    pub(super) fn without_key(address: Address) -> Self {
        Self { address, key: Key::None }
    }

    /// GET `path`; `last` is the id of the event that was seen last. No single read takes longer than `limit`.
    ///
    /// # Errors
    /// Those of sockets, and an answer that is no HTTP.
    pub(super) fn get(&self, path: &str, last: Option<&str>, limit: Duration) -> io::Result<Answer<Socket>> {
        let mut socket = self.address.connect(limit)?;
        let host = self.address.host();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        if let Some(key) = self.key.text() {
            request += &format!("Authorization: Bearer {key}\r\n");
        }
        if let Some(id) = last {
            request += &format!("Last-Event-ID: {id}\r\n");
        }
        socket.write_all((request + "\r\n").as_bytes())?;
        Answer::read(socket)
    }

    /// What to do about an answer that will stay the same however often it is asked for; `detail` is the server's.
    fn advice(&self, status: u16, detail: &str) -> String {
        let address = &self.address;
        match status {
            401 => format!("{address} answers 401: {}", self.key.advice()),
            404 => format!("{address} answers 404: is this klamm's admin listener? {detail}"),
            _ => format!("{address} answers {status}: {detail}"),
        }
    }
}

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl Socket {
    fn limit(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit);
        match self {
            Socket::Tcp(stream) => stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)),
            Socket::Unix(stream) => stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)),
        }
    }

    /// The same connection once more.
    fn again(&self) -> io::Result<Self> {
        match self {
            Socket::Tcp(stream) => stream.try_clone().map(Socket::Tcp),
            Socket::Unix(stream) => stream.try_clone().map(Socket::Unix),
        }
    }

    /// Ends it: whoever reads it hears of it at once.
    fn end(&self) {
        // It may have ended by itself.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(bytes),
            Socket::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `pairs` as a query, without those that are not given; `""` without any.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped((*value)?))));
    let text = given.collect::<Vec<_>>().join("&");
    if text.is_empty() { text } else { format!("?{text}") }
}

fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_or_unix_sockets() {
        for (text, host) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://klamm.example:80/", "klamm.example:80"),
            ("[::1]:8081", "[::1]:8081"),
        ] {
            assert_eq!(text.parse(), Ok(Address::Tcp(host.to_owned())), "{text}");
        }
        assert_eq!("unix:/run/a.sock".parse(), Ok(Address::Unix("/run/a.sock".into())));
        for text in ["", "klamm", "https://klamm:8081", "http://k:8081/readyz", "http://:1", "k:99999", "unix:a.sock"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_has_what_is_given_and_escapes_it() {
        assert_eq!(query(&[("client", None), ("code", None)]), "");
        assert_eq!(query(&[("client", Some("eu.shop")), ("topic", None)]), "?client=eu.shop");
        assert_eq!(query(&[("client", Some("a&b =ä")), ("code", Some("x"))]), "?client=a%26b%20%3D%C3%A4&code=x");
    }

    #[test]
    fn what_is_refused_for_good_says_what_to_do() {
        let admin = Admin::without_key("127.0.0.1:1".parse().unwrap());
        assert_eq!(
            admin.advice(401, "x"),
            "http://127.0.0.1:1 answers 401: it needs an admin key: give --key-file FILE, or set KLAMM_ADMIN_KEY"
        );
        assert_eq!(admin.advice(403, "configure admin.keys"), "http://127.0.0.1:1 answers 403: configure admin.keys");
    }
}
