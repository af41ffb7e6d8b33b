//! What systemd does for a service with sockets of its own, and no more: holds the listening sockets over restarts,
//! hears what klamm tells by `NOTIFY_SOCKET`, and ends one that gives no sign of life.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::child::{self, Process};
use super::gateway::binary;
use super::{eventually, scratch};

/// Gives the sockets on stdin and stdout the places where klamm looks for them, and says whom they are for.
const PASS: &str = "ulimit -c 0; exec 3<&0 4<&1 0</dev/null 1>&2; export LISTEN_PID=$$; exec \"$@\"";

/// One service.
pub(crate) struct Supervisor {
    ingest: TcpListener,
    admin: TcpListener,
    notify: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    variables: Vec<(String, String)>,
    watchdog: Option<Duration>,
    process: Option<Process>,
    dir: TempDir,
}

/// A datagram of klamm's.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

impl Supervisor {
    /// Binds the sockets and starts klamm with this config; returns once it is READY. With `watchdog` it is asked for
    /// signs of life.
    pub(crate) fn start(config_yaml: &str, watchdog: Option<Duration>, variables: &[(&str, String)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let dir = scratch::dir("supervisor");
        fs::write(dir.path().join("klamm.yaml"), config_yaml).expect("the config is written");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let notify = format!("klamm-supervisor-{}-{count}", std::process::id());
        let ear = SocketAddr::from_abstract_name(&notify).and_then(|address| UnixDatagram::bind_addr(&address));
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        listen(ear.expect("a name of its own"), &heard);
        let loopback = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut supervisor = Self {
            ingest: loopback(),
            admin: loopback(),
            notify: format!("@{notify}"),
            heard,
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            watchdog,
            process: None,
            dir,
        };
        supervisor.spawn();
        supervisor
    }

    /// Where events are posted, whether klamm runs or not.
    pub(crate) fn ingest(&self) -> String {
        self.ingest.local_addr().expect("bound").to_string()
    }

    /// The operators' listener.
    pub(crate) fn admin(&self) -> String {
        self.admin.local_addr().expect("bound").to_string()
    }

    /// Starts klamm; returns once it is READY.
    fn spawn(&mut self) {
        let before = self.heard().len();
        let stdio = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().expect("a second handle")));
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut command = child::command("bash");
        command.args(["-c", PASS, "bash"]).arg(binary()).arg("serve").arg("-c").arg(self.dir.path().join("klamm.yaml"));
        command.stdin(stdio(&self.ingest)).stdout(stdio(&self.admin)).stderr(log);
        command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "ingest:admin").env("NOTIFY_SOCKET", &self.notify);
        if let Some(interval) = self.watchdog {
            command.env("WATCHDOG_USEC", interval.as_micros().to_string());
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start(command);
        eventually("klamm is READY", Duration::from_secs(40), || {
            assert!(process.ended().is_none(), "klamm ended at its start:\n{}", self.log());
            let heard = self.heard();
            heard[before..].iter().any(|heard| heard.text.starts_with("READY=1")).then_some(())
        });
        self.process = Some(process);
    }

    /// What klamm told so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic while it is held").clone()
    }

    /// Waits for something told after the first `seen`.
    pub(crate) fn hear(&self, seen: usize, what: &str) -> String {
        eventually(what, Duration::from_secs(10), || {
            let heard = self.heard();
            heard.iter().skip(seen).map(|heard| heard.text.clone()).find(|text| text.contains(what))
        })
    }

    /// Puts another config in its place; what klamm hears of it is up to the caller.
    pub(crate) fn rewrite(&self, config_yaml: &str) {
        fs::write(self.dir.path().join("klamm.yaml"), config_yaml).expect("the config is written");
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// SIGTERM; how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::TERM);
        let ended = process.ended_within(Duration::from_secs(40));
        ended.unwrap_or_else(|| panic!("klamm still runs after 40 s:\n{}", self.log()))
    }

    /// Stops klamm, and starts it again on the same sockets.
    pub(crate) fn restart(&mut self) -> ExitStatus {
        let ended = self.stop();
        self.spawn();
        ended
    }

    /// Waits until klamm gives no sign of life for the interval, ends it by SIGABRT and starts it again. Returns the
    /// time of the last sign. Panics where the signs go on for `patience`.
    pub(crate) fn watch(&mut self, patience: Duration) -> Instant {
        let interval = self.watchdog.expect("a watchdog");
        let last = eventually("the signs of life stop", patience, || {
            let heard = self.heard();
            let last = heard.iter().rfind(|heard| heard.text == "WATCHDOG=1").expect("a sign of life").at;
            (last.elapsed() > interval).then_some(last)
        });
        let mut process = self.process.take().expect("it runs");
        assert!(process.ended().is_none(), "it hangs, it did not end:\n{}", self.log());
        process.signal(Signal::ABORT);
        process.ended_within(Duration::from_secs(10)).expect("SIGABRT ends it");
        last
    }

    /// Starts klamm again after [`Supervisor::watch`].
    pub(crate) fn again(&mut self) {
        self.spawn();
    }

    /// All that klamm logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("klamm.log")
    }
}

/// Notes every datagram, for as long as anybody reads the notes.
fn listen(ear: UnixDatagram, heard: &Arc<Mutex<Vec<Heard>>>) {
    ear.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket takes timeouts");
    let notes = Arc::downgrade(heard);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            let received = ear.recv(&mut bytes);
            let Some(notes) = notes.upgrade() else { return };
            if let Ok(length) = received {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                notes.lock().expect("no panic while it is held").push(Heard { at: Instant::now(), text });
            }
        }
    });
}
