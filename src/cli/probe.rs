//! `klamm probe`: asks a klamm how it is, for health checks where there is no shell and no curl.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::units::Span;

/// Far more than any answer to a probe has.
const LONGEST: u64 = 64 * 1024;

/// Ask a running klamm how it is; exit code 0 if it is well, else 1
#[derive(Debug, Args)]
pub(super) struct Probe {
    /// Whether it can serve requests (/readyz); the default
    #[arg(long)]
    ready: bool,

    /// Whether the process answers at all (/livez)
    #[arg(long, conflicts_with = "ready")]
    live: bool,

    /// Whether its listeners are bound (/startupz)
    #[arg(long, conflicts_with_all = ["ready", "live"])]
    startup: bool,

    /// Its admin listener
    #[arg(long, value_name = "URL|unix:PATH", default_value = "http://127.0.0.1:8081")]
    admin: Address,

    /// How long it may take as a whole
    #[arg(long, value_name = "TIME", default_value = "2s")]
    timeout: Span,
}

/// Where the admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// Host and port.
    Tcp(String),
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

impl Address {
    /// For the header `Host`; the admin listener takes this one from everywhere on a unix socket.
    fn host(&self) -> &str {
        match self {
            Address::Tcp(authority) => authority,
            Address::Unix(_) => "localhost",
        }
    }
}

impl Probe {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        let path = match (self.live, self.startup) {
            (true, _) => "/livez",
            (_, true) => "/startupz",
            (false, false) => "/readyz",
        };
        let (tell, told) = mpsc::channel();
        let (admin, timeout) = (self.admin.clone(), self.timeout.get());
        // Names are looked up too, which nothing bounds: so the thread is left behind when the time is over.
        thread::spawn(move || tell.send(ask(&admin, path, timeout)));
        let (code, words) = match told.recv_timeout(timeout) {
            Ok(Ok((200, text))) => (ExitCode::SUCCESS, text),
            Ok(Ok((status, text))) => (ExitCode::FAILURE, format!("{status} {text}")),
            Ok(Err(error)) if !is_late(&error) => (ExitCode::FAILURE, error.to_string()),
            Ok(Err(_)) | Err(_) => (ExitCode::FAILURE, format!("no answer within {}", self.timeout)),
        };
        writeln!(out, "{path}: {}", words.trim())?;
        Ok(code)
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The status, and the first line of the body.
fn ask(admin: &Address, path: &str, timeout: Duration) -> io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", admin.host());
    let limit = Some(timeout);
    let answer = match admin {
        Address::Unix(socket) => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(limit)?;
            stream.set_write_timeout(limit)?;
            exchange(stream, &request)?
        }
        Address::Tcp(authority) => {
            let mut last = io::Error::other("the name has no address");
            let mut stream = None;
            for address in authority.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, timeout) {
                    Ok(connected) => {
                        stream = Some(connected);
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            let stream = stream.ok_or(last)?;
            stream.set_read_timeout(limit)?;
            stream.set_write_timeout(limit)?;
            exchange(stream, &request)?
        }
    };
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("what answers is no HTTP"))?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.lines().next().unwrap_or_default().to_owned()))
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(answer)
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
}
