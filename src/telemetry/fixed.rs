//! The metrics that belong to no client and no topic: handles of the `metrics` crate, bound once.
//!
//! Owns the recorder, which is never installed globally. The label values are enums, so the number of series is
//! fixed; a route and a status get their row when they first occur.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::histogram;
use super::names::{self, Def, Kind};

/// The routes of both listeners, by the patterns under which they are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// `POST` of events.
    Produce,
    /// The topics of a client.
    Topics,
    /// One of them.
    Topic,
    /// What became of a request.
    Request,
    /// The description of the ingest listener.
    OpenApi,
    /// Liveness.
    Livez,
    /// Readiness.
    Readyz,
    /// Whether the start is over.
    Startupz,
    /// The scrape.
    Metrics,
    /// The effective config.
    AdminConfig,
    /// The clients' counters.
    AdminClients,
    /// The reload.
    AdminReload,
    /// The live page's events, until their head alone.
    AdminStream,
    /// The tap.
    AdminTap,
    /// Whether the caller may look.
    AdminSession,
    /// A key for a session.
    AdminLogin,
    /// And back.
    AdminLogout,
    /// The live page.
    Ui,
    /// Its files.
    UiFile,
    /// Everything else, 404 above all.
    Other,
}

impl Route {
    /// All of them.
    pub const ALL: [Route; 20] = [
        Route::Produce,
        Route::Topics,
        Route::Topic,
        Route::Request,
        Route::OpenApi,
        Route::Livez,
        Route::Readyz,
        Route::Startupz,
        Route::Metrics,
        Route::AdminConfig,
        Route::AdminClients,
        Route::AdminReload,
        Route::AdminStream,
        Route::AdminTap,
        Route::AdminSession,
        Route::AdminLogin,
        Route::AdminLogout,
        Route::Ui,
        Route::UiFile,
        Route::Other,
    ];

    /// The label's value: the pattern of the path.
    pub const fn name(self) -> &'static str {
        match self {
            Route::Produce => "/v1/topics/{topic}/events",
            Route::Topics => "/v1/topics",
            Route::Topic => "/v1/topics/{topic}",
            Route::Request => "/v1/requests/{id}",
            Route::OpenApi => "/openapi.json",
            Route::Livez => "/livez",
            Route::Readyz => "/readyz",
            Route::Startupz => "/startupz",
            Route::Metrics => "/metrics",
            Route::AdminConfig => "/admin/config",
            Route::AdminClients => "/admin/clients",
            Route::AdminReload => "/admin/reload",
            Route::AdminStream => "/admin/stream",
            Route::AdminTap => "/admin/tap",
            Route::AdminSession => "/admin/session",
            Route::AdminLogin => "/admin/login",
            Route::AdminLogout => "/admin/logout",
            Route::Ui => "/ui/",
            Route::UiFile => "/ui/{file}",
            Route::Other => "other",
        }
    }

    /// The route that is registered under `pattern`.
    pub fn of(pattern: &str) -> Self {
        Self::ALL.into_iter().find(|route| route.name() == pattern).unwrap_or(Route::Other)
    }
}

/// What happens to connections of the ingest listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionEvent {
    /// One more is open.
    Accepted,
    /// One less is open.
    Closed,
    /// No byte came in time after it was accepted.
    FreshTimeout,
    /// A head was not complete in time.
    HeadTimeout,
    /// It was idle too long between two requests.
    IdleTimeout,
    /// Nobody took the bytes of an answer in time.
    WriteTimeout,
    /// A head beyond even hyper's limits.
    HeadTooLarge,
    /// What came was no HTTP.
    MalformedHead,
    /// What came was against the rules of HTTP/2, or one of its flood limits.
    Http2,
    /// Accepting failed for want of files or memory, and pauses.
    AcceptPaused,
}

impl ConnectionEvent {
    /// All of them.
    pub const ALL: [ConnectionEvent; 10] = [
        ConnectionEvent::Accepted,
        ConnectionEvent::Closed,
        ConnectionEvent::FreshTimeout,
        ConnectionEvent::HeadTimeout,
        ConnectionEvent::IdleTimeout,
        ConnectionEvent::WriteTimeout,
        ConnectionEvent::HeadTooLarge,
        ConnectionEvent::MalformedHead,
        ConnectionEvent::Http2,
        ConnectionEvent::AcceptPaused,
    ];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            ConnectionEvent::Accepted => "accepted",
            ConnectionEvent::Closed => "closed",
            ConnectionEvent::FreshTimeout => "fresh_timeout",
            ConnectionEvent::HeadTimeout => "head_timeout",
            ConnectionEvent::IdleTimeout => "idle_timeout",
            ConnectionEvent::WriteTimeout => "write_timeout",
            ConnectionEvent::HeadTooLarge => "head_too_large",
            ConnectionEvent::MalformedHead => "malformed_head",
            ConnectionEvent::Http2 => "http2",
            ConnectionEvent::AcceptPaused => "accept_paused",
        }
    }
}

// The last one stands for all that are not listed.
const STATUSES: [(u16, &str); 23] = [
    (200, "200"),
    (202, "202"),
    (204, "204"),
    (207, "207"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (421, "421"),
    (422, "422"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (0, "other"),
];

#[derive(Debug, Default)]
struct Cells {
    seconds: OnceLock<Histogram>,
    statuses: [OnceLock<Counter>; STATUSES.len()],
}

/// The handles. Touching one is an atomic operation, no look-up.
#[derive(Debug)]
pub struct Fixed {
    /// Events in a request whose body decoded: `record(n as f64)` once a request.
    pub batch_events: Histogram,
    /// How long a sync of the spool took: `record(seconds)`.
    pub spool_sync: Histogram,
    /// Access lines left out.
    pub log_suppressed: Counter,
    folded: Counter,
    connections: Gauge,
    reload_successful: Gauge,
    reload_timestamp: Gauge,
    connection_events: [Counter; ConnectionEvent::ALL.len()],
    routes: [Cells; Route::ALL.len()],
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Fixed {
    pub(super) fn new() -> Self {
        let recorder = recorder();
        let handle = recorder.handle();
        Self {
            batch_events: histogram_of(&recorder, &names::BATCH_EVENTS, &[]),
            spool_sync: histogram_of(&recorder, &names::SPOOL_SYNC_SECONDS, &[]),
            connections: gauge(&recorder, &names::CONNECTIONS, &[]),
            log_suppressed: counter(&recorder, &names::LOG_SUPPRESSED, &[]),
            folded: counter(&recorder, &names::METRICS_FOLDED, &[]),
            reload_successful: gauge(&recorder, &names::CONFIG_LAST_RELOAD_SUCCESSFUL, &[]),
            reload_timestamp: gauge(&recorder, &names::CONFIG_LAST_RELOAD_TIMESTAMP, &[]),
            connection_events: ConnectionEvent::ALL
                .map(|event| counter(&recorder, &names::CONNECTION_EVENTS, &[event.name()])),
            routes: Default::default(),
            recorder,
            handle,
        }
    }

    /// Counts an answer, and how long it took from the head of its request.
    pub fn http(&self, route: Route, status: u16, took: Duration) {
        let Some(cells) = self.routes.get(route as usize) else { return };
        let listed = STATUSES.iter().position(|(known, _)| *known == status);
        let place = listed.unwrap_or(STATUSES.len() - 1);
        if let (Some(cell), Some((_, label))) = (cells.statuses.get(place), STATUSES.get(place)) {
            let bind = || counter(&self.recorder, &names::HTTP_REQUESTS, &[route.name(), label]);
            cell.get_or_init(bind).increment(1);
        }
        let bind = || histogram_of(&self.recorder, &names::HTTP_REQUEST_SECONDS, &[route.name()]);
        cells.seconds.get_or_init(bind).record(took.as_secs_f64());
    }

    /// Counts what happened to a connection, and how many are open.
    pub fn connection(&self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Accepted => self.connections.increment(1.0),
            ConnectionEvent::Closed => self.connections.decrement(1.0),
            ConnectionEvent::FreshTimeout
            | ConnectionEvent::HeadTimeout
            | ConnectionEvent::IdleTimeout
            | ConnectionEvent::WriteTimeout
            | ConnectionEvent::HeadTooLarge
            | ConnectionEvent::MalformedHead
            | ConnectionEvent::Http2
            | ConnectionEvent::AcceptPaused => {}
        }
        if let Some(counter) = self.connection_events.get(event as usize) {
            counter.increment(1);
        }
    }

    /// Says what runs: klamm's own version and librdkafka's. Once, at start.
    pub fn build_info(&self, version: &str, librdkafka: &str) {
        gauge(&self.recorder, &names::BUILD_INFO, &[version, librdkafka]).set(1.0);
    }

    /// Notes a load of the config: the time since the epoch when it came into use, or `None` when it failed and the
    /// old one stays.
    pub fn reloaded(&self, in_use_since: Option<Duration>) {
        if let Some(at) = in_use_since {
            self.reload_timestamp.set(at.as_secs_f64());
        }
        self.reload_successful.set(if in_use_since.is_some() { 1.0 } else { 0.0 });
    }

    pub(super) fn folded(&self) -> Counter {
        self.folded.clone()
    }

    pub(super) fn render(&self) -> String {
        self.handle.render()
    }

    pub(super) fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// A recorder that knows the help of every metric, and buckets for every histogram: those without become summaries,
/// which cannot be added up over several gateways.
fn recorder() -> PrometheusRecorder {
    let bounds = [
        (&names::BATCH_EVENTS, histogram::EVENTS),
        (&names::HTTP_REQUEST_SECONDS, histogram::SECONDS),
        (&names::SPOOL_SYNC_SECONDS, histogram::SECONDS),
    ];
    let mut builder = PrometheusBuilder::new();
    for (def, bounds) in bounds {
        #[expect(clippy::expect_used, reason = "fails for an empty list only, and these are constants")]
        let with = builder.set_buckets_for_metric(Matcher::Full(def.name.into()), &bounds).expect("bounds");
        builder = with;
    }
    let recorder = builder.build_recorder();
    for def in names::ALL {
        match def.kind {
            Kind::Counter => recorder.describe_counter(def.name.into(), None, def.help.into()),
            Kind::Gauge => recorder.describe_gauge(def.name.into(), None, def.help.into()),
            Kind::Histogram => recorder.describe_histogram(def.name.into(), None, def.help.into()),
        }
    }
    recorder
}

static METADATA: Metadata<'static> = Metadata::new("klamm", Level::INFO, None);

fn key(def: &'static Def, values: &[&str]) -> Key {
    let labels: Vec<_> =
        def.labels.iter().zip(values).map(|(name, value)| Label::new(*name, value.to_string())).collect();
    Key::from_parts(def.name, labels)
}

fn counter(recorder: &PrometheusRecorder, def: &'static Def, values: &[&str]) -> Counter {
    recorder.register_counter(&key(def, values), &METADATA)
}

fn gauge(recorder: &PrometheusRecorder, def: &'static Def, values: &[&str]) -> Gauge {
    recorder.register_gauge(&key(def, values), &METADATA)
}

fn histogram_of(recorder: &PrometheusRecorder, def: &'static Def, values: &[&str]) -> Histogram {
    recorder.register_histogram(&key(def, values), &METADATA)
}
