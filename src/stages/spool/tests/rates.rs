//! Measurements, by hand: `make spool-rates`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::files::{post, settings};
use crate::stages::spool::format::DATA;
use crate::stages::spool::index::Index;
use crate::stages::spool::segment::{Map, Name, Segment, Slot};
use crate::stages::spool::{Spool, inspect};

/// CPU time of this process so far.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    4096 * statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}

/// Appends from 64 tasks at `rate` entries a second in all, drains beside it, and prints what came of it.
async fn measure(name: &str, events: u32, size: usize, rate: u64, seconds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(settings(dir.path(), 64 << 20), &mut |_| {}).unwrap();
    let spool = Arc::new(spool);
    let stop = Arc::new(AtomicBool::new(false));
    let drained = Arc::new(AtomicU64::new(0));
    let drain = tokio::spawn({
        let (spool, drained) = (Arc::clone(&spool), Arc::clone(&drained));
        async move {
            loop {
                let wave = spool.next(1 << 20).await;
                drained.fetch_add(wave.entries.len() as u64, Ordering::Relaxed);
                wave.entries.iter().for_each(|entry| spool.done(entry.key));
            }
        }
    });
    let (began, before) = (Instant::now(), cpu());
    let tasks = 64u32;
    let pause = Duration::from_secs_f64(f64::from(tasks) / rate as f64);
    let clients: Vec<_> = (0..tasks)
        .map(|task| {
            let (spool, stop) = (Arc::clone(&spool), Arc::clone(&stop));
            tokio::spawn(async move {
                let post = post(&format!("client{}", task % 4), "topic", task.into(), events, size);
                let mut took = Vec::new();
                let mut due = Instant::now() + pause.mul_f64(f64::from(task) / f64::from(tasks));
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::sleep_until(due.into()).await;
                    spool.append(&post.entry()).expect("room").await.expect("kept");
                    took.push(due.elapsed());
                    due += pause;
                }
                took
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.unwrap());
    }
    let (time, spent) = (began.elapsed(), cpu() - before);
    drain.abort();
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let per = took.len() as f64 / time.as_secs_f64();
    println!(
        "{name}: {per:.0} entries/s, {:.0} events/s, receipt p50 {:?} p99 {:?} p99.9 {:?}, {:.1} CPU-us an entry, {} left",
        per * f64::from(events),
        at(0.5),
        at(0.99),
        at(0.999),
        spent.as_micros() as f64 / took.len() as f64,
        took.len() as u64 - drained.load(Ordering::Relaxed),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: make spool-rates"]
async fn rates() {
    measure("1 KiB, alone", 1, 1024, 200, 5).await;
    measure("1 KiB, 10,000/s", 1, 1024, 10_000, 10).await;
    measure("50 x 1 KiB, 1,000/s", 50, 1024, 1_000, 10).await;
    measure("50 x 1 KiB, 2,000/s", 50, 1024, 2_000, 10).await;
}

#[test]
#[ignore = "a measurement: make spool-rates"]
fn recovery() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), 64 << 20);
    let (spool, _) = Spool::open(settings.clone(), &mut |_| {}).unwrap();
    for id in 0..16 * 1024 {
        let post = post("client", ["a", "b", "c"][id as usize % 3], id, 1, 64 << 10);
        while spool.append(&post.entry()).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    spool.close();
    drop(spool);
    let began = Instant::now();
    let (spool, found) = Spool::open(settings, &mut |_| {}).unwrap();
    println!("1 GiB of 64 KiB entries: {:?}, {found:?}", began.elapsed());
    drop(spool);
    let began = Instant::now();
    let report = inspect::report(dir.path()).unwrap();
    println!("verify: {:?}, {} events", began.elapsed(), report.events());
}

#[test]
#[ignore = "a measurement: make spool-rates"]
fn memory_of_ten_gibibytes() {
    let settings = settings("/nonexistent".as_ref(), 64 << 20);
    let before = resident();
    let mut index = Index::new(&settings);
    let now = Instant::now();
    let streams: Vec<_> = (0..100)
        .map(|n| index.stream(&format!("client{}", n % 10).as_str().into(), &format!("t{n}").as_str().into(), now))
        .collect();
    let file = Arc::new(fs::File::open("/dev/null").unwrap());
    let (mut entries, each) = (0u64, 1128);
    for place in 0..160u64 {
        let base = 1 + place * 100_000;
        let header = crate::stages::spool::format::Header { base, salt: base, ..Default::default() };
        let mut segment = Segment::new(header, Name::Log, Arc::clone(&file) as Arc<_>, 64 << 20);
        segment.sealed = Some(now);
        index.segments.insert(base, segment);
        let mut map = Map::new();
        for ordinal in 0..((64 << 20) - DATA as u32) / each {
            let stream = streams[ordinal as usize * 7919 % 100];
            let slot = Slot { delta: ordinal, ordinal, offset: DATA as u32 + ordinal * each, len: each };
            index.recover(base, stream, slot, 1, 1_800_000_000);
            map.entry(stream).or_default().push(slot);
            entries += 1;
        }
        index.install(base, base, map);
    }
    // As if all were parked, and some done.
    for segment in index.segments.values_mut() {
        segment.done.set(59_000);
        segment.parked.set(59_000);
    }
    println!("{entries} entries of {each} bytes: {} KiB", (resident() - before) >> 10);
}
