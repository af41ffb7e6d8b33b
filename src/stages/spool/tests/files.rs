//! On a real file system: damage at every byte, a full disk, the threads, the lock.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use crate::event::{Batch, ClientId, Event, Piece, RequestId, TopicName};
use crate::stages::spool::disk::Directory;
use crate::stages::spool::format::DATA;
use crate::stages::spool::index::Health;
use crate::stages::spool::recover::recover;
use crate::stages::spool::store::Store;
use crate::stages::spool::{Entry, Full, Receipt, Recovered, Refusal, Settings, Spool, inspect};
use crate::units::Percent;

const MIB: u64 = 1 << 20;

pub(super) fn settings(dir: &Path, segment: u64) -> Settings {
    Settings {
        dir: dir.to_owned(),
        total: 32 * segment,
        client_share: Percent::new(100),
        topic_share: Percent::new(50),
        max_age: Duration::from_secs(3600),
        segment,
        delay: Duration::from_millis(2),
        batch: MIB as usize,
        synced: Arc::new(|_| {}),
    }
}

/// A request of `events` events of `size` bytes, of which each says which it is.
pub(super) fn batch(id: u128, events: u32, size: usize) -> Batch {
    let mut body = Vec::new();
    let mut rows = Vec::new();
    for index in 0..events {
        let start = body.len();
        body.extend(format!("{id}/{index}/").bytes().chain(std::iter::repeat_n(b'x', size)));
        rows.push(Event::new(index, start, Some(Piece::of_body(start..body.len()))));
    }
    let mut batch = Batch::over(Bytes::from(body));
    batch.events = rows;
    batch
}

pub(super) struct Post {
    pub client: ClientId,
    pub topic: TopicName,
    pub batch: Batch,
    pub id: u128,
}

pub(super) fn post(client: &str, topic: &str, id: u128, events: u32, size: usize) -> Post {
    Post { client: client.into(), topic: topic.into(), batch: batch(id, events, size), id }
}

impl Post {
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            client: &self.client,
            topic: &self.topic,
            request: RequestId::from(Uuid::from_u128(self.id)),
            ids: Uuid::from_u128(self.id),
            received: SystemTime::now(),
            batch: &self.batch,
            places: None,
        }
    }
}

pub(super) fn store(dir: &Path, segment: u64) -> (Store, Recovered) {
    let disk = Arc::new(Directory::make(dir).unwrap());
    let now = Instant::now();
    let random = crate::stages::spool::salts();
    recover(disk, settings(dir, segment), random, now, &mut |_| {}).unwrap()
}

/// Appends and commits one by one.
pub(super) fn append(store: &Store, post: &Post) -> Result<(), Refusal> {
    let mut receipt = store.append(&post.entry(), Instant::now())?;
    while store.commit(Instant::now()) {}
    receipt.0.try_recv().expect("committed").map(drop)
}

/// Drains everything; the values, by stream.
pub(super) fn drain(store: &Store) -> Vec<String> {
    let mut values = Vec::new();
    let now = Instant::now();
    loop {
        let picked = store.index().pick(now);
        let Ok((stream, lane)) = picked else { return values };
        let Some(wave) = store.fill(stream, lane, 1 << 20, now) else { continue };
        for entry in wave.entries {
            for event in &entry.batch.events {
                let value = entry.batch.bytes(event.value.unwrap());
                values.push(format!("{}:{}", wave.client, String::from_utf8_lossy(value).trim_end_matches('x')));
            }
            store.index().done(entry.key.seq, now);
        }
    }
}

/// A file with six entries of one to three events, and where each begins and ends.
pub(super) fn fixture() -> (TempDir, String, Vec<(u64, u64, u32)>) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store(dir.path(), DATA + 4096);
    while store.commit(Instant::now()) {}
    let mut places = Vec::new();
    let end = || fs::read(dir.path().join(log_file(dir.path()))).unwrap();
    let mut from = DATA;
    for id in 0..6 {
        let events = 1 + id as u32 % 3;
        append(&store, &post(["a", "b"][id as usize % 2], "t", id, events, 20)).unwrap();
        let used = end().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        places.push((from, used, events));
        from = used.next_multiple_of(8);
    }
    store.checkpoint(Instant::now()).unwrap();
    let name = log_file(dir.path());
    (dir, name, places)
}

fn log_file(dir: &Path) -> String {
    let mut names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.ends_with(".seg")).expect("a file of the log")
}

/// What comes out of a copy of `dir` in which the log file holds `bytes`, and what is said to be lost.
fn recovered_with(dir: &Path, name: &str, bytes: &[u8]) -> (Vec<String>, u64) {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.join("checkpoint"), copy.path().join("checkpoint")).unwrap();
    fs::write(copy.path().join(name), bytes).unwrap();
    let (store, found) = store(copy.path(), DATA + 4096);
    (drain(&store), found.lost)
}

#[test]
fn a_flipped_bit_anywhere_loses_one_entry_and_counts_it() {
    let (dir, name, places) = fixture();
    let whole = fs::read(dir.path().join(&name)).unwrap();
    let (all, lost) = recovered_with(dir.path(), &name, &whole);
    assert_eq!((all.len(), lost), (12, 0));
    let end = places.last().unwrap().1;
    let (mut hits, mut misses) = (0, 0);
    for at in (0..80).chain(4096..4176).chain(DATA..end) {
        let mut bytes = whole.clone();
        bytes[at as usize] ^= 1 << (at % 8);
        let (came, lost) = recovered_with(dir.path(), &name, &bytes);
        let hit = places.iter().find(|(from, to, _)| (*from..*to).contains(&at));
        let gone = hit.map_or(0, |(_, _, events)| *events);
        assert_eq!((came.len() as u32, lost), (12 - gone, gone.into()), "byte {at}");
        assert!(came.iter().all(|value| all.contains(value)), "byte {at}");
        if hit.is_some() { hits += 1 } else { misses += 1 }
    }
    assert!(hits > 400 && misses > 160, "{hits} {misses}");
}

#[test]
fn a_file_cut_anywhere_gives_what_is_before_the_cut() {
    let (dir, name, places) = fixture();
    let whole = fs::read(dir.path().join(&name)).unwrap();
    for len in (0..DATA).step_by(512).chain(DATA..=places.last().unwrap().1) {
        let (came, lost) = recovered_with(dir.path(), &name, &whole[..len as usize]);
        // Without a header nothing can be read, and where there is nothing else either it is a file that never was.
        let kept: u32 = places.iter().filter(|(_, to, _)| *to <= len).map(|(_, _, events)| events).sum();
        assert_eq!(came.len() as u32, kept, "cut at {len}");
        let blank = len < 80;
        assert_eq!(lost, if blank { 0 } else { u64::from(12 - kept) }, "cut at {len}");
    }
}

#[tokio::test]
async fn entries_come_out_again_until_they_are_done_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/spool");
    let (spool, found) = Spool::open(settings(&path, MIB), &mut |_| {}).unwrap();
    assert_eq!(found, Recovered::default());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join(log_file(&path)))), (0o700, 0o600));
    let error = Spool::open(settings(&path, MIB), &mut |_| {}).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");

    let first = post("a", "t", 1, 3, 10);
    let key = spool.append(&first.entry()).unwrap().await.unwrap();
    assert!(spool.holds(&first.client, &first.topic) && !spool.holds(&"b".into(), &first.topic));
    let wave = spool.next(1 << 20).await;
    assert_eq!((wave.client.as_str(), wave.topic.as_str(), wave.parked), ("a", "t", false));
    assert_eq!((wave.entries.len(), wave.entries[0].key.seq, wave.entries[0].again), (1, key.seq, false));
    // Of its three events one is left; nobody else gets the stream meanwhile.
    spool.append(&post("a", "t", 2, 1, 10).entry()).unwrap().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), spool.next(1)).await.is_err());
    spool.keep(wave.entries[0].key, &[1]);
    let wave = spool.next(1 << 20).await;
    let indexes: Vec<_> = wave.entries.iter().map(|entry| (entry.batch.events[0].index, entry.again)).collect();
    assert_eq!(indexes, [(1, true), (0, false)]);
    spool.done(wave.entries[0].key);
    spool.keep(wave.entries[1].key, &[0]);
    assert_eq!(spool.state().events, 1);
    let report = inspect::report(&path).unwrap();
    assert!(report.running && !report.is_damaged(), "{report:?}");
    spool.close();
    assert!(matches!(spool.append(&first.entry()), Err(Refusal::Broken)));

    let mut seen = Vec::new();
    let (spool, found) =
        Spool::open(settings(&path, MIB), &mut |waiting| seen.push((waiting.request, waiting.events))).unwrap();
    assert_eq!((found.entries, found.events, found.lost), (1, 1, 0));
    assert_eq!(seen, [(RequestId::from(Uuid::from_u128(2)), 1)]);
    // Whoever gives up waiting for a wave leaves it to others.
    for _ in 0..20 {
        if let Ok(wave) = tokio::time::timeout(Duration::from_micros(50), spool.next(1)).await {
            spool.keep(wave.entries[0].key, &[0]);
            spool.retry();
        }
    }
    let wave = spool.next(1).await;
    assert!(wave.entries[0].again);
    spool.park(wave.entries[0].key, &[0]);
    assert!(!spool.holds(&"a".into(), &"t".into()));
    assert_eq!(spool.state().parked, 1);
    assert!(tokio::time::timeout(Duration::from_millis(50), spool.next(1)).await.is_err());
    spool.retry();
    let wave = spool.next(1).await;
    assert!(wave.parked);
    spool.done(wave.entries[0].key);
    assert_eq!((spool.state().entries, spool.state().bytes), (0, 0));
}

#[tokio::test]
async fn what_is_withdrawn_does_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(settings(dir.path(), MIB), &mut |_| {}).unwrap();
    let one = spool.append(&post("a", "t", 1, 2, 10).entry()).unwrap().await.unwrap();
    spool.append(&post("a", "t", 2, 1, 10).entry()).unwrap().await.unwrap();
    spool.withdraw(one);
    let wave = spool.next(1 << 20).await;
    assert_eq!((wave.entries.len(), spool.state().events), (1, 1));
    spool.done(wave.entries[0].key);
    assert!(!spool.holds(&"a".into(), &"t".into()));
}

/// A file system of `kib`; `None` where this process may not mount one.
struct Mount(TempDir);

impl Mount {
    fn new(kib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={kib}k");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output().ok()?;
        done.status.success().then(|| Self(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_shows_before_anything_is_acknowledged_and_heals() {
    let Some(mount) = Mount::new(256) else {
        return println!("this process may not mount a file system: the model alone covers a full disk here");
    };
    let spool = mount.0.path().join("spool");
    let (first, _) = store(&spool, 64 << 10);
    while first.commit(Instant::now()) {}
    let mut kept = Vec::new();
    let refused = (0..200u128).find_map(|id| match append(&first, &post("a", "t", id, 1, 4000)) {
        Ok(()) => {
            kept.push(id);
            None
        }
        Err(refusal) => Some(refusal),
    });
    assert_eq!(refused, Some(Refusal::Full(Full::Total)));
    assert!(kept.len() > 20 && first.index().health == Health::Full, "{}", kept.len());
    // What was acknowledged is there, in another life too; and when it is drained, more is taken.
    drop(first);
    let (second, found) = store(&spool, 64 << 10);
    assert_eq!(found.entries as usize, kept.len());
    assert_eq!(drain(&second).len(), kept.len());
    second.tidy(Instant::now()).unwrap();
    assert!(second.commit(Instant::now()));
    append(&second, &post("a", "t", 999, 1, 4000)).unwrap();
}

/// A topic that takes nothing gets ten times the traffic of the others. They are drained as they come, find room always,
/// and what the files take stays near what waits.
/// The names of the files that are made ahead.
fn ahead(dir: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "tmp")).collect()
}

#[test]
fn once_a_file_was_full_the_next_one_is_made_ahead_and_used_and_never_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store(dir.path(), MIB);
    store.commit(Instant::now());
    let bytes = |store: &Store| store.index().state(SystemTime::now()).disk;
    let fill = |from: u128, to: u128| {
        for id in from..to {
            append(&store, &post("a", "x", id, 1, 300_000)).unwrap();
        }
    };
    fill(0, 3);
    store.tidy(Instant::now()).unwrap();
    assert!(ahead(dir.path()).is_empty(), "no file was full yet");
    fill(3, 4);
    store.tidy(Instant::now()).unwrap();
    let made = ahead(dir.path());
    let [file] = &made[..] else { panic!("{made:?}") };
    assert_eq!(fs::metadata(file).unwrap().len(), MIB);
    let sizes: u64 = store.index().segments.values().map(|segment| segment.size).sum();
    assert_eq!(bytes(&store), sizes + MIB, "it takes room, and says so");
    fill(4, 7);
    assert!(ahead(dir.path()).is_empty(), "it was used");
    assert_eq!(store.index().segments.len(), 3);
    store.tidy(Instant::now()).unwrap();
    assert_eq!(ahead(dir.path()).len(), 1);
    // One entry that is larger than a file.
    append(&store, &post("a", "x", 7, 1, 2 * MIB as usize)).unwrap();
    assert!(ahead(dir.path()).is_empty(), "of the wrong size, it was removed");
    store.tidy(Instant::now()).unwrap();
    assert_eq!(ahead(dir.path()).len(), 1);
    drop(store);
    // The process was killed.
    let (store, found) = self::store(dir.path(), MIB);
    assert_eq!((found.entries, found.lost, ahead(dir.path()).len()), (8, 0, 0));
    store.commit(Instant::now());
    for id in 8..12 {
        append(&store, &post("a", "x", id, 1, 300_000)).unwrap();
    }
    store.tidy(Instant::now()).unwrap();
    assert_eq!(ahead(dir.path()).len(), 1);
    store.retire(Instant::now());
    store.tidy(Instant::now()).unwrap();
    assert!(ahead(dir.path()).is_empty(), "a clean stop leaves none");
    assert_eq!(drain(&store).len(), 12);
}

#[test]
fn a_file_that_is_given_back_while_it_is_read_for_its_map_takes_nothing_of_its_copy_along() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = store(dir.path(), MIB);
    store.commit(Instant::now());
    for id in 0..3 {
        append(&store, &post("a", "x", id, 1, 300_000)).unwrap();
    }
    store.retire(Instant::now());
    let old = {
        let index = store.index();
        let (base, segment) = index.segments.first_key_value().unwrap();
        (*base, Arc::clone(&segment.file), segment.header, segment.synced)
    };
    let (base, file, header, synced) = old;
    store.copy(&[base], Instant::now()).unwrap();
    file.set_len(0).unwrap();
    // The copy's map is there, so that something could be missing from it.
    let copy = {
        let index = store.index();
        let segment = &index.segments[&base];
        assert_ne!(segment.header.salt, header.salt, "it was copied");
        (Arc::clone(&segment.file), segment.header, segment.synced)
    };
    store.load(base, &*copy.0, &copy.1, copy.2);
    store.load(base, &*file, &header, synced);
    assert_eq!(store.index().lost, 0);
    assert_eq!(drain(&store).len(), 3);
}

#[test]
fn a_dead_topic_costs_the_others_neither_room_nor_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let segment = 64 << 10;
    let (store, _) = store(dir.path(), segment);
    let mut now = Instant::now();
    while store.commit(now) {}
    let mut refused = 0;
    let (mut dead_in, mut live_out) = (0u64, 0u64);
    for round in 0..600u128 {
        let mut receipts: Vec<Receipt> = Vec::new();
        for n in 0..10 {
            match store.append(&post("a", "dead", 1000 * round + n, 1, 1000).entry(), now) {
                Ok(receipt) => receipts.push(receipt),
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Full(Full::Topic), "round {round}");
                    refused += 1;
                }
            }
        }
        dead_in += receipts.len() as u64;
        let live = store.append(&post("b", "live", round, 1, 1000).entry(), now);
        receipts.push(live.unwrap_or_else(|refusal| panic!("round {round}: {refusal:?}")));
        while store.commit(now) {}
        for mut receipt in receipts {
            receipt.0.try_recv().expect("committed").expect("kept");
        }
        // Whatever is ready now is served; the live topic must be.
        let before = live_out;
        loop {
            let picked = store.index().pick(now);
            let Ok((stream, lane)) = picked else { break };
            let Some(wave) = store.fill(stream, lane, 16 << 10, now) else { continue };
            for entry in wave.entries {
                if wave.topic.as_str() == "live" {
                    live_out += 1;
                    store.index().done(entry.key.seq, now);
                } else {
                    store.index().keep(entry.key.seq, &[0], now);
                }
            }
        }
        assert_eq!(live_out, before + 1, "round {round}");
        now += Duration::from_secs(1);
        store.tidy(now).unwrap();
    }
    let index = store.index();
    let (disk, waits) = (index.disk, index.sums.bytes);
    assert!(refused > 3000 && waits < 16 * segment, "{refused} refused, {waits} wait");
    assert!(disk < waits + waits / 4 + 4 * segment, "{disk} on disk for {waits}");
    assert_eq!(index.sums.events, dead_in);
    assert!(index.state(SystemTime::now()).parked == dead_in, "a stream that stands still counts as parked");
    drop(index);
    // And it all comes, in order, when the topic lives again.
    store.index().retry();
    let values = drain(&store);
    let numbers: Vec<u128> =
        values.iter().map(|value| value.split([':', '/']).nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.len() as u64 == dead_in && numbers.is_sorted(), "{} of {dead_in}", numbers.len());
}

#[test]
fn a_repair_saves_what_can_be_read_and_deletes_nothing() {
    let (dir, name, places) = fixture();
    let mut bytes = fs::read(dir.path().join(&name)).unwrap();
    bytes[places[1].0 as usize + 40] ^= 1;
    fs::write(dir.path().join(&name), &bytes).unwrap();
    let report = inspect::report(dir.path()).unwrap();
    assert!(report.is_damaged() && report.events() == 10 && report.files.len() == 1, "{report:?}");
    let damage = report.files[0].damage[0];
    assert_eq!((damage.offset, damage.entries, damage.events), (places[1].0, 1, 2));
    inspect::repair(settings(dir.path(), DATA + 4096)).unwrap();
    let after = inspect::report(dir.path()).unwrap();
    assert!(!after.is_damaged() && after.events() == 10 && after.aside.len() == 1, "{after:?}");
    assert_eq!(fs::read(dir.path().join(&after.aside[0])).unwrap(), bytes);
    let mut ids = Vec::new();
    inspect::entries(dir.path(), |entry| {
        ids.push(entry.ids.as_u128());
        Ok(())
    })
    .unwrap();
    ids.sort_unstable();
    assert_eq!(ids, [0, 2, 3, 4, 5]);
    let (store, found) = store(dir.path(), DATA + 4096);
    assert_eq!((drain(&store).len(), found.lost, found.quarantined), (10, 0, 0));
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (dir, name, _) = fixture();
    let path = dir.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    for copy in [0, 4096] {
        bytes[copy + 8] = 9;
        let crc = crc32c::crc32c(&bytes[copy..copy + 76]);
        bytes[copy + 76..copy + 80].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&path, &bytes).unwrap();
    let error = Spool::open(settings(dir.path(), MIB), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("newer klamm"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}
