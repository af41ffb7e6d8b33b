//! One chaos run: brokers, gateway and load; a quiet time, fault after fault, a quiet time; then the audit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use klamm_load::topics::Cluster;
use klamm_load::verify::Topic;
use serde::Serialize;
use tokio::runtime::Handle;

use super::audit::{self, Findings, Window};
use super::counters::{self, Counts};
use super::event::Values;
use super::ledger::{Book, Ledger};
use super::load::{Load, Names, Pace, Sender};
use super::rig::{CLIENTS, FLOODER, FLOODER_QUOTA, Rig, TOPICS};
use super::schedule::{self, Fault, Kind};
use super::watch::{Look, watch};
use crate::support::scratch;

pub(super) const NAMES: Names = Names { clients: &CLIENTS, topics: &TOPICS };

/// What a run should be like.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) brokers: usize,
    pub(super) kinds: Vec<Kind>,
    /// No fault before, ...
    pub(super) quiet: Duration,
    /// ... none begins after, ...
    pub(super) until: Duration,
    /// ... and the load goes on so long after the last.
    pub(super) calm: Duration,
    /// Events that are sent in a second.
    pub(super) rate: u32,
    /// Events that must be acknowledged in a second while Kafka is up, on average.
    pub(super) floor: f64,
}

/// A fault as it came.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Done {
    pub(super) fault: Fault,
    pub(super) from: Duration,
    pub(super) healed: Duration,
    /// When the next one began, or the calm.
    pub(super) to: Duration,
}

/// Everything a run leaves to be judged.
pub(super) struct Evidence {
    pub(super) book: Book,
    pub(super) done: Vec<Done>,
    pub(super) looks: Vec<Look>,
    pub(super) findings: Findings,
    /// What is wrong with the gateway's lives: counters, logs, exit codes.
    pub(super) lives: Vec<String>,
    pub(super) life_count: usize,
    pub(super) quiet: (Duration, Duration),
    pub(super) end: Duration,
    pub(super) reading: Duration,
}

/// The load of every run: batches on a schedule, singles on a schedule, eight keyed streams; and who floods when told.
pub(super) fn senders(rate: u32) -> Vec<Sender> {
    const BATCH: u32 = 100;
    let (clients, topics) = (FLOODER, TOPICS.len());
    let mut senders = Vec::new();
    for client in 0..clients {
        let sender = |topic, events, pace, respond_async| Sender { client, topic, events, pace, respond_async };
        let every = |share: f64| {
            Pace::Every(Duration::from_secs_f64(f64::from(BATCH) * clients as f64 / (f64::from(rate) * share)))
        };
        senders.push(sender(0, BATCH, every(0.6), false));
        senders.push(sender(2, BATCH, every(0.2), false));
        senders.push(sender(2, BATCH, every(0.2), true));
        senders.push(sender(client % topics, 1, Pace::Every(Duration::from_millis(50)), false));
    }
    let flood = Duration::from_secs_f64(f64::from(BATCH) / f64::from(10 * FLOODER_QUOTA));
    senders.push(Sender { client: FLOODER, topic: 0, events: BATCH, pace: Pace::Flood(flood), respond_async: false });
    for stream in 0..8 {
        let (client, topic) = (stream as usize % clients, [1, 2, 1, 0][stream as usize % 4]);
        let (events, respond_async) = (if stream < 4 { 1 } else { 5 }, stream == 5);
        senders.push(Sender { client, topic, events, pace: Pace::OneByOne(stream), respond_async });
    }
    senders
}

/// Runs it. Panics where the rig itself fails; what klamm fails at is in the evidence.
pub(super) async fn run(plan: &Plan) -> Evidence {
    let dir = scratch::dir("chaos");
    let ledger = Arc::new(Ledger::create(&dir.path().join("ledger")));
    let (faults, left_out) = schedule::plan(plan.seed, (plan.quiet, plan.until), &plan.kinds, plan.brokers);
    tell(plan, &faults, &left_out);

    let (brokers, runtime, book) = (plan.brokers, Handle::current(), Arc::clone(&ledger));
    let rig = Arc::new(blocking(move || Rig::start(brokers, book, runtime)).await);
    let mut topics = open_topics(&rig);
    {
        let rig = Arc::clone(&rig);
        blocking(move || rig.wait_until_ready()).await;
    }
    let values = Values::new(plan.seed);
    ledger.begin();
    let load = Load::start(rig.address(), NAMES, &senders(plan.rate), Arc::clone(&ledger), values.clone());
    rig.take_flood(load.flood());
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(Arc::clone(&rig), Arc::clone(&ledger), Arc::clone(&stop)));

    // The first seconds open connections and warm the brokers up; they are not what the others are held against.
    tokio::time::sleep(plan.quiet.saturating_sub(Duration::from_secs(1))).await;
    let quiet = (plan.quiet / 4, ledger.now());
    let mut lives = quiet_counters(&rig, &load, &ledger).await;

    let mut done: Vec<Done> = Vec::new();
    for fault in faults {
        let (rig, book, begun) = (Arc::clone(&rig), Arc::clone(&ledger), Instant::now());
        let one = blocking(move || {
            println!("{:7.1} s  {fault}", book.now().as_secs_f64());
            let (from, healed) = rig.apply(&fault);
            // The next fault hits a whole cluster, so that what it shows is its own.
            rig.kafka().wait_until_in_sync(&TOPICS);
            std::thread::sleep(fault.slot.saturating_sub(begun.elapsed()));
            Done { fault, from, healed, to: book.now() }
        });
        done.push(one.await);
    }
    println!("{:7.1} s  calm", ledger.now().as_secs_f64());
    tokio::time::sleep(plan.calm).await;
    let end = ledger.now();
    load.stop().await;
    stop.store(true, Ordering::Relaxed);
    let looks = watching.await.expect("a watch that does not panic");

    let (last, settled) = (Arc::clone(&rig), Instant::now());
    lives.extend(blocking(move || settle_and_end(&last, settled)).await);
    let book = ledger.read();
    for (number, life) in rig.lives().iter().enumerate() {
        lives.extend(life.faults.iter().map(|fault| format!("life {number}: {fault}")));
        if !life.is_killed {
            lives.extend(counters::faults(number, life, &book));
            lives.extend((life.exit_code != Some(0)).then(|| format!("life {number}: exit code {:?}", life.exit_code)));
        }
    }
    let windows: Vec<Window> = done.iter().map(Done::window).collect();
    let (reading, destroyed) = (Instant::now(), rig.destroyed());
    let (findings, book) = blocking(move || {
        let findings = audit::read(&book, &values, &windows, &mut topics, &destroyed);
        (findings, book)
    })
    .await;
    let life_count = rig.lives().len();
    blocking(move || drop(rig)).await;
    Evidence { book, done, looks, findings, lives, life_count, quiet, end, reading: reading.elapsed() }
}

impl Done {
    fn window(&self) -> Window {
        Window { kind: self.fault.kind.name(), from: self.from, to: self.to }
    }
}

fn tell(plan: &Plan, faults: &[Fault], left_out: &[Kind]) {
    println!(
        "chaos: seed {}, {} brokers, {} faults; again by SEED={}",
        plan.seed,
        plan.brokers,
        faults.len(),
        plan.seed
    );
    faults.iter().for_each(|fault| println!("  {fault}"));
    if !left_out.is_empty() {
        let names: Vec<_> = left_out.iter().map(|kind| kind.name()).collect();
        println!("  no time for: {}", names.join(", "));
    }
}

/// The topics as they are now, empty.
pub(super) fn open_topics(rig: &Rig) -> Vec<Topic> {
    let cluster = Cluster { bootstrap: rig.kafka().inner_bootstrap(), properties: Vec::new() };
    TOPICS.iter().map(|topic| Topic::open(&cluster, topic).expect("a topic that can be read")).collect()
}

/// Holds the load still for a moment without a fault: with nothing on its way what was received and acked must be equal
/// to what was sent, to the event.
async fn quiet_counters(rig: &Arc<Rig>, load: &Load, ledger: &Ledger) -> Vec<String> {
    load.pause().await;
    let looking = Arc::clone(rig);
    let looked = blocking(move || looking.look()).await;
    let book = ledger.read();
    load.go_on();
    let lives = rig.lives();
    match (looked, lives.last()) {
        (Some(()), Some(life)) => counters::faults(0, life, &book),
        _ => vec!["the metrics could not be read in the quiet time".to_owned()],
    }
}

/// Waits until the gateway knows the outcome of every event, and ends it.
pub(super) fn settle_and_end(rig: &Rig, start: Instant) -> Vec<String> {
    let mut faults = Vec::new();
    loop {
        rig.look();
        let waiting: f64 = {
            let lives = rig.lives();
            let metrics = lives.last().and_then(|life| life.last.as_ref()).map(|(_, _, metrics)| metrics);
            let each = CLIENTS.iter().flat_map(|client| TOPICS.iter().map(move |topic| (client, topic)));
            metrics.map_or(f64::NAN, |metrics| {
                each.map(|(client, topic)| Counts::of(metrics, client, topic).waiting()).sum()
            })
        };
        if waiting == 0.0 {
            break;
        }
        if start.elapsed() > Duration::from_secs(40) {
            faults.push(format!("{waiting} events have no outcome 40 s after the load"));
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    rig.terminate_gateway();
    faults
}

/// Runs what blocks on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("work that does not panic")
}
