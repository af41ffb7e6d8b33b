use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use time::macros::datetime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-01 12:00 UTC);
const KAFKA: &str = "kafka: { default: { bootstrap: [k:9092], properties: { sasl.password_file: pw } } }\n";

struct Home(TempDir);

impl Home {
    fn new(text: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("pw", "one");
        home.write("klamm.yaml", text);
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn open(&self) -> Live {
        let source = Source { file: Some(self.path().join("klamm.yaml")), ..Source::default() };
        Live::open(source).unwrap().0
    }
}

fn yaml(rest: &str) -> String {
    format!("{KAFKA}{rest}")
}

#[test]
fn a_reload_puts_what_is_live_into_force_and_tells_subscribers() {
    let home = Home::new(&yaml(""));
    let live = home.open();
    let mut news = live.subscribe();
    assert!(!news.has_changed().unwrap());
    home.write("klamm.yaml", &yaml("ingest: { wait: 5s }\ntopics: { orders: {} }\n"));
    let change = live.reload(NOW).unwrap();
    assert_eq!(change.changed, ["ingest.wait", "topics.orders"]);
    assert_eq!(change.needs_restart, [""; 0]);
    assert_eq!(live.current().ingest.wait.to_string(), "5s");
    assert!(news.has_changed().unwrap() && news.borrow_and_update().topics.contains_key("orders"));
    let status = live.status();
    assert_eq!((status.generation, status.last_reload_ok, status.last_reload_at), (2, true, Some(NOW)));
    assert_eq!((status.changed_at, status.changed), (Some(NOW), change.changed));
    let later = NOW + Duration::from_secs(60);
    assert_eq!(live.reload(later).unwrap(), Change::default());
    assert_eq!((live.status().changed_at, live.status().last_reload_at), (Some(NOW), Some(later)));
    assert_eq!((live.status().generation, news.has_changed().unwrap()), (2, false));
}

#[test]
fn a_broken_file_keeps_the_old_configuration_and_shows() {
    let home = Home::new(&yaml("ingest: { wait: 5s }\n"));
    let live = home.open();
    home.write("klamm.yaml", &yaml("ingest: { wait: soon }\n"));
    assert!(live.reload(NOW).is_err());
    assert_eq!(live.current().ingest.wait.to_string(), "5s");
    let status = live.status();
    assert_eq!((status.generation, status.last_reload_ok, status.faults.0.len()), (1, false, 1));
    let shown = serde_json::to_value(&status).unwrap();
    assert_eq!(shown["last_reload_at"], "2026-11-01T12:00:00Z");
    assert_eq!(shown["faults"][0]["path"], "ingest.wait");
    assert!(shown["faults"][0]["origin"].as_str().unwrap().ends_with("klamm.yaml:2:17"), "{shown}");
    home.write("klamm.yaml", &yaml("ingest: { wait: 5s }\n"));
    live.reload(NOW).unwrap();
    assert!(live.status().last_reload_ok && live.status().faults.0.is_empty());
}

#[test]
fn what_needs_a_restart_is_named_and_keeps_its_value() {
    let home = Home::new(&yaml(""));
    let live = home.open();
    home.write("pw", "two");
    let budget =
        "budget: { total: 1GiB }\ningest: { listen: 127.0.0.1:9, wait: 5s }\nlog: { format: json, level: warn }\n";
    home.write("klamm.yaml", &yaml(budget));
    let change = live.reload(NOW).unwrap();
    assert_eq!(change.changed, ["ingest.wait", "log.level"]);
    let waiting = ["budget.total", "ingest.listen", "kafka.default.properties.sasl.password", "log.format"];
    assert_eq!(change.needs_restart, waiting);
    assert_eq!(live.status().needs_restart, waiting);
    let current = live.current();
    assert_eq!(current.budget.total.to_string(), "256MiB");
    assert_eq!(current.kafka["default"].properties["sasl.password"], "one");
    assert_eq!(live.reload(NOW).unwrap(), Change { changed: Vec::new(), needs_restart: change.needs_restart });
    home.write("pw", "one");
    home.write("klamm.yaml", &yaml(""));
    live.reload(NOW).unwrap();
    assert_eq!(live.status().needs_restart, [""; 0]);
}

#[test]
fn a_live_value_that_needs_one_that_waits_is_refused() {
    let home = Home::new(&yaml(""));
    let live = home.open();
    home.write("klamm.yaml", &yaml("budget: { total: 2GiB }\ncaps: { inflated: 500MiB }\n"));
    let faults = live.reload(NOW).unwrap_err().to_string();
    assert!(faults.starts_with("budget.total: 256MiB is less") && faults.contains("only with a restart"), "{faults}");
    assert_eq!(live.current().caps.inflated.to_string(), "32MiB");
}

#[test]
fn what_is_documented_as_not_live_is_what_waits_for_a_restart() {
    let schema = crate::config::schema();
    let resolve = |value: &Value| match value["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        Some(name) => schema["$defs"][name].clone(),
        None => value.clone(),
    };
    for (section, value) in schema["properties"].as_object().unwrap() {
        for (key, value) in resolve(value)["properties"].as_object().into_iter().flatten() {
            let documented = value["description"].as_str().unwrap_or_default().contains("Not live.");
            assert_eq!(diff::is_not_live(&format!("{section}.{key}")), documented, "{section}.{key}");
        }
    }
    for (key, value) in schema["$defs"]["Cluster"]["properties"].as_object().unwrap() {
        assert!(value["description"].as_str().unwrap().contains("Not live."), "{key}");
        assert!(diff::is_not_live(&format!("kafka.default.{key}")));
    }
}

const PACE: Pace = Pace { debounce: Duration::from_millis(20), poll: Duration::from_secs(3600) };

/// The watcher of `live`, and what it tells.
fn watching(live: Live, pace: Pace) -> (Arc<Live>, mpsc::UnboundedReceiver<Result<Change, Faults>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let live = Arc::new(live);
    tokio::spawn(watcher::follow(live.clone(), pace, || NOW, results(sender), None));
    (live, receiver)
}

/// How each reload ended.
fn results(sender: mpsc::UnboundedSender<Result<Change, Faults>>) -> impl Fn(News) {
    move |news| match news {
        News::Begins => {}
        News::Ended(result) => drop(sender.send(result)),
    }
}

async fn told(receiver: &mut mpsc::UnboundedReceiver<Result<Change, Faults>>) -> Result<Change, Faults> {
    timeout(Duration::from_secs(10), receiver.recv()).await.expect("no reload").unwrap()
}

async fn nothing_told(receiver: &mut mpsc::UnboundedReceiver<Result<Change, Faults>>) {
    assert!(timeout(Duration::from_millis(300), receiver.recv()).await.is_err());
}

#[tokio::test]
async fn the_watcher_sees_the_swap_of_links_that_kubernetes_does() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    for (version, wait) in [("v1", "5s"), ("v2", "6s")] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("pw"), "one").unwrap();
        fs::write(path(version).join("klamm.yaml"), yaml(&format!("ingest: {{ wait: {wait} }}\n"))).unwrap();
    }
    symlink("v1", path("..data")).unwrap();
    symlink("..data/klamm.yaml", path("klamm.yaml")).unwrap();
    symlink("..data/pw", path("pw")).unwrap();
    let source = Source { file: Some(path("klamm.yaml")), ..Source::default() };
    let (live, mut changes) = watching(Live::open(source).unwrap().0, PACE);
    nothing_told(&mut changes).await;
    symlink("v2", path("..data_tmp")).unwrap();
    fs::rename(path("..data_tmp"), path("..data")).unwrap();
    assert_eq!(told(&mut changes).await.unwrap().changed, ["ingest.wait"]);
    assert_eq!(live.current().ingest.wait.to_string(), "6s");
}

#[tokio::test]
async fn only_a_change_of_content_reloads_and_faults_are_told() {
    let home = Home::new(&yaml(""));
    let (live, mut changes) = watching(home.open(), PACE);
    nothing_told(&mut changes).await;
    home.write("klamm.yaml", &yaml(""));
    home.write("unrelated", "x");
    nothing_told(&mut changes).await;
    home.write("klamm.yaml", "ingest: [");
    assert!(told(&mut changes).await.is_err());
    assert!(!live.status().last_reload_ok);
    // An editor's way: write beside, rename over.
    home.write("klamm.yaml.new", &yaml("ingest: { wait: 7s }\n"));
    fs::rename(home.path().join("klamm.yaml.new"), home.path().join("klamm.yaml")).unwrap();
    assert_eq!(told(&mut changes).await.unwrap().changed, ["ingest.wait"]);
    home.write("pw", "two");
    assert_eq!(told(&mut changes).await.unwrap().needs_restart, ["kafka.default.properties.sasl.password"]);
}

#[tokio::test]
async fn a_change_before_the_watch_is_not_missed_and_one_loaded_otherwise_is_no_news() {
    let home = Home::new(&yaml(""));
    let live = home.open();
    home.write("klamm.yaml", &yaml("ingest: { wait: 7s }\n"));
    let (live, mut changes) = watching(live, Pace { debounce: Duration::from_millis(200), ..PACE });
    assert_eq!(told(&mut changes).await.unwrap().changed, ["ingest.wait"]);
    home.write("klamm.yaml", &yaml("ingest: { wait: 8s }\n"));
    live.reload(NOW).unwrap();
    nothing_told(&mut changes).await;
}

#[tokio::test]
async fn where_no_events_come_the_watcher_looks_by_itself() {
    let home = Home::new(&yaml(""));
    let (_live, mut changes) = watching(home.open(), Pace { poll: Duration::from_millis(50), ..PACE });
    nothing_told(&mut changes).await;
    // The watch stays with the old directory.
    fs::rename(home.path(), home.path().with_extension("old")).unwrap();
    fs::create_dir(home.path()).unwrap();
    home.write("pw", "one");
    home.write("klamm.yaml", &yaml("ingest: { wait: 7s }\n"));
    while told(&mut changes).await.is_err() {}
    nothing_told(&mut changes).await;
    home.write("klamm.yaml", &yaml("ingest: { wait: 8s }\n"));
    assert_eq!(told(&mut changes).await.unwrap().changed, ["ingest.wait"]);
    fs::remove_dir_all(home.path().with_extension("old")).unwrap();
}

#[tokio::test]
async fn sighup_reloads_without_a_change() {
    let home = Home::new(&yaml(""));
    let (sender, mut changes) = mpsc::unbounded_channel();
    tokio::spawn(watch(Arc::new(home.open()), PACE, || NOW, results(sender)));
    nothing_told(&mut changes).await;
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
    assert_eq!(told(&mut changes).await.unwrap(), Change::default());
}

#[tokio::test]
async fn a_new_file_in_a_directory_of_files_reloads() {
    let home = Home::new(&yaml(""));
    let source = Source { file: Some(home.path().to_owned()), ..Source::default() };
    let (live, mut changes) = watching(Live::open(source).unwrap().0, PACE);
    nothing_told(&mut changes).await;
    home.write("topics.yaml", "topics: { orders: {} }\n");
    // The watcher may look between the file's creation and its content.
    while !live.current().topics.contains_key("orders") {
        told(&mut changes).await.unwrap();
    }
}
