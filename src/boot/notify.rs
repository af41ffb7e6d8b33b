//! What klamm tells the supervisor that started it (sd_notify(3)): datagrams to the socket in `$NOTIFY_SOCKET`. Where
//! there is none, nothing is sent. Nothing here ever fails klamm.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// How long a datagram may take; the supervisor reads them at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// From the bound listeners to READY, where Kafka does not answer.
pub(super) const READY_AT_LAST: Duration = Duration::from_secs(30);
/// Between two looks for something new to tell.
const LOOK: Duration = Duration::from_millis(500);
/// How many signs of life fit into the supervisor's interval.
const SIGNS: u32 = 3;

/// The supervisor's ear.
#[derive(Debug, Default)]
pub struct Notify {
    to: Option<SocketAddr>,
    /// How long it waits for a sign of life before it kills klamm; `None` where it does not.
    watchdog: Option<Duration>,
    /// READY was told.
    ready: AtomicBool,
}

impl Notify {
    /// What the environment of this process says.
    pub fn from_environment() -> Self {
        let text = |name| env::var(name).ok();
        let to = text("NOTIFY_SOCKET").and_then(|name| match address(&name) {
            Ok(to) => Some(to),
            Err(error) => {
                warn!(socket = name, %error, "NOTIFY_SOCKET is no address: nothing is told");
                None
            }
        });
        let ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = text("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|micros| ours && *micros > 0);
        Self { to, watchdog: micros.map(Duration::from_micros), ready: AtomicBool::new(false) }
    }

    fn send(&self, text: &str) {
        let Some(to) = &self.to else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to_addr(text.as_bytes(), to)
        });
        if let Err(error) = sent {
            warn!(%error, "the supervisor cannot be told: {text}");
        }
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        if self.ready.load(Ordering::Relaxed) {
            let now = clock_gettime(ClockId::Monotonic);
            let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
        }
    }

    /// It is done; `ok` if the new config is in force.
    pub(super) fn reloaded(&self, ok: bool) {
        if self.ready.load(Ordering::Relaxed) {
            let status = if ok { "reloaded" } else { "the last reload failed; the config before it is in use" };
            self.send(&format!("READY=1\nSTATUS={status}"));
        }
    }

    /// The stop begins.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    /// Tells READY once `is_up`, or without after `at_last`, and then `status` whenever it changes. May be cancelled at
    /// any time.
    pub(super) async fn tell(&self, at_last: Duration, is_up: impl Fn() -> bool, status: impl Fn() -> String) {
        if self.to.is_none() {
            return;
        }
        let began = Instant::now();
        while !is_up() && began.elapsed() < at_last {
            sleep(LOOK / 10).await;
        }
        let mut told = status();
        self.send(&format!("READY=1\nSTATUS={told}"));
        self.ready.store(true, Ordering::Relaxed);
        loop {
            sleep(LOOK).await;
            let now = status();
            if now != told {
                self.send(&format!("STATUS={now}"));
                told = now;
            }
        }
    }

    /// Signs of life, sent by the task that calls this: they stop when its runtime does. Ends at once where nobody waits
    /// for them.
    pub(super) async fn live(&self) {
        let (Some(interval), Some(_)) = (self.watchdog, &self.to) else { return };
        loop {
            self.send("WATCHDOG=1");
            sleep(interval / SIGNS).await;
        }
    }
}

/// A path, or `@` and a name without a file.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ear, and who hears.
    fn ear(watchdog: Option<Duration>) -> (Notify, UnixDatagram, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let to = Some(address(path.to_str().unwrap()).unwrap());
        (Notify { to, watchdog, ready: AtomicBool::new(false) }, socket, dir)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut bytes = [0; 512];
        while let Ok(length) = socket.recv(&mut bytes) {
            all.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        all
    }

    async fn for_a(while_: Duration, task: impl Future<Output = ()>) {
        tokio::time::timeout(while_, task).await.unwrap_err();
    }

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn ready_is_told_once_kafka_answers_or_when_its_time_is_over() {
        let (notify, socket, _dir) = ear(None);
        let status = || "serving".to_owned();
        for_a(200 * MS, notify.tell(READY_AT_LAST, || true, status)).await;
        assert_eq!(heard(&socket), ["READY=1\nSTATUS=serving"]);
        for_a(200 * MS, notify.tell(READY_AT_LAST, || false, status)).await;
        assert_eq!(heard(&socket), [""; 0]);
        for_a(500 * MS, notify.tell(100 * MS, || false, status)).await;
        assert_eq!(heard(&socket), ["READY=1\nSTATUS=serving"]);
        assert_eq!(READY_AT_LAST, Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_status_is_told_when_it_changes() {
        let (notify, socket, _dir) = ear(None);
        let asked = std::sync::atomic::AtomicU32::new(0);
        // Twice the same, then another.
        let status = || format!("{}", asked.fetch_add(1, Ordering::Relaxed) / 2);
        for_a(3 * LOOK - 100 * MS, notify.tell(READY_AT_LAST, || true, status)).await;
        assert_eq!(heard(&socket), ["READY=1\nSTATUS=0", "STATUS=1"]);
    }

    #[tokio::test]
    async fn a_reload_is_told_only_to_who_knows_of_a_start() {
        let (notify, socket, _dir) = ear(None);
        notify.reloading();
        notify.reloaded(true);
        assert_eq!(heard(&socket), [""; 0], "READY would be a lie");
        for_a(100 * MS, notify.tell(READY_AT_LAST, || true, || "s".to_owned())).await;
        heard(&socket);
        notify.reloading();
        notify.reloaded(false);
        let told = heard(&socket);
        assert!(told[0].starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told:?}");
        assert!(told[1].starts_with("READY=1\nSTATUS=the last reload failed"), "{told:?}");
    }

    #[tokio::test]
    async fn signs_of_life_come_three_times_an_interval() {
        let (notify, socket, _dir) = ear(Some(300 * MS));
        for_a(450 * MS, notify.live()).await;
        let count = heard(&socket).iter().filter(|text| *text == "WATCHDOG=1").count();
        assert!((3..=5).contains(&count), "{count}");
        Notify { watchdog: Some(300 * MS), ..Notify::default() }.live().await;
        ear(None).0.live().await;
    }
}
