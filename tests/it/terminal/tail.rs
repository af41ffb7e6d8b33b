//! `klamm tail`.

use std::fs::{self, File};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::Again;
use crate::live::{TOPICS, load, post, start};
use crate::support::child::{self, Process};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, binary};
use crate::support::mock::{Mock, bearer};
use crate::support::{scratch, soon};

/// A running `klamm tail` that writes into a file.
pub(super) struct Tail {
    process: Process,
    dir: TempDir,
}

impl Tail {
    pub(super) fn start(admin: &str, args: &[&str]) -> Self {
        let dir = scratch::dir("tail");
        let file = |name: &str| File::create(dir.path().join(name)).expect("a file");
        let mut command = child::command(&binary());
        command.args(["tail", "--admin", admin]).args(args).stdout(file("out")).stderr(file("notes"));
        Self { process: Process::start(command), dir }
    }

    /// Waits until it shows requests: nothing else says that the stream is there. Those are refused with 415, of `shop`
    /// to `live-a`.
    pub(super) async fn is_watching(&self, gateway: &Gateway) {
        soon("it watches", async || {
            let key = bearer("shop");
            let headers = [("authorization", key.as_str()), ("content-type", "image/png")];
            let answer = Client::new(gateway.ingest()).post("/v1/topics/live-a/events", &headers, "x").await;
            assert_eq!(answer.status, 415);
            // A few a second: more than 20 are not shown.
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.read("out").lines().any(is_sign).then_some(())
        })
        .await;
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).expect("the file")
    }

    /// Less those of [`Tail::is_watching`].
    fn text(&self) -> String {
        self.read("out").lines().filter(|line| !is_sign(line)).map(|line| format!("{line}\n")).collect()
    }

    /// As soon as there are `count` lines: those, in words.
    async fn lines(&self, count: usize) -> Vec<Vec<String>> {
        let text = soon("lines enough", async || {
            let text = self.text();
            (text.lines().count() >= count).then_some(text)
        })
        .await;
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(words).collect()
    }
}

/// Whether the line is one of [`Tail::is_watching`].
fn is_sign(line: &str) -> bool {
    line.contains(" 415 ") || line.contains("\"status\":415")
}

/// Status, code, client, topic of each.
fn told(lines: &[Vec<String>]) -> Vec<[&str; 4]> {
    lines.iter().map(|line| [&*line[1], &*line[2], &*line[3], &*line[4]]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_each_request_that_passes_the_filter() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    let url = format!("http://{}", gateway.admin());
    let all = Tail::start(&url, &[]);
    let shop = Tail::start(&url, &["--client", "shop", "--topic", "live-a"]);
    let refused = Tail::start(&url, &["--refused", "--json"]);
    for tail in [&all, &shop, &refused] {
        tail.is_watching(&gateway).await;
    }
    load(&gateway).await;
    let lines = all.lines(11).await;
    let expected = [
        ["200", "accepted", "shop", "live-a"],
        ["200", "accepted", "shop", "live-b"],
        ["200", "accepted", "till", "live-b"],
        ["413", "event_too_large", "shop", "live-a"],
        ["400", "malformed_body", "till", "live-a"],
        ["200", "accepted", "tiny", "live-a"],
        ["200", "accepted", "tiny", "live-a"],
        ["200", "accepted", "tiny", "live-b"],
        ["200", "accepted", "tiny", "live-b"],
        ["429", "rate_limited", "tiny", "live-b"],
        ["429", "rate_limited", "tiny", "live-b"],
    ];
    assert_eq!(told(&lines), expected);
    // The key's ten bytes too.
    assert_eq!(lines[0][5..9], ["1", "event", "17", "B"], "{:?}", lines[0]);
    assert_eq!(told(&shop.lines(2).await), [expected[0], expected[3]]);
    refused.lines(4).await;
    let text = refused.text();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let codes: Vec<_> = rows.iter().map(|row| row["code"].as_str().expect("a code")).collect();
    assert_eq!(codes, ["event_too_large", "malformed_body", "rate_limited", "rate_limited"]);
    assert_eq!([all.read("notes"), shop.read("notes"), refused.read("notes")], ["", "", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_when_klamm_does() {
    let again = Again::new();
    let mut gateway = again.start().await;
    let mut tail = Tail::start(&again.admin(), &[]);
    tail.is_watching(&gateway).await;
    assert_eq!(post(&gateway, "shop", "live-a", "1").await, 200);
    tail.lines(1).await;
    assert_eq!(gateway.terminate(), 0);
    soon("it says so", async || tail.read("notes").contains("trying again until it is back").then_some(())).await;
    let gateway = again.start().await;
    soon("it says so", async || tail.read("notes").contains("connected again").then_some(())).await;
    assert_eq!(post(&gateway, "shop", "live-b", "2").await, 200);
    let lines = tail.lines(2).await;
    assert_eq!(told(&lines), [["200", "accepted", "shop", "live-a"], ["200", "accepted", "shop", "live-b"]]);
    assert!(tail.process.ended().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_reading_ends_it_without_a_word() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    let script = format!("'{}' tail --admin {} | head -n 1", binary(), gateway.admin());
    let mut command = child::command("sh");
    let dir = scratch::dir("head");
    let file = |name: &str| File::create(dir.path().join(name)).expect("a file");
    command.args(["-c", &script]).stdout(file("out")).stderr(file("notes"));
    let mut pipe = Process::start(command);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("the file");
    soon("a line", async || {
        assert_eq!(post(&gateway, "shop", "live-a", "1").await, 200);
        (!read("out").is_empty()).then_some(())
    })
    .await;
    // No request comes any more: it learns of the closed pipe by itself.
    let ended = pipe.ended_within(Duration::from_secs(10)).expect("it ends");
    assert!(ended.success() && read("notes").is_empty(), "{}", read("notes"));
    assert_eq!(read("out").lines().count(), 1);
    // The shell waits for both; that of the pipe's first part is asked for by itself.
    let piped = format!("set -o pipefail; '{}' tail --admin {} | true", binary(), gateway.admin());
    let status = Command::new("timeout").args(["20", "bash", "-c", &piped]).status().expect("it runs");
    assert!(status.success(), "{status}");
}
