//! The listening socket: TCP or unix, bound here or passed by a supervisor.
//!
//! A unix socket belongs to whoever made its file: a file that nobody answers on is replaced, one that is in use is
//! not, and the file is removed at the end only while it is still ours. Two that start at the same time take turns by a
//! lock on the directory. A socket that was passed belongs to who passed it: its file, its mode and its queue stay.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::Accept;
use crate::config::{Listen, Socket};
use crate::stages::auth::Peer;
use crate::stages::auth::peer::Process;

/// Connections that wait to be accepted; the kernel caps it at its `somaxconn`.
const BACKLOG: u32 = 4096;
/// How long another process may hold the lock of a socket's directory.
const LOCK: Duration = Duration::from_secs(2);

/// A bound socket.
pub struct Listener(Kind);

enum Kind {
    Tcp(TcpListener),
    // The file before the socket: the name goes before the socket stops answering.
    Unix(SocketFile, UnixListener),
    /// Of another's file.
    Borrowed(PathBuf, UnixListener),
}

/// A listening socket that somebody else bound.
#[derive(Debug)]
pub enum Passed {
    /// On a TCP address.
    Tcp(std::net::TcpListener),
    /// On a file.
    Unix(std::os::unix::net::UnixListener),
}

impl Passed {
    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say, or it is a unix socket without a file.
    pub fn local(&self) -> io::Result<Listen> {
        match self {
            Passed::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Passed::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| io::Error::other("a unix socket without a file"))?;
                Ok(Listen::Unix(path.to_owned()))
            }
        }
    }
}

impl Listener {
    /// Binds; `socket` is how a unix socket's file looks.
    ///
    /// # Errors
    /// The address is taken (for a unix socket: somebody answers on it, or there is another kind of file), or may not
    /// be bound.
    pub fn bind(listen: &Listen, socket: &Socket) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                // A restart does not wait for connections in TIME_WAIT.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                Ok(Self(Kind::Tcp(socket.listen(BACKLOG)?)))
            }
            Listen::Unix(path) => bind_unix(path, socket).map(|(file, listener)| Self(Kind::Unix(file, listener))),
        }
    }

    /// Accepts from a socket that was passed.
    ///
    /// # Errors
    /// As [`Passed::local`].
    pub fn adopt(passed: Passed) -> io::Result<Self> {
        match (passed.local()?, passed) {
            (Listen::Unix(path), Passed::Unix(listener)) => {
                listener.set_nonblocking(true)?;
                Ok(Self(Kind::Borrowed(path, UnixListener::from_std(listener)?)))
            }
            (_, Passed::Tcp(listener)) => {
                listener.set_nonblocking(true)?;
                Ok(Self(Kind::Tcp(TcpListener::from_std(listener)?)))
            }
            (Listen::Tcp(_), Passed::Unix(_)) => Err(io::Error::other("a unix socket on a TCP address")),
        }
    }

    /// Where it listens: with the port that was chosen where 0 was asked for.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local(&self) -> io::Result<Listen> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Kind::Unix(file, _) => Ok(Listen::Unix(file.path.clone())),
            Kind::Borrowed(path, _) => Ok(Listen::Unix(path.clone())),
        }
    }
}

impl Accept for Listener {
    type Io = Stream;

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Fails only where the client is gone already, which the first read will say.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::Tcp(address)))
            }
            Kind::Unix(_, listener) | Kind::Borrowed(_, listener) => {
                let (stream, _) = listener.accept().await?;
                // Nobody whom the kernel does not name is let in: an error of this connection alone.
                let peer = stream.peer_cred().map_err(|_| io::Error::from(Errno::CONNABORTED))?;
                let process = Process { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() };
                Ok((Stream::Unix(stream), Peer::Unix(process)))
            }
        }
    }
}

/// Nobody can connect before the file has its owner and its mode.
fn bind_unix(path: &Path, socket: &Socket) -> io::Result<(SocketFile, UnixListener)> {
    let address = SocketAddrUnix::new(path)?;
    let _turn = lock(path.parent().unwrap_or_else(|| Path::new("/")))?;
    remove_stale(path, &address)?;
    let fd = unix_socket()?;
    // Linux gives the file the mode of the socket that it is bound by.
    fchmod(&fd, Mode::empty())?;
    bind(&fd, &address)?;
    let file = SocketFile::of(path)?;
    if let Some(gid) = socket.gid() {
        chown(path, None, Some(gid))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(socket.mode.bits()))?;
    listen(&fd, BACKLOG.cast_signed())?;
    Ok((file, UnixListener::from_std(fd.into())?))
}

/// It does not block.
fn unix_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Holds `directory` against everyone else who takes this lock, until it is dropped.
fn lock(directory: &Path) -> io::Result<fs::File> {
    let file = fs::File::open(directory)?;
    let began = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if began.elapsed() < LOCK => thread::sleep(Duration::from_millis(10)),
            Err(Errno::WOULDBLOCK) => {
                let text = format!("another process holds the lock of {}", directory.display());
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the socket of a process that is gone.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        let text = format!("{} exists and is no socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    match connect(&unix_socket()?, address) {
        // Its queue is full: somebody has it.
        Ok(()) | Err(Errno::AGAIN) => {
            let text = format!("another process answers on {}", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Err(error) => Err(error.into()),
    }
}

/// The file of a unix socket; removed on drop.
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have replaced the file.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), id: (found.dev(), found.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if ours {
            // Where it cannot be removed, the next start finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// An accepted connection.
#[derive(Debug)]
pub enum Stream {
    /// Of a TCP listener, with Nagle's algorithm off.
    Tcp(TcpStream),
    /// Of a unix socket.
    Unix(UnixStream),
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Unix(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Listen {
        Listen::Unix(path.to_owned())
    }

    fn bind(path: &Path) -> io::Result<Listener> {
        Listener::bind(&at(path), &Socket::default())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_unix_socket_is_for_its_group_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        let listener = bind(&path).unwrap();
        assert_eq!(listener.local().unwrap(), at(&path));
        assert_eq!(mode(&path), 0o660);
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_unix_socket_gets_the_mode_and_the_group_of_the_config() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        // A group that the process is in, the one it has anyway where it is in no other.
        let groups = rustix::process::getgroups().unwrap();
        let group = groups.last().map_or_else(|| rustix::process::getgid().as_raw(), |group| group.as_raw());
        let socket = Socket { mode: "0606".parse().unwrap(), group: Some(group.to_string()) };
        let _listener = Listener::bind(&at(&path), &socket).unwrap();
        assert_eq!((mode(&path), fs::metadata(&path).unwrap().gid()), (0o606, group));
    }

    #[test]
    fn a_file_has_no_permissions_until_they_are_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        let fd = unix_socket().unwrap();
        fchmod(&fd, Mode::empty()).unwrap();
        super::bind(&fd, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        assert_eq!(mode(&path), 0);
    }

    #[tokio::test]
    async fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let live = bind(&path).unwrap();
        let refused = bind(&path).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(live);
        fs::write(&path, "a file").unwrap();
        assert_eq!(bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }

    #[tokio::test]
    async fn a_live_unix_socket_whose_queue_is_full_is_not_taken_for_a_stale_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        let address = SocketAddrUnix::new(&path).unwrap();
        let busy = unix_socket().unwrap();
        super::bind(&busy, &address).unwrap();
        listen(&busy, 0).unwrap();
        let waiting: Vec<_> = (0..3).map(|_| unix_socket().unwrap()).collect();
        assert!(waiting.iter().any(|fd| connect(fd, &address) == Err(Errno::AGAIN)), "the queue is full");
        assert_eq!(bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_that_find_a_stale_socket_one_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        for _ in 0..20 {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let tries: Vec<_> = (0..4)
                .map(|_| {
                    let path = path.clone();
                    tokio::spawn(async move { bind(&path) })
                })
                .collect();
            let mut bound = Vec::new();
            for result in tries {
                bound.extend(result.await.unwrap());
            }
            assert_eq!(bound.len(), 1);
            drop(UnixStream::connect(&path).await.unwrap());
            drop(bound);
        }
    }

    #[tokio::test]
    async fn the_file_of_a_socket_that_was_passed_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        let passed = Passed::Unix(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(passed.local().unwrap(), at(&path));
        let listener = Listener::adopt(passed).unwrap();
        let (_client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        let me = rustix::process::getuid().as_raw();
        assert!(matches!(accepted.unwrap().1, Peer::Unix(process) if process.uid == me));
        drop(listener);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_socket_file_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("klamm.sock");
        let ours = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let theirs = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
        drop(theirs);
    }
}
