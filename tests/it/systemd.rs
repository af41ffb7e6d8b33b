//! klamm under a supervisor that speaks systemd's words: sockets that outlive it, what it tells, and what ends it.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::support::client::Client;
use crate::support::kafka::Kafka;
use crate::support::load::ids;
use crate::support::mock::{Mock, client};
use crate::support::raw::Socket;
use crate::support::scratch;
use crate::support::steady::{Shape, Steady};
use crate::support::supervisor::Supervisor;

mod units;

/// On the addresses of this config nobody listens: the sockets are passed.
fn config(bootstrap: &str, shutdown: &str) -> String {
    let shop = client("shop", "[\"unit-*\"]", "{ requests: off, events: off, bytes: off }");
    format!(
        "ingest: {{ listen: \"192.0.2.1:1\" }}\nadmin: {{ listen: \"192.0.2.1:2\" }}\nshutdown: {{ {shutdown} }}\n\
         kafka: {{ default: {{ bootstrap: [\"{bootstrap}\"] }} }}\ntopics: {{ \"unit-*\": {{}} }}\nclients:\n{shop}"
    )
}

fn micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).expect("after the start of the machine")
}

#[tokio::test]
async fn start_reload_and_stop_are_told_and_the_passed_sockets_are_served() {
    let mock = Mock::start(&["unit-told"]);
    let yaml = config(mock.bootstrap(), "lame_duck: 2s, flush: 5s");
    // The signs of life of another process are asked for, not klamm's.
    let other = [("WATCHDOG_USEC", "300000".to_owned()), ("WATCHDOG_PID", "1".to_owned())];
    let mut klamm = Supervisor::start(&yaml, None, &other);
    let ready = klamm.heard().iter().position(|heard| heard.text == "READY=1\nSTATUS=serving");
    assert_eq!(ready, Some(0), "{:?}", klamm.heard());
    let admin = Client::new(&klamm.admin());
    assert_eq!(admin.get("/readyz", &[]).await.status, 200);
    let shown = admin.get("/admin/config", &[]).await.json();
    assert!(shown.to_string().contains(&klamm.ingest()), "the config in force says where it listens: {shown}");
    assert_eq!(Client::new(&klamm.ingest()).get("/v1/topics", &[]).await.status, 401);

    let seen = klamm.heard().len();
    let before = micros();
    klamm.signal(Signal::HUP);
    let text = klamm.hear(seen, "RELOADING=1");
    let at = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("when");
    let at: u64 = at.parse().expect("a number");
    assert!(before <= at && at <= micros(), "{before} {at}");
    assert_eq!(klamm.hear(seen, "READY=1"), "READY=1\nSTATUS=reloaded");

    let seen = klamm.heard().len();
    klamm.rewrite(&format!("{yaml}nonsense: 1\n"));
    klamm.signal(Signal::HUP);
    let failed = "READY=1\nSTATUS=the last reload failed; the config before it is in use";
    assert_eq!(klamm.hear(seen, "READY=1"), failed);
    assert_eq!(Client::new(&klamm.ingest()).get("/v1/topics", &[]).await.status, 401);

    let seen = klamm.heard().len();
    // While somebody is connected the lame duck has its time.
    let _connected = Socket::connect(&klamm.ingest());
    assert!(klamm.stop().success(), "{}", klamm.log());
    assert!(klamm.hear(seen, "STOPPING=1").starts_with("STOPPING=1\n"));
    assert_eq!(klamm.hear(seen, "still served"), "STATUS=stopping: requests are still served");
    assert!(!klamm.heard().iter().any(|heard| heard.text.contains("WATCHDOG")), "nobody asked klamm for it");
}

/// Nobody is to wait for a Kafka that is away for longer than that; `klamm` serves from the first second on.
#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_ready_is_told_when_its_30_s_are_over() {
    let yaml = config("127.0.0.1:1", "lame_duck: 0s, flush: 1s");
    let began = Instant::now();
    let mut klamm = tokio::task::spawn_blocking(move || Supervisor::start(&yaml, None, &[])).await.expect("it starts");
    let heard = klamm.heard();
    assert_eq!(heard[0].text, "READY=1\nSTATUS=serving: Kafka does not answer", "{heard:?}");
    // The supervisor itself gives up after 40 s.
    let after = heard[0].at.duration_since(began);
    assert!(after >= Duration::from_secs(30), "{after:?}");
    assert_eq!(Client::new(&klamm.ingest()).get("/v1/topics", &[]).await.status, 401);
    klamm.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_under_load_refuse_reset_and_lose_nothing() {
    let kafka = Kafka::shared();
    kafka.create_topic("unit-load", 3, &[]);
    let yaml = config(&kafka.bootstrap(), "lame_duck: 3s, flush: 10s");
    let mut klamm = tokio::task::spawn_blocking(move || Supervisor::start(&yaml, None, &[])).await.expect("it starts");
    let shape = Shape { client: "shop", topic: "unit-load", connections: 16, pace: Duration::ZERO, batch: 20 };
    let load = Steady::start(&klamm.ingest(), &[shape]);
    for _ in 0..3 {
        load.more(300).await;
        let (back, ended) = tokio::task::spawn_blocking(move || {
            let ended = klamm.restart();
            (klamm, ended)
        })
        .await
        .expect("it restarts");
        klamm = back;
        assert!(ended.success(), "{ended}:\n{}", klamm.log());
    }
    load.more(300).await;
    let report = load.stop().await;
    eprintln!("3 restarts under load: {}", report.line());
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!(report.answers.keys().collect::<Vec<_>>(), ["200"], "{}", report.line());
    let found = ids(&kafka.consume("unit-load"));
    let lost: Vec<_> = report.acknowledged.iter().filter(|id| !found.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(klamm.stop().success(), "{}", klamm.log());
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_runtime_hangs_is_killed_and_started_again() {
    let mock = Mock::start(&["unit-hang"]);
    let dir = scratch::dir("hang");
    let plant = dir.path().join("hang");
    let yaml = config(mock.bootstrap(), "lame_duck: 0s, flush: 5s");
    let interval = Duration::from_secs(3);
    let variables = [("KLAMM_FAILPOINT_HANG", plant.display().to_string())];
    let run = move || {
        let mut klamm = Supervisor::start(&yaml, Some(interval), &variables);
        // While it is well the signs come in time, load or not.
        std::thread::sleep(3 * interval / 2);
        let heard = klamm.heard();
        let signs: Vec<_> = heard.iter().filter(|heard| heard.text == "WATCHDOG=1").collect();
        assert!(signs.len() >= 4 && signs.windows(2).all(|pair| pair[1].at - pair[0].at < interval), "{heard:?}");

        fs::write(&plant, "").expect("planted");
        let planted = std::time::Instant::now();
        let last = klamm.watch(Duration::from_secs(20));
        let (stopped, killed) = (last.saturating_duration_since(planted), planted.elapsed());
        eprintln!("hang planted: last sign after {stopped:?}, killed after {killed:?} (interval {interval:?})");
        assert!(stopped < interval, "the signs stop within the interval: {stopped:?}");
        fs::remove_file(&plant).expect("planted");
        klamm.again();
        klamm
    };
    let mut klamm = tokio::task::spawn_blocking(run).await.expect("killed and started again");
    assert_eq!(Client::new(&klamm.ingest()).get("/v1/topics", &[]).await.status, 401, "it serves again");
    assert!(klamm.log().contains("every worker of the runtime hangs"), "{}", klamm.log());
    assert!(klamm.stop().success(), "{}", klamm.log());
}

#[test]
fn sockets_that_klamm_cannot_use_end_it_with_78() {
    let dir = scratch::dir("sockets");
    let file = dir.path().join("klamm.yaml");
    fs::write(&file, config("127.0.0.1:1", "lame_duck: 0s")).expect("written");
    let serve = |fds: &str, names: &str, local: &str| {
        let script = "exec 3</dev/null; export LISTEN_PID=$$; exec \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", &crate::support::gateway::binary(), "serve", "-c"]).arg(&file).arg(local);
        let output = command.env("LISTEN_FDS", fds).env("LISTEN_FDNAMES", names).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = serve("1", "ingest", "--set=ingest.wait=5s");
    assert_eq!((code, words.contains("not a socket")), (Some(78), true), "{words}");
}

/// The address of the passed socket counts, whatever the config says of another.
#[test]
fn a_local_client_is_refused_on_a_passed_socket_that_others_reach() {
    let dir = scratch::dir("sockets");
    let file = dir.path().join("klamm.yaml");
    let yaml = config("127.0.0.1:1", "lame_duck: 0s").replace("192.0.2.1:1", "127.0.0.1:0");
    fs::write(&file, format!("{yaml}  app: {{ local: true, topics: [\"unit-*\"] }}\n")).expect("written");
    let passed = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", &crate::support::gateway::binary(), "serve", "-c"]).arg(&file);
    command.stdin(Stdio::from(OwnedFd::from(passed))).env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "ingest");
    let output = command.output().expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{words}");
    assert!(words.contains("clients.app.local") && words.contains("loopback address, not 0.0.0.0:"), "{words}");
}
