//! The disk under the spool, seen from outside of the process: by strace.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{ASYNC, Sender, config, dir, drained, up};
use crate::support::child::{self, Process};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::kafka::Kafka;

/// Traces every thread of `gateway` until it is dropped.
struct Trace {
    process: Process,
    file: std::path::PathBuf,
}

impl Trace {
    fn of(gateway: &Gateway, dir: &Path, options: &[&str]) -> Self {
        let file = dir.join("trace");
        let mut command = child::command("strace");
        command.args(["-f", "-q", "-s", "64", "-o"]).arg(&file).args(options);
        command.args(["-p", &gateway.pid().to_string()]);
        let process = Process::start(command);
        let status = format!("/proc/{}/status", gateway.pid());
        eventually("strace is attached", Duration::from_secs(10), || {
            let status = fs::read_to_string(&status).ok()?;
            (!status.contains("TracerPid:\t0\n")).then_some(())
        });
        // To every thread, one after the other.
        let tasks = format!("/proc/{}/task", gateway.pid());
        eventually("to every thread", Duration::from_secs(10), || {
            let traced = |task: fs::DirEntry| {
                let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
                !status.contains("TracerPid:\t0\n")
            };
            fs::read_dir(&tasks).ok()?.flatten().all(traced).then_some(())
        });
        Self { process, file }
    }

    /// Detaches; what was seen.
    fn end(mut self) -> String {
        let pid = self.process.pid().to_string();
        Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        self.process.ended_within(Duration::from_secs(10)).expect("strace ends");
        fs::read_to_string(&self.file).expect("a trace")
    }
}

/// strace exists and may be used here.
fn can_trace() -> bool {
    Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_202_is_written_before_the_fdatasync_that_covers_its_record_has_returned() {
    assert!(can_trace(), "this test needs strace");
    let kafka = Kafka::shared();
    kafka.create_topic("spool-trace", 1, &[]);
    let dir = dir();
    let text = config(&kafka.bootstrap(), &dir.path().join("spool"), ("", "", ""), "spool-trace: {}");
    let gateway = Gateway::start(&text);
    up(&gateway).await;
    let trace = Trace::of(
        &gateway,
        dir.path(),
        &["-y", "-e", "trace=pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,fdatasync"],
    );
    let senders = (0..4).map(|s| {
        let sender = Sender::new(&gateway, "shop");
        tokio::spawn(async move {
            for n in 0..25 {
                let answer = sender.post("spool-trace", ASYNC, &format!("\"mark-{s}-{n}-\"\n")).await;
                assert_eq!(answer.status, 202);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let seen = trace.end();
    // The syncs that have returned without fault, and the 202s, as the trace has them in order.
    let (mut written, mut synced, mut answered) = (0, 0, 0);
    let mut begun: BTreeMap<&str, u32> = BTreeMap::new();
    for line in seen.lines() {
        let (thread, call) = line.split_once(' ').expect("a thread and a call");
        let call = call.trim_start();
        if call.starts_with("pwrite") && call.contains("/spool/") {
            written += 1;
        } else if call.starts_with("fdatasync(") && call.contains("/spool/") {
            if call.contains("<unfinished") {
                begun.insert(thread, written);
            } else {
                assert!(call.ends_with("= 0"), "{call}");
                synced = written;
            }
        } else if call.starts_with("<... fdatasync resumed") {
            if let Some(covered) = begun.remove(thread) {
                synced = covered;
            }
        } else if call.contains("HTTP/1.1 202") {
            answered += 1;
            assert!(synced > 0, "a 202 before any sync:\n{line}");
        }
    }
    assert_eq!(answered, 100, "every 202 is in the trace");
    assert!(written > 0 && synced > 0, "{written} {synced}");
    check_each(&seen);
}

/// For each connection: between the read of a request and its 202 lies a whole write and sync of the spool. Requests are
/// not read in this trace, so: the first 202 after N 202s needs a sync that returned after the Nth, on a connection
/// that has one request at a time; with 4 connections, any 5 of 202s in a row span a returned sync.
fn check_each(seen: &str) {
    let mut since = 0;
    for line in seen.lines() {
        if line.contains("fdatasync") && line.ends_with("= 0") {
            since = 0;
        } else if line.contains("HTTP/1.1 202") {
            since += 1;
            assert!(since <= 4, "five answers on four connections without a sync between:\n{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_503_never_202_and_the_spool_recovers_unaided() {
    assert!(can_trace(), "this test needs strace");
    let kafka = Kafka::shared();
    kafka.create_topic("spool-eio", 1, &[]);
    let dir = dir();
    let text = config(&kafka.bootstrap(), &dir.path().join("spool"), ("", "", ""), "spool-eio: {}");
    let gateway = Gateway::start(&text);
    up(&gateway).await;
    let sender = Sender::new(&gateway, "shop");
    assert_eq!(sender.post("spool-eio", ASYNC, "0\n").await.status, 202);
    drained(&gateway).await;

    let trace = Trace::of(&gateway, dir.path(), &["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"]);
    for n in 1..=3 {
        let answer = sender.post("spool-eio", ASYNC, &format!("{n}\n")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (503, &"spool_failed".into()), "{}", answer.json());
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(sender.post("spool-eio", &[], "4\n").await.status, 200, "Kafka is there for those who wait");
    let seen = trace.end();
    assert!(seen.contains("EIO"), "{seen}");

    crate::support::soon("the spool takes events again", async || {
        (sender.post("spool-eio", ASYNC, "5\n").await.status == 202).then_some(())
    })
    .await;
    drained(&gateway).await;
    let values: Vec<_> =
        kafka.consume("spool-eio").iter().map(|record| super::text(record.value.as_ref()).to_owned()).collect();
    assert_eq!(values, ["0", "4", "5"], "what was refused is not there");
}
