//! What another process uses, from /proc: CPU by thread group, memory, context switches.
//!
//! CPU comes from each thread's schedstat (nanoseconds); the share of the kernel, and what threads used that ended in
//! between, from the process's stat (ticks of 10 ms).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

/// The group of what was used by threads that ended in between.
const ENDED: &str = "(ended)";

/// What a process used while it was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Usage {
    /// CPU time in microseconds, user and system, of the whole process.
    pub cpu_us: u64,
    /// The part of it in the kernel.
    pub system_us: u64,
    /// The same by thread group (threads of one name; numbers at its end do not count).
    pub groups: BTreeMap<String, u64>,
    /// Resident bytes at the end.
    pub rss: u64,
    /// Its high-water mark since the process began (VmHWM).
    pub peak: u64,
    /// Context switches, voluntary and not.
    pub switches: u64,
}

/// A process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    folder: PathBuf,
}

/// Its counters at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    threads: BTreeMap<u32, Thread>,
    /// User and system, of living and ended threads, in microseconds; whole ticks.
    cpu_us: u64,
    system_us: u64,
    rss: u64,
    peak: u64,
}

#[derive(Debug, Clone, Default)]
struct Thread {
    group: String,
    cpu_ns: u64,
    switches: u64,
}

impl Process {
    pub(super) fn new(pid: u32) -> Self {
        Self { folder: format!("/proc/{pid}").into() }
    }

    /// # Errors
    /// The process is not there, or is another user's.
    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        let read = |name: &str| {
            let file = self.folder.join(name);
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let (user, system) = ticks(&stat).context("its stat is not readable")?;
        let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(self.folder.join("task"))?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let read = |name| fs::read_to_string(entry.path().join(name));
            // A thread that ends while it is read is none.
            let (Ok(name), Ok(schedstat), Ok(status)) = (read("comm"), read("schedstat"), read("status")) else {
                continue;
            };
            let cpu_ns = schedstat.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or_default();
            let switches = field(&status, "voluntary_ctxt_switches") + field(&status, "nonvoluntary_ctxt_switches");
            threads.insert(id, Thread { group: group(name.trim_end()).to_owned(), cpu_ns, switches });
        }
        Ok(Snapshot {
            threads,
            cpu_us: (user + system) * tick_us,
            system_us: system * tick_us,
            rss: field(&status, "VmRSS") * 1024,
            peak: field(&status, "VmHWM") * 1024,
        })
    }
}

impl Snapshot {
    /// What was used from `earlier` to this one.
    pub(super) fn since(&self, earlier: &Self) -> Usage {
        let mut usage = Usage {
            system_us: self.system_us.saturating_sub(earlier.system_us),
            rss: self.rss,
            peak: self.peak,
            ..Usage::default()
        };
        let mut nanos: BTreeMap<&str, u64> = BTreeMap::new();
        for (id, thread) in &self.threads {
            let (cpu, switches) = earlier.threads.get(id).map_or((0, 0), |before| (before.cpu_ns, before.switches));
            *nanos.entry(&thread.group).or_default() += thread.cpu_ns.saturating_sub(cpu);
            usage.switches += thread.switches.saturating_sub(switches);
        }
        usage.groups = nanos.into_iter().map(|(group, nanos)| (group.to_owned(), nanos / 1000)).collect();
        usage.cpu_us = usage.groups.values().sum();
        let ended = self.cpu_us.saturating_sub(earlier.cpu_us).saturating_sub(usage.cpu_us);
        // Ticks are coarse: a little more than the threads' own sum means nothing.
        if ended > 20_000 + usage.cpu_us / 50 {
            usage.groups.insert(ENDED.to_owned(), ended);
            usage.cpu_us += ended;
        }
        usage.system_us = usage.system_us.min(usage.cpu_us);
        usage
    }
}

/// A thread's name without the number at its end.
fn group(name: &str) -> &str {
    let group =
        name.trim_end_matches(|end: char| end.is_ascii_digit() || matches!(end, '-' | '/' | '_' | ':' | '#' | ' '));
    if group.is_empty() { name } else { group }
}

/// utime and stime of a stat line. The name in it may hold anything, so what follows its last `)` counts.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A number of a status file: `Name:  123 kB`.
fn field(status: &str, name: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_name_are_one_group() {
        for (name, expected) in [
            ("http-0", "http"),
            ("http-12", "http"),
            ("rdk:broker1", "rdk:broker"),
            ("tokio-runtime-w", "tokio-runtime-w"),
            ("klamm", "klamm"),
            ("123", "123"),
        ] {
            assert_eq!(group(name), expected);
        }
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) 1 2) S 1 2 3 4 5 6 7 8 9 10 111 222 13 14";
        assert_eq!(ticks(stat), Some((111, 222)));
        assert_eq!(field("VmHWM:\t  123 kB\nVmRSS:\t 45 kB\n", "VmRSS"), 45);
    }

    #[test]
    fn own_work_is_seen_by_thread() {
        let process = Process::new(std::process::id());
        let (ready, go) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel::<()>());
        let worker = std::thread::Builder::new()
            .name("spinner-7".into())
            .spawn(move || {
                let begin = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                let used = || {
                    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
                    (now.tv_sec - begin.tv_sec) * 1_000_000_000 + (now.tv_nsec - begin.tv_nsec)
                };
                while used() < 30_000_000 {
                    std::hint::spin_loop();
                }
                ready.0.send(()).unwrap();
                let _ = go.1.recv();
            })
            .unwrap();
        let before = Snapshot::default();
        ready.1.recv().unwrap();
        let usage = process.snapshot().unwrap().since(&before);
        drop(go.0);
        worker.join().unwrap();
        // The scheduler brings the counter up to date at each tick: a little may be missing.
        assert!(usage.groups["spinner"] >= 15_000, "{usage:?}");
        assert!(usage.cpu_us >= usage.groups["spinner"] && usage.rss > 0 && usage.peak >= usage.rss);
    }

    #[test]
    fn what_ended_threads_used_is_not_lost() {
        let thread = |cpu_ns| Thread { group: "http".into(), cpu_ns, switches: 1 };
        let earlier = Snapshot { threads: [(1, thread(0)), (2, thread(0))].into(), ..Snapshot::default() };
        let later = Snapshot { threads: [(1, thread(1_000_000_000))].into(), cpu_us: 3_000_000, ..Snapshot::default() };
        let usage = later.since(&earlier);
        assert_eq!(usage.cpu_us, 3_000_000);
        assert_eq!(usage.groups[ENDED], 2_000_000);
    }

    #[test]
    fn a_process_that_is_not_there_is_said_so() {
        assert!(format!("{:#}", Process::new(u32::MAX).snapshot().unwrap_err()).contains("/proc/4294967295"));
    }
}
