//! Files of which both copies of the header are damaged.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::files::{append, drain, fixture, post, settings, store};
use crate::stages::spool::format::{COPY, DATA, HEADER};
use crate::stages::spool::inspect;

/// Damages both copies of the header of a file.
fn behead(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    for copy in [0, COPY as usize] {
        bytes[copy + 20] ^= 4;
        assert!(copy + HEADER < bytes.len());
    }
    fs::write(path, &bytes).unwrap();
}

fn logs(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut logs: Vec<_> = names.filter(|name| name.ends_with(".seg")).collect();
    logs.sort();
    logs
}

#[test]
fn a_file_without_a_header_is_read_by_its_name_and_repaired() {
    let (dir, name, _) = fixture();
    behead(&dir.path().join(&name));
    // Nothing but the file itself says what is in it.
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let bytes = fs::read(dir.path().join(&name)).unwrap();
    let report = inspect::report(dir.path()).unwrap();
    assert!(report.is_damaged() && report.events() == 12 && report.files.len() == 1, "{report:?}");
    let damage = report.files[0].damage[0];
    assert_eq!((damage.offset, damage.events, report.files[0].damage.len()), (0, 0, 1));
    let mut entries = 0;
    inspect::entries(dir.path(), |_| {
        entries += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(entries, 6);
    inspect::repair(settings(dir.path(), DATA + 4096)).unwrap();
    let after = inspect::report(dir.path()).unwrap();
    assert!(!after.is_damaged() && after.events() == 12 && after.aside.len() == 1, "{after:?}");
    assert_eq!(fs::read(dir.path().join(&after.aside[0])).unwrap(), bytes, "set aside as it was");
    let (store, found) = store(dir.path(), DATA + 4096);
    assert_eq!((drain(&store).len(), found.lost, found.quarantined), (12, 0, 0));
}

#[test]
fn a_file_without_a_header_goes_on_in_its_order_and_is_then_set_aside() {
    let (dir, name, places) = fixture();
    behead(&dir.path().join(&name));
    let mut bytes = fs::read(dir.path().join(&name)).unwrap();
    bytes[places[1].0 as usize + 40] ^= 1;
    fs::write(dir.path().join(&name), &bytes).unwrap();
    let (store, found) = store(dir.path(), DATA + 4096);
    assert_eq!((found.events, found.lost, found.quarantined), (10, places[1].2.into(), 1));
    let came = drain(&store);
    assert_eq!(came.len(), 10);
    store.tidy(Instant::now()).unwrap();
    let report = inspect::report(dir.path()).unwrap();
    assert!(!report.is_damaged() && report.aside.len() == 1 && report.events() == 0, "{report:?}");
}

/// Where the file before ends stood in the lost header and in no checkpoint: whatever is unreadable there counts.
#[test]
fn what_only_a_lost_header_knew_of_the_file_before_is_counted_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = store(dir.path(), DATA + 1024);
    while first.commit(Instant::now()) {}
    let mut sent = 0;
    while logs(dir.path()).len() < 2 {
        append(&first, &post("a", "t", sent, 2, 100)).unwrap();
        sent += 1;
    }
    drop(first);
    let names = logs(dir.path());
    let path = dir.path().join(&names[0]);
    let whole = fs::read(&path).unwrap();
    let clean = || {
        let copy = tempfile::tempdir().unwrap();
        for name in &names {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        copy
    };
    let all = 2 * sent as usize;
    // By itself a lost header loses nothing, and nothing is said to be lost.
    behead(&dir.path().join(&names[1]));
    let copy = clean();
    let (second, found) = store(copy.path(), DATA + 1024);
    assert_eq!((drain(&second).len(), found.lost, found.quarantined), (all, 0, 1));
    // The last record of the file before is damaged, too.
    let mut bytes = whole.clone();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let copy = clean();
    let report = inspect::report(copy.path()).unwrap();
    let counted: u64 = report.files.iter().flat_map(|file| &file.damage).map(|damage| damage.events).sum();
    let (third, found) = store(copy.path(), DATA + 1024);
    assert_eq!((found.events as usize, found.quarantined), (all - 2, 2));
    assert!(found.lost >= 2 && found.lost == counted, "{} counted, {counted} shown", found.lost);
    // Another start says the same.
    third.checkpoint(Instant::now()).unwrap();
    drop(third);
    let (fourth, again) = store(copy.path(), DATA + 1024);
    assert_eq!((again.lost, again.quarantined, drain(&fourth).len()), (found.lost, 2, all - 2));
}
