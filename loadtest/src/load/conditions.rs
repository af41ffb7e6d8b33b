//! Where and how a load was measured: without it a figure means nothing.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Options;

/// The machine, how busy it was, the versions, the options.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    /// When it began, in seconds since 1970.
    pub time: u64,
    /// Of the tool.
    pub version: &'static str,
    /// What the target says it is (`klamm_build_info`), if its metrics were named.
    pub target: Option<String>,
    /// Model of the CPU.
    pub cpu: String,
    /// Cores that the tool may use.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Name and release.
    pub kernel: String,
    /// Load average of one minute when it began.
    pub load_before: f64,
    /// The same when it ended.
    pub load_after: f64,
    /// Share of all CPU time that another machine on the same host took while it ran, 0 to 1.
    pub steal: f64,
    /// What was asked for.
    pub options: Options,
}

/// The counters at the start, until [`Meter::finish`].
#[derive(Debug)]
pub struct Meter {
    time: u64,
    load: f64,
    ticks: (u64, u64),
}

impl Meter {
    /// It begins.
    pub fn start() -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { time, load: load_average(), ticks: ticks(&read("/proc/stat")) }
    }

    /// It is over. `target`: what it says it is.
    pub fn finish(self, options: &Options, target: Option<String>) -> Conditions {
        let (all, stolen) = ticks(&read("/proc/stat"));
        let (all, stolen) = (all.saturating_sub(self.ticks.0), stolen.saturating_sub(self.ticks.1));
        let kernel = rustix::system::uname();
        Conditions {
            time: self.time,
            version: env!("CARGO_PKG_VERSION"),
            target,
            cpu: line(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: line(&read("/proc/meminfo"), "MemTotal")
                .and_then(|value| value.trim_end_matches("kB").trim().parse::<u64>().ok())
                .unwrap_or_default()
                * 1024,
            kernel: format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy()),
            load_before: self.load,
            load_after: load_average(),
            steal: if all == 0 { 0.0 } else { stolen as f64 / all as f64 },
            options: options.clone(),
        }
    }
}

/// What cannot be read is left out of the report, it does not end a load.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn line(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

fn load_average() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// All ticks and the stolen ones of /proc/stat's first line: user nice system idle iowait irq softirq steal (guest time
/// is in user already).
fn ticks(stat: &str) -> (u64, u64) {
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    (fields.iter().sum(), fields.get(7).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_lines_are_read() {
        assert_eq!(ticks("cpu  1 2 3 4 5 6 7 8 900 900\ncpu0 1"), (36, 8));
        assert_eq!(ticks(""), (0, 0));
        assert_eq!(line("a\t: x\nmodel name\t: Some CPU\n", "model name").as_deref(), Some("Some CPU"));
    }

    #[test]
    fn the_machine_is_named() {
        let conditions = Meter::start().finish(&Options::default(), None);
        assert!(conditions.cores > 0 && conditions.memory > 0 && conditions.kernel.starts_with("Linux "));
        assert!((0.0..=1.0).contains(&conditions.steal));
    }
}
