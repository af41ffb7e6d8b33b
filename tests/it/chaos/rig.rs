//! What the chaos runs stand on: brokers behind proxies, one gateway after another behind a proxy, and the hands that do
//! things to them.
//!
//! All of it blocks: it runs beside the load's runtime, on a thread of its own.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::dice::Dice;
use super::ledger::Ledger;
use super::schedule::{Fault, Kind};
use super::spool::Home;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::kafka::{Kafka, Options};
use crate::support::keys;
use crate::support::metrics::Metrics;
use crate::support::proxy::{Proxy, Way, Weather};

/// Who sends.
pub(super) const CLIENTS: [&str; 5] = ["ant", "bee", "cat", "dog", "eel"];
/// Of them the one that floods, and the events a second that it may send.
pub(super) const FLOODER: usize = 4;
pub(super) const FLOODER_QUOTA: u32 = 1_000;
/// Where to. The last one may spool.
pub(super) const TOPICS: [&str; 3] = ["chaos-plain", "chaos-keyed", "chaos-spool"];
const PARTITIONS: [usize; 3] = [12, 6, 6];
/// What klamm may hold, and what it may need beside that.
const BUDGET_MIB: u64 = 128;
pub(super) const MEMORY_BAR: u64 = (BUDGET_MIB + 64) << 20;

/// One way to every broker, with [`Kind::RoundTrip`].
const ONE_WAY: Duration = Duration::from_millis(100);
/// Bytes a second to and from each broker, with [`Kind::ByteRate`]: less than the load makes.
const NARROW: u32 = 60_000;
/// Between two resets, and between two ends of a gateway.
const AGAIN: Duration = Duration::from_secs(1);
const NEXT_LIFE: Duration = Duration::from_secs(4);

/// The gateway from a start to its end.
pub(super) struct Life {
    pub(super) from: Duration,
    /// None while it runs.
    pub(super) to: Option<Duration>,
    /// By SIGKILL: its last counts are not known.
    pub(super) is_killed: bool,
    pub(super) exit_code: Option<i32>,
    /// The last look at its metrics, and when it began and ended.
    pub(super) last: Option<(Duration, Duration, Metrics)>,
    /// What is wrong with its log: a panic, a secret.
    pub(super) faults: Vec<String>,
}

pub(super) struct Rig {
    kafka: Kafka,
    brokers: usize,
    front: Proxy,
    spool: Home,
    /// Requests of whose events in the spool bytes were destroyed.
    destroyed: Mutex<HashSet<u64>>,
    dice: Mutex<Dice>,
    config: String,
    ledger: Arc<Ledger>,
    gateway: Mutex<Option<Gateway>>,
    lives: Mutex<Vec<Life>>,
    runtime: Handle,
    /// Lets the flood loose while it is true.
    flood: Mutex<Arc<AtomicBool>>,
}

impl Rig {
    /// Starts the brokers, makes the topics and starts the first gateway. Call it where blocking is allowed.
    pub(super) fn start(brokers: usize, ledger: Arc<Ledger>, runtime: Handle) -> Self {
        // Ended by SIGTERM they hand over, as in service.
        let properties = vec![("controlled.shutdown.enable", "true".to_owned())];
        let kafka = Kafka::start(&Options { brokers, proxied: true, properties, ..Options::default() });
        for (topic, partitions) in TOPICS.into_iter().zip(PARTITIONS) {
            kafka.create_topic(topic, partitions, &[]);
        }
        let spool = Home::new();
        let config = config(&kafka.bootstrap(), &spool);
        let (gateway, lives, destroyed, dice) =
            (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::new(Dice::new(1)));
        let front = Proxy::start();
        let rig = Self {
            kafka,
            brokers,
            front,
            spool,
            destroyed,
            dice,
            config,
            ledger,
            gateway,
            lives,
            runtime,
            flood: Mutex::default(),
        };
        rig.start_gateway();
        rig
    }

    /// Takes the switch of the load's flood.
    pub(super) fn take_flood(&self, switch: Arc<AtomicBool>) {
        *self.flood.lock().unwrap_or_else(PoisonError::into_inner) = switch;
    }

    pub(super) fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Where clients connect to, whichever gateway runs.
    pub(super) fn address(&self) -> &str {
        self.front.address()
    }

    /// Its lives so far.
    pub(super) fn lives(&self) -> MutexGuard<'_, Vec<Life>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gateway that runs, for [`super::watch`]: its number, process, admin address and log.
    pub(super) fn running(&self) -> Option<(usize, u32, String, std::path::PathBuf)> {
        let number = self.lives().len();
        let gateway = self.gateway();
        let gateway = gateway.as_ref()?;
        Some((number, gateway.pid(), gateway.admin().to_owned(), gateway.log_path()))
    }

    fn gateway(&self) -> MutexGuard<'_, Option<Gateway>> {
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start_gateway(&self) {
        let gateway = Gateway::start(&self.config);
        self.front.forward_to(gateway.ingest());
        let from = self.ledger.now();
        self.lives().push(Life { from, to: None, is_killed: false, exit_code: None, last: None, faults: Vec::new() });
        *self.gateway() = Some(gateway);
    }

    /// Waits until it is ready. Panics after 30 s.
    pub(super) fn wait_until_ready(&self) {
        let gateway = self.gateway();
        self.runtime.block_on(gateway.as_ref().expect("a gateway that runs").ready());
    }

    /// Requests of whose events in the spool bits were flipped.
    pub(super) fn destroyed(&self) -> HashSet<u64> {
        self.destroyed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on, or no longer, no broker can be reached by klamm: what may spool piles up.
    pub(super) fn cut_off(&self, is_cut: bool) {
        let weather = if is_cut { Weather::cut() } else { Weather::default() };
        (1..=self.brokers).for_each(|broker| self.kafka.proxy(broker).set(weather));
    }

    /// Events in the spool; none if nobody says.
    pub(super) async fn spooled(&self) -> Option<f64> {
        let admin = self.gateway().as_ref()?.admin().to_owned();
        Some(scrape(&admin).await?.sum("klamm_spool_events", &[("state", "waiting")]))
    }

    fn pid(&self) -> u32 {
        self.gateway().as_ref().expect("a gateway that runs").pid()
    }

    fn flip_bits(&self) {
        let destroyed = self.spool.flip_bits(&mut self.dice.lock().unwrap_or_else(PoisonError::into_inner));
        self.destroyed.lock().unwrap_or_else(PoisonError::into_inner).extend(destroyed);
    }

    /// SIGKILL.
    pub(super) fn kill_gateway(&self) {
        let mut gateway = self.gateway().take().expect("a gateway that runs");
        gateway.kill();
        self.end_life(&gateway, None);
    }

    /// SIGTERM, and looks at its metrics until it is gone; its exit code. Panics if it still runs after 40 s.
    pub(super) fn terminate_gateway(&self) -> i32 {
        self.look();
        let mut gateway = self.gateway().take().expect("a gateway that runs");
        gateway.signal(rustix::process::Signal::TERM);
        let start = Instant::now();
        let code = loop {
            self.look_at(gateway.admin());
            if let Some(code) = gateway.ended_within(Duration::from_millis(50)) {
                break code;
            }
            assert!(start.elapsed() < Duration::from_secs(40), "the gateway does not end:\n{}", gateway.log());
        };
        self.end_life(&gateway, Some(code));
        code
    }

    fn end_life(&self, gateway: &Gateway, exit_code: Option<i32>) {
        let log = gateway.log();
        let mut lives = self.lives();
        let life = lives.last_mut().expect("a life that ends");
        let metrics = life.last.as_ref().map(|(_, _, metrics)| metrics.text()).unwrap_or_default();
        for line in log.lines().filter(|line| line.contains("panicked")) {
            life.faults.push(line.to_owned());
        }
        if CLIENTS
            .iter()
            .any(|client| [log.as_str(), metrics].iter().any(|text| text.contains(&keys::fixed(client).text)))
        {
            life.faults.push("a key stands in its log or metrics".to_owned());
        }
        (life.to, life.is_killed, life.exit_code) = (Some(self.ledger.now()), exit_code.is_none(), exit_code);
    }

    /// Looks at the metrics now and keeps what they say.
    pub(super) fn look(&self) -> Option<()> {
        let admin = self.gateway().as_ref()?.admin().to_owned();
        self.look_at(&admin)
    }

    fn look_at(&self, admin: &str) -> Option<()> {
        let from = self.ledger.now();
        let metrics = self.runtime.block_on(scrape(admin))?;
        let look = (from, self.ledger.now(), metrics);
        self.lives().last_mut()?.last = Some(look);
        Some(())
    }

    /// Does it, holds it, undoes it; when it began and when it was undone. What the undoing brings about, such as
    /// replicas that catch up, is not waited for.
    pub(super) fn apply(&self, fault: &Fault) -> (Duration, Duration) {
        let (broker, hold, kafka) = (fault.broker, fault.hold, &self.kafka);
        let all: Vec<usize> = (1..=self.brokers).collect();
        let from = self.ledger.now();
        let until_held = |act: &mut dyn FnMut()| {
            let start = Instant::now();
            while start.elapsed() < hold {
                act();
            }
        };
        let weather = |brokers: &[usize], weather: Weather| {
            brokers.iter().for_each(|broker| kafka.proxy(*broker).set(weather));
            thread::sleep(hold);
            brokers.iter().for_each(|broker| kafka.proxy(*broker).set(Weather::default()));
        };
        match fault.kind {
            Kind::BrokerKill => {
                kafka.kill_broker(broker);
                thread::sleep(hold);
                kafka.restart_broker(broker);
            }
            Kind::BrokerStop => {
                kafka.stop_broker(broker);
                thread::sleep(hold);
                kafka.continue_broker(broker);
            }
            Kind::RollingRestart => {
                for &broker in &all {
                    kafka.terminate_broker(broker);
                    kafka.restart_broker(broker);
                    kafka.wait_until_in_sync(&TOPICS);
                }
            }
            Kind::LeaderElection => until_held(&mut || {
                kafka.move_leaders(&TOPICS);
                kafka.wait_until_in_sync(&TOPICS);
            }),
            Kind::AllDown => {
                all.iter().for_each(|broker| kafka.kill_broker(*broker));
                thread::sleep(hold);
                kafka.restart_brokers(&all);
            }
            Kind::Cut => weather(&[broker], Weather::cut()),
            Kind::HalfOpen => weather(&[broker], Weather::half_open()),
            Kind::RoundTrip => weather(&all, Weather::both(Way { delay: ONE_WAY, ..Way::default() })),
            Kind::ByteRate => weather(&all, Weather::both(Way { rate: Some(NARROW), ..Way::default() })),
            Kind::Resets => until_held(&mut || {
                all.iter().for_each(|broker| kafka.proxy(*broker).reset());
                thread::sleep(AGAIN);
            }),
            Kind::ClientResets => until_held(&mut || {
                self.front.reset();
                thread::sleep(AGAIN);
            }),
            Kind::GatewayTerm => until_held(&mut || {
                self.terminate_gateway();
                self.start_gateway();
                thread::sleep(NEXT_LIFE);
            }),
            Kind::GatewayKill => until_held(&mut || {
                self.kill_gateway();
                self.start_gateway();
                thread::sleep(NEXT_LIFE);
            }),
            Kind::DiskFull => self.spool.without_room(self.pid(), hold),
            Kind::SyncError => Home::without_sync(self.pid(), hold),
            Kind::BitFlip => {
                self.cut_off(true);
                thread::sleep(hold);
                self.kill_gateway();
                self.flip_bits();
                self.start_gateway();
                self.cut_off(false);
            }
            Kind::Flood => {
                let flood = Arc::clone(&self.flood.lock().unwrap_or_else(PoisonError::into_inner));
                flood.store(true, Ordering::SeqCst);
                thread::sleep(hold);
                flood.store(false, Ordering::SeqCst);
            }
        }
        (from, self.ledger.now())
    }
}

/// The metrics at `admin`; none if nobody answers.
pub(super) async fn scrape(admin: &str) -> Option<Metrics> {
    let client = Client::new(admin);
    let answer = tokio::time::timeout(Duration::from_secs(2), client.try_get("/metrics")).await.ok()?.ok()?;
    (answer.status == 200).then(|| Metrics::parse(&String::from_utf8_lossy(&answer.body)))
}

fn config(bootstrap: &str, spool: &Home) -> String {
    let bootstrap: Vec<String> = bootstrap.split(',').map(|address| format!("\"{address}\"")).collect();
    let clients = CLIENTS.iter().enumerate().map(|(number, client)| {
        let sha256 = keys::fixed(client).sha256;
        let events = if number == FLOODER { format!("{FLOODER_QUOTA}/s") } else { "off".to_owned() };
        format!(
            "  {client}: {{ keys: [{{ label: test, sha256: \"{sha256}\" }}], topics: [\"chaos-*\"], limits: {{ events: {events} }} }}\n"
        )
    });
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", wait: 5s }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 500ms, flush: 20s }}
kafka: {{ default: {{ bootstrap: [{}], delivery_timeout: 20s }} }}
budget: {{ total: {BUDGET_MIB}MiB }}
defaults: {{ limits: {{ requests: off, events: off, bytes: off }} }}
log: {{ format: json, level: "info,librdkafka=debug" }}
clients:
{}topics: {{ "chaos-*": {{}}, chaos-spool: {{ on_outage: spool, dead_letter: off }} }}
{}
"#,
        bootstrap.join(", "),
        clients.collect::<String>(),
        spool.config()
    )
}

/// Resident memory of a process, in bytes; none if it is gone.
pub(super) fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}
