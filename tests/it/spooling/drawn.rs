//! `make outage`: an outage of all brokers under load, second by second, for a topic that may spool beside one that may
//! not; drawn as a picture, and every accepted event found in Kafka afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, block_in_place};

use super::{Sender, config, dir, text, up};
use crate::outage::broker;
use crate::support::gateway::Gateway;

const TOPICS: [(&str, &str); 2] = [("spool-drawn", "on_outage: spool"), ("spool-drawn-not", "on_outage: refuse")];
const SENDERS: usize = 8;
const EVENTS: u64 = 10;
/// Of one sender, from request to request, where the answer to the last is there.
const PACE: Duration = Duration::from_millis(50);
/// Before the outage and after it.
const CALM: Duration = Duration::from_secs(10);

/// Answers by the second in which they came, and by status.
type Seconds = BTreeMap<u64, BTreeMap<u16, u64>>;

/// What one sender saw.
#[derive(Default)]
struct Seen {
    seconds: Seconds,
    /// The numbers that were answered 200 or 202.
    accepted: Vec<u64>,
    longest: Duration,
}

fn send(gateway: &Gateway, topic: &'static str, began: Instant, stop: Arc<AtomicBool>) -> JoinHandle<Seen> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let sender = Sender::new(gateway, "shop");
    tokio::spawn(async move {
        let mut seen = Seen::default();
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let first = NEXT.fetch_add(EVENTS, Ordering::Relaxed);
            let lines: String = (first..first + EVENTS).map(|n| format!("{n}\n")).collect();
            let sent = Instant::now();
            let status = sender.post(topic, &[], &lines).await.status;
            seen.longest = seen.longest.max(sent.elapsed());
            *seen.seconds.entry(began.elapsed().as_secs()).or_default().entry(status).or_default() += 1;
            if matches!(status, 200 | 202) {
                seen.accepted.extend(first..first + EVENTS);
            }
        }
        seen
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes the outage and some more: run by `make outage`"]
async fn an_outage_second_by_second() {
    let outage = Duration::from_secs(std::env::var("KLAMM_OUTAGE_SECONDS").map_or(60, |text| text.parse().unwrap()));
    let kafka = broker().await;
    let rules: Vec<_> = TOPICS.iter().map(|(topic, rule)| format!("{topic}: {{ {rule} }}")).collect();
    TOPICS.iter().for_each(|(topic, _)| kafka.create_topic(topic, 3, &[]));
    let dir = dir();
    let gateway = Gateway::start(&config(&kafka.bootstrap(), dir.path(), ("", "", "total: 1GiB,"), &rules.join(", ")));
    up(&gateway).await;

    let (began, stop) = (Instant::now(), Arc::<AtomicBool>::default());
    let load = TOPICS.map(|(topic, _)| [(); SENDERS].map(|()| send(&gateway, topic, began, Arc::clone(&stop))));
    tokio::time::sleep(CALM).await;
    let down = began.elapsed();
    kafka.kill_broker(1);
    tokio::time::sleep(outage).await;
    block_in_place(|| kafka.restart_broker(1));
    let back = Instant::now();
    let waiting = async || gateway.metrics().await.sum("klamm_spool_events", &[("state", "waiting")]);
    let most = waiting().await;
    while waiting().await > 0.0 {
        assert!(back.elapsed() < Duration::from_secs(60), "not drained within a minute");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let drained = back.elapsed();
    tokio::time::sleep(CALM).await;
    stop.store(true, Ordering::Relaxed);

    let mut drawn = Vec::new();
    for ((topic, rule), senders) in TOPICS.into_iter().zip(load) {
        let (mut seconds, mut accepted, mut longest) = (Seconds::new(), BTreeSet::new(), Duration::ZERO);
        for sender in senders {
            let seen = sender.await.expect("a sender that does not panic");
            longest = longest.max(seen.longest);
            accepted.extend(seen.accepted);
            for (second, statuses) in seen.seconds {
                let into = seconds.entry(second).or_default();
                statuses.into_iter().for_each(|(status, count)| *into.entry(status).or_default() += count);
            }
        }
        let there: Vec<u64> = kafka.consume(topic).iter().map(|r| text(r.value.as_ref()).parse().unwrap()).collect();
        let twice = there.len() - there.iter().collect::<BTreeSet<_>>().len();
        let lost = accepted.difference(&there.iter().copied().collect()).count();
        let mut totals = BTreeMap::<u16, u64>::new();
        seconds.values().flatten().for_each(|(status, count)| *totals.entry(*status).or_default() += count);
        println!(
            "{rule}: requests by status {totals:?}, longest {longest:?}; accepted {}, lost {lost}, twice {twice}",
            accepted.len()
        );
        assert_eq!(lost, 0, "{rule}");
        drawn.push((rule, seconds));
    }
    println!("{most:.0} events waited when the broker was back; drained {drained:?} later");
    let (from, to) = (down.as_secs(), (back - began).as_secs());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("outage.svg");
    std::fs::write(&path, draw(&drawn, (from, to))).expect("a picture");
    println!("{}", path.display());
}

/// Answers a second as bars, by status, one picture above the other; the outage in grey.
fn draw(topics: &[(&str, Seconds)], (from, to): (u64, u64)) -> String {
    const COLOURS: [(u16, &str); 5] =
        [(200, "#2a9d5c"), (202, "#3b7dd8"), (207, "#8e6fc1"), (503, "#e0a030"), (504, "#c0392b")];
    const BAR: u64 = 8;
    let last = topics.iter().filter_map(|(_, seconds)| seconds.keys().max()).max().copied().unwrap_or(0);
    let most =
        topics.iter().flat_map(|(_, seconds)| seconds.values().map(|of| of.values().sum::<u64>())).max().unwrap_or(1);
    let (width, height) = ((last + 1) * BAR + 60, 190 * topics.len() as u64 + 30);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (place, (rule, seconds)) in topics.iter().enumerate() {
        let floor = 170 + 190 * place as u64;
        let _ = writeln!(svg, "<text x=\"40\" y=\"{}\">{rule}: answers a second, at most {most}</text>", floor - 150);
        let (x, grey) = (40 + from * BAR, (to - from) * BAR);
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"{}\" width=\"{grey}\" height=\"140\" fill=\"#eee\"/>", floor - 140);
        for (second, statuses) in seconds {
            let mut top = floor as f64;
            for (status, count) in statuses {
                let tall = *count as f64 * 140.0 / most as f64;
                top -= tall;
                let colour = COLOURS.iter().find(|(of, _)| of == status).map_or("#555", |(_, colour)| *colour);
                let x = 40 + second * BAR;
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{top:.1}\" width=\"7\" height=\"{tall:.1}\" fill=\"{colour}\"/>"
                );
            }
        }
        for second in (0..=last).step_by(10) {
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{second} s</text>", 40 + second * BAR, floor + 13);
        }
    }
    for (place, (status, colour)) in COLOURS.iter().enumerate() {
        let (x, y) = (40 + 60 * place as u64, height - 10);
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"{}\" width=\"9\" height=\"9\" fill=\"{colour}\"/>", y - 9);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{y}\">{status}</text>", x + 13);
    }
    svg + "</svg>\n"
}
