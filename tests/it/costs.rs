//! What an event costs the real binary in system calls (a gate) and instructions (a report): counted, not timed.
//!
//! One request after another on one connection, so that how calls fall together does not depend on the machine. Read
//! them as costs of that load: many connections share more of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::mock::{Mock, client};
use crate::support::{child, eventually, keys, scratch};

#[path = "../costs/committed.rs"]
mod committed;
#[path = "../costs/load.rs"]
mod load;

use load::{Load, Senders};

const TOPIC: &str = "costs";

fn rest() -> String {
    let limits = "{ requests: 100000000/s, events: 100000000/s, bytes: 1000GiB/s }";
    format!("topics: {{ {TOPIC}: {{}} }}\nclients:\n{}", client(TOPIC, &format!("[{TOPIC}]"), limits))
}

fn connect(address: &str, load: Load) -> Senders {
    Senders::connect(address, TOPIC, &keys::fixed(TOPIC).text, load)
}

#[tokio::test]
async fn system_calls_of_an_event_are_within_the_committed_figures() {
    let mock = Mock::start(&[TOPIC]);
    let gateway = mock.serve("peer_rate: 100000000/s,", "", &rest());
    gateway.ready().await;
    let batched = Load { events: 500, requests: 100, connections: 1 };
    let single = Load { events: 1, requests: 200, connections: 1 };
    let Some(idle) = Strace::attach(gateway.pid()).map(|strace| {
        let start = Instant::now();
        thread::sleep(Duration::from_secs(2));
        let elapsed = start.elapsed();
        strace.total() / elapsed.as_secs_f64()
    }) else {
        return;
    };
    let measure = |load: Load| {
        let mut senders = connect(gateway.ingest(), load);
        let strace = Strace::attach(gateway.pid()).expect("what was permitted once");
        let start = Instant::now();
        senders.send();
        let elapsed = start.elapsed();
        let all = strace.total();
        let besides = idle * elapsed.as_secs_f64();
        println!("{load:?}: {all} system calls, {besides:.0} of them in any case, in {elapsed:?}");
        (all - besides).max(0.0) / load.total()
    };
    committed::hold("system calls per event, NDJSON x 500", || measure(batched));
    committed::hold("system calls per event, single POST", || measure(single));
}

/// What a batch was compressed into is there for the next: memory that goes back to the kernel comes anew page by page.
#[tokio::test]
async fn a_batch_is_given_the_memory_of_the_one_before() {
    let mock = Mock::start(&[TOPIC]);
    let gateway = mock.serve("peer_rate: 100000000/s,", "", &rest());
    gateway.ready().await;
    let send = |requests| connect(gateway.ingest(), Load { events: 2000, requests, connections: 8 }).send();
    send(80);
    let before = page_faults(gateway.pid());
    send(160);
    let faults = page_faults(gateway.pid()) - before;
    println!("costs: {faults} page faults in 160 requests");
    // 80 pages of events each, and what they are compressed into.
    assert!(faults < 160 * 20, "{faults} page faults in 160 requests");
}

/// Those of a process for which no disk was read, in `/proc/PID/stat` the eighth after its name in brackets.
fn page_faults(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    fields.split(' ').nth(7).and_then(|faults| faults.parse().ok()).expect("a count of faults")
}

/// `strace -c` on a process and all its threads.
struct Strace {
    child: Child,
    table: std::path::PathBuf,
    /// Removed when dropped.
    _dir: tempfile::TempDir,
}

impl Strace {
    /// Attached to every thread when it returns; none, with a word on why, where that cannot be.
    fn attach(pid: u32) -> Option<Self> {
        let dir = scratch::dir("strace");
        let table = dir.path().join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&table).args(["-p", &pid.to_string()]);
        let Ok(mut child) = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn() else {
            println!("costs: system calls are not counted: no strace (scripts/setup.sh test installs it)");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("its words")).read_line(&mut line).expect("its words");
        if line.contains("attached") {
            return Some(Self { child, table, _dir: dir });
        }
        let _ = child.wait();
        println!("costs: system calls are not counted: {}", line.trim());
        assert!(line.contains("not permitted"), "strace: {line}");
        None
    }

    /// Detaches; the calls it has counted.
    fn total(mut self) -> f64 {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("strace takes a signal");
        let _ = self.child.wait();
        total(&fs::read_to_string(&self.table).expect("its table"))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The calls in the last line of the table of `strace -c`: share, seconds, microseconds a call, calls, ...
fn total(table: &str) -> f64 {
    let line = table.lines().rfind(|line| line.trim_end().ends_with("total")).expect("a total");
    line.split_whitespace().nth(3).and_then(|calls| calls.parse().ok()).expect("a count of calls")
}

#[test]
fn the_total_of_strace_is_read_with_and_without_errors() {
    let head = "% time     seconds  usecs/call     calls    errors syscall\n";
    assert_eq!(total(&format!("{head}100.00    0.003321           2      1234        56 total\n")), 1234.0);
    assert_eq!(total(&format!("{head}100.00    0.003321           2       987           total\n")), 987.0);
}

/// `make bench-callgrind`. The difference of two runs, so that start and stop do not count.
#[test]
#[ignore = "a report that takes minutes: make bench-callgrind"]
fn instructions_of_an_event() {
    let mock = Mock::start(&[TOPIC]);
    let config = mock.config("peer_rate: 100000000/s,", "", &rest());
    for (name, events, few, many) in [("NDJSON x 500", 500, 20, 120), ("single POST", 1, 200, 1200)] {
        let load = |requests| Load { events, requests, connections: 1 };
        let (less, more) = (instructions(&config, load(few)), instructions(&config, load(many)));
        let each = (more - less) / ((many - few) * events) as f64;
        println!("costs: instructions per event, {name} = {each:.0}");
        assert!(each > 100.0, "{name}: {less} and {more}");
    }
}

/// Of the gateway's whole life with this load, by callgrind.
fn instructions(config: &str, load: Load) -> f64 {
    let dir = scratch::dir("callgrind");
    let (file, ready, out) = (dir.path().join("klamm.yaml"), dir.path().join("ready.json"), dir.path().join("out"));
    fs::write(&file, config).expect("the config is written");
    let binary = crate::support::gateway::binary();
    let mut command = child::command("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display())).arg(binary);
    command.arg("serve").arg("--config").arg(&file).arg("--ready-file").arg(&ready);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = child::Process::start(command);
    let address = eventually("the gateway serves", Duration::from_secs(120), || {
        assert!(process.ended().is_none(), "valgrind ended (is it installed?)");
        address(&ready)
    });
    // Until Kafka has answered, the first requests would be refused.
    thread::sleep(Duration::from_secs(5));
    connect(&address, load).send();
    process.signal(Signal::TERM);
    process.ended_within(Duration::from_secs(120)).expect("the gateway ends");
    let text = fs::read_to_string(&out).expect("callgrind's file");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
    totals.trim().parse().expect("a count")
}

fn address(ready: &Path) -> Option<String> {
    let bound: serde_json::Value = serde_json::from_str(&fs::read_to_string(ready).ok()?).ok()?;
    Some(bound["ingest"].as_str()?.to_owned())
}
