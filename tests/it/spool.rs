//! `klamm spool` on a directory, as a shell sees it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use klamm::config;
use klamm::event::{Batch, ClientId, Event, Piece, RequestId, TopicName};
use klamm::stages::spool::{Entry, Settings, Spool};
use serde_json::Value;
use uuid::Uuid;

use crate::support::scratch;

fn open(dir: &Path) -> Spool {
    let settings = Settings::of(&config::Spool { dir: dir.to_owned(), ..config::Spool::default() });
    Spool::open(settings, &mut |_| {}).expect("a spool").0
}

/// Keeps an entry of two events, received an hour after the epoch for each `hour`.
async fn keep(spool: &Spool, client: &str, topic: &str, hour: u64) {
    let (client, topic) = (ClientId::from(client), TopicName::from(topic));
    let mut batch = Batch::over(Bytes::from_static(b"key{\"n\":1}\xff"));
    let mut first = Event::new(0, 3, Some(Piece::of_body(3..10)));
    first.key = Some(Piece::of_body(0..3));
    let second = Event::new(1, 10, Some(Piece::of_body(10..11)));
    batch.events = vec![first, second];
    let entry = Entry {
        client: &client,
        topic: &topic,
        request: RequestId::from(Uuid::from_u128(hour.into())),
        ids: Uuid::from_u128(hour.into()),
        received: SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * hour),
        batch: &batch,
        places: None,
    };
    spool.append(&entry).expect("room").await.expect("kept");
}

fn run(dir: &Path, line: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command.arg("spool").args(line).arg("--dir").arg(dir).env_clear().output().expect("klamm runs")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn lines(output: &Output) -> Vec<Value> {
    out(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn a_spool_is_shown_beside_a_running_klamm_and_repaired_without_one() {
    let scratch = scratch::dir("spool");
    let dir = scratch.path();
    let spool = open(dir);
    keep(&spool, "shop", "orders", 1).await;
    keep(&spool, "shop", "clicks", 2).await;
    keep(&spool, "till", "orders", 3).await;
    // The checkpoint says up to where it is on disk.
    tokio::time::sleep(Duration::from_millis(1500)).await;

    let ls = run(dir, &["ls"]);
    assert!(out(&ls).contains("shop    orders  2 ") && out(&ls).contains("6 events, 1 files"), "{}", out(&ls));
    let json: Value = serde_json::from_str(&out(&run(dir, &["ls", "--json"]))).expect("JSON");
    assert_eq!((&json["running"], &json["streams"][1]["events"]), (&true.into(), &2.into()));
    let verify = run(dir, &["verify"]);
    assert_eq!((verify.status.code(), out(&verify).as_str()), (Some(0), "clean: 6 events in 1 files\n"));

    let all = lines(&run(dir, &["dump"]));
    assert_eq!(all.len(), 6);
    let first = &all[0];
    assert_eq!(
        (&first["client"], &first["key"], &first["value"]),
        (&"shop".into(), &"a2V5".into(), &"eyJuIjoxfQ==".into())
    );
    assert_eq!(first["received"], "1970-01-01T01:00:00Z");
    assert_eq!(all[1]["event_id"], format!("{}-1", Uuid::from_u128(1)));
    let count = |line: &[&str]| lines(&run(dir, &[&["dump"], line].concat())).len();
    assert_eq!((count(&["--client", "shop"]), count(&["--topic", "orders"])), (4, 4));
    assert_eq!((count(&["--since", "1970-01-01T02:00:00Z"]), count(&["--until", "1970-01-01T02:00:00Z"])), (4, 2));

    for line in [&["repair"][..], &["repair", "--yes"]] {
        let refused = run(dir, line);
        assert_eq!(refused.status.code(), Some(1), "{line:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("running klamm"), "{refused:?}");
    }
    drop(spool);

    let log = fs::read_dir(dir).expect("it").map(|file| file.expect("it").path());
    let log = log.into_iter().find(|path| path.extension().is_some_and(|suffix| suffix == "seg")).expect("a log file");
    let mut bytes = fs::read(&log).expect("it");
    bytes[8192 + 40] ^= 1;
    fs::write(&log, bytes).expect("it");
    let verify = run(dir, &["verify"]);
    assert_eq!(verify.status.code(), Some(1));
    assert!(out(&verify).contains(": offset 8192: 2 events lost in 1 entries"), "{}", out(&verify));
    let would = run(dir, &["repair"]);
    assert!(out(&would).contains("would set 1 files aside") && log.exists(), "{}", out(&would));
    let repaired = run(dir, &["repair", "--yes"]);
    assert!(out(&repaired).contains("1 files set aside (*.bad), 4 events of them saved"), "{repaired:?}");
    assert_eq!((run(dir, &["verify"]).status.code(), lines(&run(dir, &["dump"])).len()), (Some(0), 4));
}

#[test]
fn without_a_spool_the_commands_say_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_klamm"))
        .args(["spool", "ls", "--set", "kafka.default.bootstrap=[k:1]"])
        .env_clear()
        .output()
        .expect("klamm runs");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no spool is configured"), "{output:?}");
}
