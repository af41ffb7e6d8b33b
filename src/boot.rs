//! The composition root: from the config to components to tasks. The only place that builds things.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::admin::sampler::{Example, Sources};
use crate::admin::{self, Sampler, note_reload};
use crate::config::live::{self, Live, News, Pace};
use crate::config::{self, Cluster, Config, Listen};
use crate::event::{ClientId, TopicName};
use crate::http::front::Front;
use crate::http::layers::{Edge, peer};
use crate::http::listener::{self, ConnEvent, Listener, Refusal, Timer};
use crate::http::{app, measure};
use crate::ingest::spooling::book::Book;
use crate::ingest::spooling::{Spooling, drain, letters};
use crate::ingest::{Gateway, Rules};
use crate::shutdown::Phase;
use crate::stages::admission::Budget;
use crate::stages::limit::Clock;
use crate::stages::produce::catalog::{Catalog, Create, Scout};
use crate::stages::produce::context::Ears;
use crate::stages::produce::kafka::Kafka;
use crate::stages::produce::options::Options;
use crate::stages::produce::statistics::Board;
use crate::stages::produce::supervisor::Mends;
use crate::stages::spool::{Recovered, Settings, Spool, Waiting};
use crate::tasks::{OnEnd, Tasks};
use crate::telemetry::{AccessLog, ConnectionEvent, LogHandle, Metrics, access};
use crate::units::ByteSize;

mod empty;
mod notify;
mod passed;
mod scrape;
mod stop;

pub use empty::empty;
pub use notify::Notify;
pub use passed::Sockets;

/// How many connections the admin listener takes.
const ADMIN_CONNECTIONS: u32 = 512;
/// How long connections wait for Kafka's first answer where they wait on a socket that was passed.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// How often the tidy tasks run.
const TIDY: Duration = Duration::from_secs(5);

/// What a gateway is started from.
pub struct Start {
    /// The config and its reload.
    pub live: Arc<Live>,
    /// The log's level, which a reload may change.
    pub logs: LogHandle,
    /// How access lines look.
    pub access: access::Style,
    /// What the live page says to try, in `klamm dev` alone.
    pub example: Option<Example>,
    /// Makes missing topics, in `klamm dev` alone.
    pub create: Option<Create>,
    /// Gets the bound addresses as JSON once both listeners are bound.
    pub ready_file: Option<PathBuf>,
    /// What to listen on instead of binding; the config's addresses are theirs already.
    pub sockets: Sockets,
    /// Is told how klamm goes.
    pub notify: Notify,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be bound.
    #[error("{key}: cannot listen on {listen}: {source}")]
    Bind {
        /// The config key.
        key: &'static str,
        /// The address.
        listen: Listen,
        /// The system's word.
        source: std::io::Error,
    },
    /// librdkafka does not take its properties.
    #[error("kafka.{cluster}: {source}")]
    Kafka {
        /// The cluster's name in the config.
        cluster: String,
        /// librdkafka's word.
        source: rdkafka::error::KafkaError,
    },
    /// The spool cannot be opened.
    #[error("spool.dir: {}: {source}", dir.display())]
    Spool {
        /// Where it should be.
        dir: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The config names no cluster; validation does not let this through.
    #[error("kafka: no cluster is configured")]
    NoCluster,
    /// The bound addresses could not be written.
    #[error("cannot write {path}: {source}")]
    ReadyFile {
        /// Where to.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The process may not listen for signals.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

/// A gateway that serves. [`Running::until_stopped`] brings it to its end.
pub struct Running {
    /// Where events are taken.
    pub ingest: Listen,
    /// Where operators ask.
    pub admin: Listen,
    gateway: Arc<Gateway>,
    live: Arc<Live>,
    kafka: Arc<Kafka>,
    requests: app::Open,
    /// Of the ingest listener.
    connections: Connections,
    notify: Arc<Notify>,
    phase: watch::Sender<Phase>,
    servers: [JoinHandle<usize>; 2],
    tasks: Tasks,
}

impl Running {
    /// Whether Kafka answers within `patience`.
    pub async fn kafka_answers(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.gateway.health.is_up() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.gateway.health.is_up()
    }
}

/// Builds everything and serves. Needs no broker: until Kafka answers, requests get 503 `kafka_unavailable`.
///
/// # Errors
/// See [`Error`]; nothing serves then.
pub fn start(start: Start) -> Result<Running, Error> {
    let Start { live, logs, access: style, example, create, ready_file, sockets, notify } = start;
    let config = live.current();
    let metrics = Metrics::new(config.metrics.pairs, config.admin.history.get() as usize);
    metrics.tap.show_payload(config.admin.tap_payload);
    metrics.fixed.build_info(env!("CARGO_PKG_VERSION"), &rdkafka::util::get_rdkafka_version().1);
    metrics.fixed.reloaded(Some(since_epoch()));
    let access = AccessLog::new(mode(&config), style, metrics.fixed.log_suppressed.clone());
    let access = Arc::new(access);

    let (phase, phases) = watch::channel(Phase::Serving);
    let Core { gateway, kafka, scout, board, mends } = Core::new(&config, &metrics, create, phases)?;
    let (health, catalog) = (Arc::clone(&gateway.health), Arc::clone(&gateway.catalog));
    let backlog = Arc::clone(&gateway.backlog);
    scrape::install(&gateway, &board, &mends);

    let mut tasks = Tasks::default();
    let app = app::App::new(Arc::clone(&gateway), Arc::clone(&access));
    let requests = app.open();
    let connections = Connections { open: Arc::default(), wait_elsewhere: sockets.ingest.is_some() };
    let ingest = bind("ingest.listen", &config.ingest.listen, &config.ingest.socket, sockets.ingest)?;
    let (ingest, ingest_server) = serve_ingest(ingest, &live, &gateway, app, &connections, &mut tasks);
    let sources =
        Sources { gateway: Arc::clone(&gateway), live: Arc::clone(&live), board, ingest: ingest.to_string(), example };
    let sampler = Sampler::new(sources);
    let admin = bind("admin.listen", &config.admin.listen, &config::Socket::default(), sockets.admin)?;
    let (admin, admin_server) = serve_admin(admin, &live, &gateway, Arc::clone(&sampler));
    if let Some(path) = ready_file {
        let text = format!("{{\"ingest\":\"{ingest}\",\"admin\":\"{admin}\"}}\n");
        std::fs::write(&path, text).map_err(|source| Error::ReadyFile { path, source })?;
    }
    info!(%ingest, %admin, version = env!("CARGO_PKG_VERSION"), "klamm serves");

    if let Some(spooling) = &gateway.spooling {
        let (app, bytes) = (Arc::clone(&gateway), config.drain_bytes());
        tasks.spawn("spool-drain", OnEnd::Shutdown, drain::run(Arc::clone(&app), Arc::clone(spooling), bytes));
        tasks.spawn("dead-letters", OnEnd::Shutdown, letters::watch(app, Arc::clone(spooling)));
    }
    let replies = Arc::clone(&gateway.replies);
    tasks.spawn("replies", OnEnd::Shutdown, async move { replies.tell().await });
    tasks.spawn("producer-supervisor", OnEnd::Shutdown, Arc::clone(&kafka).supervise());
    tasks.spawn("kafka-health", OnEnd::Shutdown, health.watch(scout));
    tasks.spawn("topic-refresh", OnEnd::Shutdown, catalog.keep_fresh(exact_topics(&config), backlog));
    tasks.spawn("tidy", OnEnd::Shutdown, tidy(Arc::clone(&metrics), Arc::clone(&access)));
    tasks.spawn("sampler", OnEnd::Shutdown, sampler.run());
    tasks.spawn("config-apply", OnEnd::Shutdown, apply(Arc::clone(&live), Arc::clone(&gateway), access, logs));
    let notify = Arc::new(notify);
    tasks.spawn("config-watch", OnEnd::Ignore, watch_config(Arc::clone(&live), metrics, Arc::clone(&notify)));
    let (to, app, open) = (Arc::clone(&notify), Arc::clone(&gateway), requests.clone());
    tasks.spawn("notify", OnEnd::Ignore, async move {
        to.tell(notify::READY_AT_LAST, || app.health.has_met(), || status(&app, &open)).await;
    });
    let to = Arc::clone(&notify);
    tasks.spawn("watchdog", OnEnd::Ignore, async move { to.live().await });
    #[cfg(feature = "failpoints")]
    if let Some(path) = std::env::var_os("KLAMM_FAILPOINT_HANG") {
        tasks.spawn("failpoint", OnEnd::Ignore, crate::tasks::hang::once_there_is(path.into()));
    }
    let servers = [ingest_server, admin_server];
    Ok(Running { ingest, admin, gateway, live, kafka, requests, connections, notify, phase, servers, tasks })
}

/// The path of events, without the listeners in front of it.
struct Core {
    gateway: Arc<Gateway>,
    kafka: Arc<Kafka>,
    scout: Arc<Scout>,
    board: Arc<Board>,
    mends: Arc<Mends>,
}

impl Core {
    fn new(
        config: &Arc<Config>,
        metrics: &Arc<Metrics>,
        create: Option<Create>,
        phase: watch::Receiver<Phase>,
    ) -> Result<Self, Error> {
        let (name, cluster) = config.kafka.iter().next().ok_or(Error::NoCluster)?;
        let kafka_error = |source| Error::Kafka { cluster: name.clone(), source };
        let options = Options { cluster: cluster.clone(), budget: config.budget.total.get() };
        let ears = Ears::default();
        let kafka = Arc::new(Kafka::new(options.clone(), ears.clone()).map_err(kafka_error)?);
        let Ears { health, board, backlog, mends, .. } = ears;
        let scout = Arc::new(Scout::new(&options, Arc::clone(&health), create).map_err(kafka_error)?);
        warn_if_unsafe(name, cluster);
        let gateway = Arc::new(Gateway {
            rules: ArcSwap::from_pointee(Rules::new(Arc::clone(config), None)),
            budget: Budget::new(&budget(config)),
            sink: Arc::clone(&kafka) as _,
            replies: Arc::default(),
            spooling: open_spool(config, metrics)?,
            catalog: Catalog::new(Arc::clone(&scout), cluster.metadata_refresh.get()),
            health,
            backlog,
            metrics: Arc::clone(metrics),
            phase,
            clock: Clock::starting_at(Instant::now()),
        });
        Ok(Self { gateway, kafka, scout, board, mends })
    }
}

/// The budget of requests.
fn budget(config: &Config) -> config::Budget {
    let total = config.budget.total.get() - config.drain_bytes();
    config::Budget { total: ByteSize::bytes(total), ..config.budget.clone() }
}

/// The spool, where the config has one, with what it held counted.
fn open_spool(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Spooling>>, Error> {
    if !config.spool.is_on() {
        return Ok(None);
    }
    let dir = &config.spool.dir;
    let book = Book::default();
    let mut streams: HashMap<ClientId, HashMap<TopicName, u64>> = HashMap::new();
    let mut seen = |waiting: &Waiting<'_>| {
        book.recover(waiting.request, waiting.client, waiting.topic, waiting.events);
        // No name is copied for an entry of a stream that was met before.
        match streams.get_mut(waiting.client).and_then(|topics| topics.get_mut(waiting.topic)) {
            Some(events) => *events += u64::from(waiting.events),
            None => {
                let topics = streams.entry(waiting.client.clone()).or_default();
                topics.insert(waiting.topic.clone(), waiting.events.into());
            }
        }
    };
    let sync = metrics.fixed.spool_sync.clone();
    let settings = Settings { synced: Arc::new(move |took| sync.record(took)), ..Settings::of(&config.spool) };
    let opened = Spool::open(settings, &mut seen);
    let (store, recovered) = opened.map_err(|source| Error::Spool { dir: dir.clone(), source })?;
    for (client, topics) in &streams {
        for (topic, events) in topics {
            metrics.pair(client, topic).recovered(*events);
        }
    }
    let Recovered { entries, events, bytes, quarantined, lost } = recovered;
    info!(dir = %dir.display(), entries, events, bytes, quarantined, lost, "spool opened");
    Ok(Some(Spooling::new(store, book)))
}

/// The connections of the ingest listener.
#[derive(Clone)]
struct Connections {
    open: Arc<AtomicUsize>,
    /// Those that come once klamm stops wait for the next one, on the socket that was passed.
    wait_elsewhere: bool,
}

type Served = (Listen, JoinHandle<usize>);

/// The bound listener and where it is.
type Bound = (Listen, Listener);

fn bind(
    key: &'static str,
    listen: &Listen,
    socket: &config::Socket,
    passed: Option<listener::Passed>,
) -> Result<Bound, Error> {
    let bound = match passed {
        Some(passed) => Listener::adopt(passed),
        None => Listener::bind(listen, socket),
    };
    let located = bound.and_then(|listener| Ok((listener.local()?, listener)));
    located.map_err(|source| Error::Bind { key, listen: listen.clone(), source })
}

fn serve_ingest(
    bound: Bound,
    live: &Arc<Live>,
    gateway: &Arc<Gateway>,
    app: app::App,
    connections: &Connections,
    tasks: &mut Tasks,
) -> Served {
    let config = live.current();
    let mut ingest = config.ingest.clone();
    let files = listener::raise_file_limit(listener::files_for(ingest.connections + ADMIN_CONNECTIONS));
    ingest.connections = listener::fit_connections(ingest.connections, files);
    let proxies = peer::Proxies::parse(&ingest.trusted_proxies).unwrap_or_default();
    let guard = peer::Guard::new(&ingest, proxies);
    if let Some(guard) = guard.clone() {
        tasks.spawn("peer-guard-sweep", OnEnd::Shutdown, async move {
            loop {
                tokio::time::sleep(TIDY).await;
                guard.sweep();
            }
        });
    }
    let front = Front::new(app, Edge::new(of(live), guard));
    let metrics = Arc::clone(&gateway.metrics);
    let Connections { open, wait_elsewhere } = connections.clone();
    let events = Arc::new(move |event| {
        match event {
            ConnEvent::Accepted => drop(open.fetch_add(1, Ordering::Relaxed)),
            ConnEvent::Closed => drop(open.fetch_sub(1, Ordering::Relaxed)),
            ConnEvent::TimedOut(_) | ConnEvent::Refused(_) | ConnEvent::AcceptPaused => {}
        }
        metrics.fixed.connection(kind(event));
    });
    let mut options = listener::Options::of(&ingest, config.shutdown.flush.get(), of(live), events);
    let mut patience = Duration::ZERO;
    if wait_elsewhere {
        options.closed_from = Phase::LameDuck;
        patience = FIRST_WORD;
    }
    serve(bound, front, options, gateway, patience)
}

fn serve_admin(bound: Bound, live: &Arc<Live>, gateway: &Arc<Gateway>, sampler: Arc<Sampler>) -> Served {
    let config = live.current();
    let app = admin::App {
        gateway: Arc::clone(gateway),
        live: Arc::clone(live),
        sampler,
        access: Arc::default(),
        seats: admin::Seats::default(),
        proxies: peer::Proxies::parse(&config.ingest.trusted_proxies).unwrap_or_default(),
        listen: config.admin.listen.clone(),
    };
    let router = measure::measured(admin::routes(app), Arc::clone(&gateway.metrics));
    let ingest = config::Ingest { connections: ADMIN_CONNECTIONS, ..config.ingest.clone() };
    let options = listener::Options::of(&ingest, Duration::from_secs(1), of(live), Arc::new(|_| {}));
    serve(bound, router, options, gateway, Duration::ZERO)
}

/// Serves, once Kafka has answered or `patience` is over: who waits meanwhile would hear that it does not answer.
fn serve(
    (address, listener): Bound,
    front: impl Into<Front> + Send + 'static,
    options: listener::Options,
    gateway: &Arc<Gateway>,
    patience: Duration,
) -> Served {
    let app = Arc::clone(gateway);
    let server = tokio::spawn(async move {
        let began = Instant::now();
        while !app.health.has_met() && *app.phase.borrow() == Phase::Serving && began.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        listener::serve(listener, front, options, app.phase.clone()).await
    });
    (address, server)
}

/// How it goes, for people who ask the supervisor.
fn status(gateway: &Gateway, requests: &app::Open) -> String {
    let phase = *gateway.phase.borrow();
    match phase {
        Phase::Serving if gateway.health.is_up() => "serving".to_owned(),
        Phase::Serving if gateway.is_spooling() => "serving: Kafka does not answer, events go to the spool".to_owned(),
        Phase::Serving => "serving: Kafka does not answer".to_owned(),
        Phase::LameDuck => "stopping: requests are still served".to_owned(),
        Phase::Draining => format!("stopping: {} requests in flight", requests.count()),
        Phase::Closing => "stopping: connections close".to_owned(),
    }
}

fn of(live: &Arc<Live>) -> crate::http::Live {
    let live = Arc::clone(live);
    Arc::new(move || live.current())
}

/// What happens to connections, in the words of the metrics.
fn kind(event: ConnEvent) -> ConnectionEvent {
    match event {
        ConnEvent::Accepted => ConnectionEvent::Accepted,
        ConnEvent::Closed => ConnectionEvent::Closed,
        ConnEvent::TimedOut(Timer::Fresh) => ConnectionEvent::FreshTimeout,
        ConnEvent::TimedOut(Timer::Head) => ConnectionEvent::HeadTimeout,
        ConnEvent::TimedOut(Timer::Idle) => ConnectionEvent::IdleTimeout,
        ConnEvent::TimedOut(Timer::Write) => ConnectionEvent::WriteTimeout,
        ConnEvent::Refused(Refusal::HeadTooLarge) => ConnectionEvent::HeadTooLarge,
        ConnEvent::Refused(Refusal::MalformedHead) => ConnectionEvent::MalformedHead,
        ConnEvent::Refused(Refusal::Http2) => ConnectionEvent::Http2,
        ConnEvent::AcceptPaused => ConnectionEvent::AcceptPaused,
    }
}

fn mode(config: &Config) -> access::Mode {
    match config.log.access {
        config::Access::Off => access::Mode::Off,
        config::Access::Failures => access::Mode::Failures,
        config::Access::All => access::Mode::All,
    }
}

fn warn_if_unsafe(name: &str, cluster: &Cluster) {
    if cluster.unsafe_ {
        warn!(cluster = name, "unsafe: acknowledged events may be lost or doubled");
    }
}

fn exact_topics(config: &Config) -> Vec<TopicName> {
    config.topics.keys().filter(|name| !name.ends_with('*')).map(|name| TopicName::from(name.as_str())).collect()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Keeps histograms and the access log's windows small. May be cancelled at any time.
async fn tidy(metrics: Arc<Metrics>, access: Arc<AccessLog>) {
    loop {
        tokio::time::sleep(TIDY).await;
        metrics.upkeep();
        access.turn(SystemTime::now());
    }
}

/// Brings each new config into force. Cancelled between two of them, the last one stays.
async fn apply(live: Arc<Live>, gateway: Arc<Gateway>, access: Arc<AccessLog>, logs: LogHandle) {
    let mut configs = live.subscribe();
    while configs.changed().await.is_ok() {
        let config = configs.borrow_and_update().clone();
        let rules = Rules::new(Arc::clone(&config), Some(&gateway.rules.load()));
        let rules = Arc::new(rules);
        gateway.rules.store(Arc::clone(&rules));
        // After the swap: a request under the old rules would open a row again.
        gateway.metrics.retain(|client, topic| {
            rules.clients.contains_key(client) && topic.is_none_or(|topic| rules.topics.find(topic).is_some())
        });
        access.set_mode(mode(&config));
        gateway.metrics.tap.show_payload(config.admin.tap_payload);
        if let Err(error) = logs.set_level(&config.log.level) {
            error!(%error, "log level not changed");
        }
        info!("config applied");
    }
}

async fn watch_config(live: Arc<Live>, metrics: Arc<Metrics>, notify: Arc<Notify>) {
    let told = live::watch(live, Pace::default(), OffsetDateTime::now_utc, |news| match news {
        News::Begins => notify.reloading(),
        News::Ended(result) => {
            note_reload(&metrics, &result);
            notify.reloaded(result.is_ok());
        }
    });
    if let Err(error) = told.await {
        warn!(%error, "the config is not watched: POST /admin/reload still reloads it");
    }
}
