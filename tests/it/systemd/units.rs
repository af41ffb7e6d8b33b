//! The units under `deploy/systemd`, by systemd's own judgement, and against what klamm is and does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use klamm::config::Config;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::child::{self, Process};
use crate::support::client::Client;
use crate::support::gateway::binary;
use crate::support::mock::Mock;
use crate::support::{eventually, scratch};

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of `key`, in their order.
fn values(unit: &str, key: &str) -> Vec<String> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned)).collect()
}

fn analyze(args: &[&str]) -> Output {
    Command::new("systemd-analyze").args(args).output().expect("systemd-analyze (Debian's systemd) runs")
}

fn version() -> u32 {
    let output = analyze(&["--version"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ').nth(1).and_then(|version| version.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// The units as they would be installed, on a machine where klamm is the one under test.
fn installed() -> TempDir {
    let dir = scratch::dir("units");
    for name in ["klamm.service", "klamm.socket", "klamm-admin.socket"] {
        fs::write(dir.path().join(name), deployed(name).replace("/usr/bin/klamm", &binary())).expect("written");
    }
    let drop_ins = dir.path().join("klamm.service.d");
    fs::create_dir(&drop_ins).expect("made");
    let mut names = vec!["credentials.conf"];
    if version() >= 253 {
        names.push("notify-reload.conf");
    }
    for name in names {
        fs::write(drop_ins.join(name), deployed(&format!("drop-ins/{name}"))).expect("written");
    }
    dir
}

#[test]
fn systemd_finds_no_fault_and_little_exposure() {
    let dir = installed();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let all = [path("klamm.service"), path("klamm.socket"), path("klamm-admin.socket")];
    let verified = analyze(&["verify", &all[0], &all[1], &all[2]]);
    let words = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && words.is_empty(), "{words}");

    let judged = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager", &all[0]]);
    let page = String::from_utf8_lossy(&judged.stdout).into_owned();
    let line = page.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{page}"));
    eprintln!("{line}");
    assert!(judged.status.success(), "above 2.0:\n{page}");

    let broken = dir.path().join("klamm.service");
    fs::write(&broken, deployed("klamm.service").replace("WatchdogSec", "WatchdogSek")).expect("written");
    let words = analyze(&["verify", &all[0]]).stderr;
    assert!(String::from_utf8_lossy(&words).contains("WatchdogSek"), "the check sees faults");
}

#[test]
fn the_units_agree_with_klamm() {
    let service = deployed("klamm.service");
    let config = Config::default();
    let seconds = |key: &str| values(&service, key)[0].trim_end_matches('s').parse::<u64>().expect("seconds");
    assert_eq!(values(&service, "RestartPreventExitStatus"), [klamm::cli::BAD_CONFIG.to_string()]);
    for (key, value) in [
        // What Debian 12's systemd knows; the drop-in has what came later.
        ("Type", "notify"),
        ("Restart", "on-failure"),
        ("StateDirectory", "klamm"),
        ("RuntimeDirectory", "klamm"),
        ("User", "klamm"),
        ("WatchdogSec", "30s"),
    ] {
        assert_eq!(values(&service, key), [value], "{key}");
    }
    let stop = config.shutdown.lame_duck.get() + config.shutdown.flush.get();
    assert!(Duration::from_secs(seconds("TimeoutStopSec")) >= stop + Duration::from_secs(10));
    assert_eq!(seconds("TimeoutStopSec"), 35);
    assert!(seconds("TimeoutStartSec") > 30);
    assert_eq!(values(&service, "ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    for (unit, name, listen) in [
        ("klamm.socket", "ingest", config.ingest.listen.to_string()),
        ("klamm-admin.socket", "admin", config.admin.listen.to_string()),
    ] {
        let unit = deployed(unit);
        assert_eq!(values(&unit, "FileDescriptorName"), [name]);
        assert_eq!(values(&unit, "ListenStream"), [listen]);
        assert_eq!(values(&unit, "Service"), ["klamm.service"]);
    }
    // systemd before 253 does not know the type, so verification cannot say it there.
    let newer = deployed("drop-ins/notify-reload.conf");
    assert_eq!(values(&newer, "Type"), ["notify-reload"]);
    assert_eq!(values(&newer, "ExecReload"), [""]);
    let credentials = deployed("drop-ins/credentials.conf");
    let (name, from) = values(&credentials, "LoadCredential")[0]
        .split_once(':')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("ID:PATH");
    assert!(from.starts_with("/etc/klamm/credentials/"), "{from}");
    assert!(credentials.contains(&format!("sasl.password_file: /run/credentials/klamm.service/{name}\n")), "{name}");
}

/// The system calls that a filter of the unit names, groups resolved.
fn calls(filter: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in filter.split_whitespace() {
        if !name.starts_with('@') {
            found.insert(name.to_owned());
            continue;
        }
        let output = analyze(&["syscall-filter", "--no-pager", name]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}");
        let members = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        found.extend(members.flat_map(calls));
    }
    found
}

fn allowed(service: &str) -> BTreeSet<String> {
    let mut allowed = calls("@default");
    for filter in values(service, "SystemCallFilter") {
        match filter.strip_prefix('~') {
            Some(denied) => {
                let denied = calls(denied);
                allowed.retain(|call| !denied.contains(call));
            }
            None => allowed.extend(calls(&filter)),
        }
    }
    allowed
}

/// Every call that klamm makes from start to stop, by strace.
fn made(config: &Path, dir: &Path) -> BTreeSet<String> {
    let (trace, log): (PathBuf, PathBuf) = (dir.join("trace"), dir.join("log"));
    let mut command = child::command("strace");
    // The tracer stands aside: the process that is started is klamm's.
    command.args(["-D", "-f", "-qq", "-c", "-U", "name", "-o"]).arg(&trace).arg(binary());
    command.args(["serve", "-c"]).arg(config).arg("--ready-file").arg(dir.join("ready"));
    let output = File::create(&log).expect("a log");
    let mut klamm = Process::start({
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        command
    });
    let told = || fs::read_to_string(&log).unwrap_or_default();
    eventually("klamm answers", Duration::from_secs(60), || told().contains("kafka answers").then_some(()));
    let ready: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("ready")).expect("bound")).expect("JSON");
    let admin = ready["admin"].as_str().expect("an address").to_owned();
    let mut socket = crate::support::raw::Socket::connect(ready["ingest"].as_str().expect("an address"));
    for prefer in ["", "Prefer: respond-async\r\n"] {
        let head = format!("POST /v1/topics/unit-calls/events HTTP/1.1\r\nHost: h\r\n{prefer}");
        let rest = "Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1";
        socket.send(format!("{head}{rest}").as_bytes()).expect("taken");
        let status = socket.reply().status;
        assert!(matches!(status, 200 | 202), "{status}");
    }
    klamm.signal(Signal::HUP);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let metrics = runtime.block_on(Client::new(&admin).get("/metrics", &[]));
    assert_eq!(metrics.status, 200);
    std::thread::sleep(Duration::from_secs(1));
    klamm.signal(Signal::TERM);
    let ended = klamm.ended_within(Duration::from_secs(40)).expect("it stops");
    assert!(ended.success(), "{ended}\n{}", told());
    let page = eventually("strace tells", Duration::from_secs(20), || {
        fs::read_to_string(&trace).ok().filter(|text| !text.is_empty())
    });
    page.lines()
        .map(str::trim)
        .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        .map(str::to_owned)
        .filter(|name| !name.is_empty() && name != "syscall" && name != "total")
        .collect()
}

#[test]
fn the_unit_allows_every_system_call_that_klamm_makes() {
    let mock = Mock::start(&["unit-calls"]);
    let dir = scratch::dir("calls");
    let here = dir.path().display().to_string();
    let group = rustix::process::getgid().as_raw();
    let rest = format!(
        "spool: {{ dir: \"{here}/spool\" }}\ntopics: {{ unit-calls: {{ on_outage: spool }} }}\n\
         clients: {{ app: {{ local: true, topics: [unit-calls] }} }}\n"
    );
    let yaml = mock.config(&format!("socket: {{ group: \"{group}\" }},"), "", &rest).replacen(
        "listen: \"127.0.0.1:0\"",
        &format!("listen: \"unix:{here}/klamm.sock\""),
        1,
    );
    let config = dir.path().join("klamm.yaml");
    fs::write(&config, yaml).expect("written");
    let allowed = allowed(&deployed("klamm.service"));
    assert!(
        allowed.len() > 200 && !allowed.contains("setpriority") && !allowed.contains("setuid"),
        "{}",
        allowed.len()
    );
    let made = made(&config, dir.path());
    assert!(made.contains("accept4") && made.contains("fdatasync") && made.contains("chown"), "{made:?}");
    // Its limit of open files is the unit's, so nothing is left to raise; who may not, goes on.
    let denied: Vec<_> = made.difference(&allowed).collect();
    assert!(denied.is_empty(), "{denied:?} of {made:?}");
}
