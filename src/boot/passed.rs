//! Sockets that the supervisor listened on before klamm was there (sd_listen_fds(3)), told apart by their names:
//! `FileDescriptorName=ingest` and `admin` in a `.socket` unit. They stay with the supervisor when klamm ends, and so do
//! the connections that wait on them: nothing is refused over a restart.

use std::env;
use std::os::fd::AsFd;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::http::listener::Passed;

/// The sockets of the two listeners, as far as they were passed.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) ingest: Option<Passed>,
    pub(super) admin: Option<Passed>,
}

impl Sockets {
    /// Takes what the environment tells of; to be called once, before there are other threads: it takes that out of the
    /// environment.
    ///
    /// # Errors
    /// In words: a socket that does not listen, or without one of the two names, or two of the same name.
    pub fn from_environment() -> Result<Self, String> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut found = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..found.len() {
            let passed = match found.take_tcp_listener(place) {
                Ok(tcp) => tcp.map(Passed::Tcp),
                Err(_) => found.take_unix_listener(place).map_err(|error| error.to_string())?.map(Passed::Unix),
            };
            sockets.extend(passed);
        }
        Self::named(&names, sockets)
    }

    /// `names` as in `LISTEN_FDNAMES`.
    fn named(names: &str, sockets: Vec<Passed>) -> Result<Self, String> {
        let mut all = Self::default();
        let mut names = names.split(':');
        for socket in sockets {
            let name = names.next().unwrap_or_default();
            let place = match name {
                "ingest" => &mut all.ingest,
                "admin" => &mut all.admin,
                _ => return Err(format!("a socket was passed as `{name}`: FileDescriptorName is ingest or admin")),
            };
            let listens = match &socket {
                Passed::Tcp(listener) => socket_acceptconn(listener.as_fd()),
                Passed::Unix(listener) => socket_acceptconn(listener.as_fd()),
            };
            if listens != Ok(true) {
                return Err(format!(
                    "the socket passed as `{name}` does not listen: a .socket unit with Accept=no does"
                ));
            }
            if place.replace(socket).is_some() {
                return Err(format!("two sockets were passed as `{name}`: there can be one"));
            }
        }
        Ok(all)
    }

    /// The config keys that they decide, over every other source.
    ///
    /// # Errors
    /// In words: a socket without an address.
    pub fn keys(&self) -> Result<Vec<(String, String)>, String> {
        let both = [("ingest.listen", &self.ingest), ("admin.listen", &self.admin)];
        let passed = both.into_iter().filter_map(|(key, socket)| Some((key, socket.as_ref()?)));
        passed
            .map(|(key, socket)| match socket.local() {
                Ok(listen) => Ok((key.to_owned(), listen.to_string())),
                Err(error) => Err(format!("{key}: the socket that was passed: {error}")),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;

    fn tcp() -> Passed {
        Passed::Tcp(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    #[test]
    fn sockets_are_told_apart_by_their_names_and_decide_where_klamm_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.sock");
        let admin = tcp();
        let address = admin.local().unwrap().to_string();
        let sockets = Sockets::named("admin:ingest", vec![admin, Passed::Unix(UnixListener::bind(&path).unwrap())]);
        let keys = sockets.unwrap().keys().unwrap();
        let unix = format!("unix:{}", path.display());
        assert_eq!(keys, [("ingest.listen".into(), unix), ("admin.listen".into(), address)]);
        assert!(Sockets::named("", vec![]).unwrap().keys().unwrap().is_empty());
    }

    #[test]
    fn sockets_that_klamm_cannot_use_are_refused() {
        let told = |names: &str, sockets| Sockets::named(names, sockets).unwrap_err();
        assert!(told("klamm.socket", vec![tcp()]).contains("`klamm.socket`: FileDescriptorName is ingest or admin"));
        assert!(told("ingest", vec![tcp(), tcp()]).contains("``"));
        assert!(told("ingest:ingest", vec![tcp(), tcp()]).contains("two sockets"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connected = Passed::Tcp(TcpListener::from(OwnedFd::from(connection)));
        assert!(told("admin", vec![connected]).contains("does not listen"));
        let abstract_name = SocketAddr::from_abstract_name(format!("klamm-{}", std::process::id())).unwrap();
        let unnamed = Passed::Unix(UnixListener::bind_addr(&abstract_name).unwrap());
        assert!(Sockets::named("ingest", vec![unnamed]).unwrap().keys().unwrap_err().contains("without a file"));
    }
}
