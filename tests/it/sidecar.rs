//! klamm beside one program: who is known without a key, whose socket it is, and what it costs to be there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use klamm::config::Listen;
use klamm::config::load::{Source, load};
use klamm::units::Span;

use crate::support::child;
use crate::support::client::{Answer, Client};
use crate::support::gateway::{Gateway, binary};
use crate::support::mock::{Mock, bearer, client};
use crate::support::raw::Socket;
use crate::support::{eventually, scratch};

const ORDERS: &str = "/v1/topics/orders/events";

/// The user of this process.
fn me() -> u32 {
    rustix::process::getuid().as_raw()
}

/// What `/etc/passwd` calls it.
fn name_of(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    users.lines().map(fields).find(|user| user[2] == uid.to_string()).map(|user| user[0].clone())
}

fn post(address: &str, headers: &[(&str, &str)]) -> Answer {
    let mut socket = Socket::connect(address);
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("POST {ORDERS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n");
    socket.send(format!("{head}{lines}\r\n1").as_bytes()).expect("taken");
    socket.reply()
}

fn code(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.json()["code"].as_str().map(str::to_owned))
}

fn refused(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

/// A config that listens on `listen` and has these lines under `clients`.
fn config(mock: &Mock, listen: &str, clients: &str) -> String {
    let rest = format!("topics: {{ orders: {{}} }}\nclients:\n{clients}");
    mock.config("", "", &rest).replacen("127.0.0.1:0", listen, 1)
}

fn serve(config: &Path) -> Output {
    child::command(&binary()).arg("serve").arg("-c").arg(config).output().expect("it runs")
}

#[tokio::test]
async fn requests_without_a_key_are_the_local_clients_on_a_unix_socket_and_on_loopback() {
    let mock = Mock::start(&["orders"]);
    let dir = scratch::dir("local");
    let unix = format!("unix:{}", dir.path().join("klamm.sock").display());
    let clients = format!("  app: {{ local: true, topics: [orders] }}\n{}", client("shop", "[orders]", "{}"));
    for (nth, listen) in (1..).zip(["127.0.0.1:0", &unix]) {
        let gateway = Gateway::start(&config(&mock, listen, &clients));
        gateway.ready().await;
        let at = gateway.ingest();
        assert_eq!(code(&post(at, &[])), (200, None), "{listen}");
        assert_eq!(code(&post(at, &[("Authorization", &bearer("shop"))])), (200, None), "{listen}");
        assert_eq!(code(&post(at, &[("X-Api-Key", "wrong")])), refused(401, "unauthenticated"), "{listen}");
        for field in [("Origin", "http://localhost"), ("Sec-Fetch-Site", "same-origin")] {
            let answer = post(at, &[field]);
            assert_eq!(code(&answer), refused(403, "web_page"), "{listen}");
        }
        let mut rebound = Socket::connect(at);
        rebound.send(b"GET /v1/topics HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n").expect("taken");
        // No browser reaches a unix socket, where curl may send any Host.
        let expected = if listen.starts_with("unix:") { (200, None) } else { refused(403, "web_page") };
        assert_eq!(code(&rebound.reply()), expected, "{listen}");
        let metrics = gateway.metrics().await;
        for client in ["app", "shop"] {
            assert_eq!(metrics.sum("klamm_events_total", &[("client", client), ("outcome", "acked")]), 1.0, "{client}");
        }
        assert_eq!(mock.records("orders"), 2 * nth);
    }
}

#[tokio::test]
async fn the_kernel_says_whose_a_connection_to_a_unix_socket_is() {
    let mock = Mock::start(&["orders"]);
    // Where other users come too.
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let listen = format!("unix:{}", dir.path().join("klamm.sock").display());
    let name = name_of(me()).map_or_else(|| format!("uid: {}", me()), |name| format!("user: {name}"));
    let clients = format!("  app: {{ unix: {{ {name} }}, topics: [orders] }}\n");
    let gateway = Gateway::start(&config(&mock, &listen, &clients));
    gateway.ready().await;
    assert_eq!(code(&post(gateway.ingest(), &[])), (200, None));
    assert_eq!(code(&post(gateway.ingest(), &[("X-Api-Key", "wrong")])), refused(401, "unauthenticated"));
    assert_eq!(code(&post(gateway.ingest(), &[("Origin", "null")])), refused(403, "web_page"));

    // Its owner changes at a reload: from then on a process of this user is nobody, local client or not.
    let other = format!("  app: {{ unix: {{ uid: {} }}, local: true, topics: [orders] }}\n", me() + 1);
    gateway.rewrite(&config(&mock, &listen, &other));
    let mut answer = post(gateway.ingest(), &[]);
    for _ in 0..200 {
        if answer.status != 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = post(gateway.ingest(), &[]);
    }
    assert_eq!(code(&answer), refused(401, "unauthenticated"), "{}", gateway.log());
    if me() == 0 {
        let path = dir.path().join("klamm.sock");
        chown(&path, Some(1), None).expect("root may");
        let status = Command::new("setpriv")
            .args(["--reuid", "1", "--clear-groups", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["-H", "Content-Type: application/json", "-d", "1", "--unix-socket"])
            .arg(&path)
            .arg(format!("http://klamm{ORDERS}"))
            .output()
            .expect("curl runs");
        assert_eq!(String::from_utf8_lossy(&status.stdout), "200", "{status:?}");
    }
}

#[tokio::test]
async fn a_socket_of_a_killed_gateway_is_taken_over_and_a_live_one_is_not() {
    let mock = Mock::start(&["orders"]);
    let dir = scratch::dir("over");
    let path = dir.path().join("klamm.sock");
    let file = dir.path().join("klamm.yaml");
    let config = config(&mock, &format!("unix:{}", path.display()), "  app: { local: true, topics: [orders] }\n")
        .replacen("ingest: {", "ingest: { socket: { mode: \"0600\" },", 1);
    let mut first = Gateway::start(&config);
    let inode = fs::metadata(&path).expect("a socket").ino();
    first.kill();
    assert_eq!(fs::metadata(&path).expect("left behind").ino(), inode);

    let gateway = Gateway::start(&config);
    gateway.ready().await;
    assert_eq!(fs::metadata(&path).expect("a socket").mode() & 0o777, 0o600);
    fs::write(&file, &config).expect("written");
    let second = serve(&file);
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert!(words.contains(&format!("another process answers on {}", path.display())), "{words}");
    assert_eq!(code(&post(gateway.ingest(), &[])), (200, None), "the first serves on");
}

/// The example as it is, but for the places of its files and of Kafka.
#[tokio::test]
async fn the_example_of_a_sidecar_serves_spools_and_is_small() {
    let mock = Mock::start(&["readings"]);
    let dir = scratch::dir("example");
    let here = dir.path().display().to_string();
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/sidecar.yaml")).expect("an example");
    let file = dir.path().join("sidecar.yaml");
    fs::write(&file, &example).expect("written");
    let checked = Command::new(binary()).arg("check").arg("-c").arg(&file).output().expect("it runs");
    assert_eq!((checked.stdout.as_slice(), checked.stderr.as_slice()), (&b"ok\n"[..], &b""[..]));

    let loaded = load(&Source { file: Some(file.clone()), ..Source::default() }).expect("it is valid").config;
    assert_eq!((loaded.clients.len(), loaded.clients["app"].local), (1, true));
    assert!(matches!(loaded.ingest.listen, Listen::Unix(_)), "a socket");
    let sizes = [loaded.budget.total, loaded.caps.body, loaded.caps.inflated].map(|size| size.to_string());
    assert_eq!((sizes, loaded.shutdown.lame_duck), (["16MiB", "1MiB", "4MiB"].map(str::to_owned), Span::secs(0)));
    assert!(loaded.spool.is_on(), "a host has a disk");

    let small = Command::new(binary()).args(["check", "--set", "budget.total=8MiB", "-c"]).arg(&file).output();
    let small = small.expect("it runs");
    let words = String::from_utf8_lossy(&small.stderr).into_owned();
    assert!(small.status.code() == Some(78) && words.contains("caps.body + 2 x caps.inflated = 9MiB"), "{words}");

    let mut yaml = example;
    for (from, to) in [
        ("/run/klamm", here.as_str()),
        ("/var/lib/klamm", &here),
        ("127.0.0.1:8081", "127.0.0.1:0"),
        ("127.0.0.1:9092", mock.bootstrap()),
    ] {
        assert!(yaml.contains(from), "{from}");
        yaml = yaml.replace(from, to);
    }
    let mut gateway = Gateway::start(&yaml);
    gateway.ready().await;
    let mut socket = Socket::connect(gateway.ingest());
    let head = "POST /v1/topics/readings/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    socket.send(format!("{head}Content-Length: 10\r\n\r\n{{\"t\":21.5}}").as_bytes()).expect("taken");
    // With a spool it is ready before Kafka answers.
    let status = socket.reply().status;
    assert!(matches!(status, 200 | 202), "{status}\n{}", gateway.log());
    eventually("the event is in Kafka", Duration::from_secs(10), || (mock.records("readings") == 1).then_some(()));
    assert!(dir.path().join("spool").is_dir());

    let ready = Client::new(gateway.admin()).get("/readyz?verbose", &[]).await;
    assert_eq!(ready.status, 200);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let resident = resident_mib(gateway.pid());
    eprintln!("resident while idle: {resident:.1} MiB");
    // The code alone of the unoptimised binary of the tests is larger than the release build of KLAMM_BINARY.
    let most = if std::env::var_os("KLAMM_BINARY").is_some() { 20e6 } else { 48e6 };
    assert!(resident * 1_048_576.0 <= most, "{resident} MiB");
    assert_eq!(gateway.terminate(), 0, "{}", gateway.log());
}

/// What of the process is in memory.
fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
