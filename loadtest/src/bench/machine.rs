//! How busy the machine was with other things in each round: figures of a busy one are worth less.

use std::fs;

use serde::Serialize;

/// One round of one group of rows.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Round {
    /// The rows it belongs to.
    pub(super) rows: &'static str,
    /// Counted from 1.
    pub(super) round: usize,
    /// Load average of one minute at its end.
    pub(super) load: f64,
    /// Share of all CPU time that other machines on the same host took meanwhile, 0 to 1.
    pub(super) steal: f64,
    /// Trials that were left out, with the reason.
    pub(super) left_out: Vec<String>,
}

/// CPU time that was stolen, from its making on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steal {
    all: u64,
    stolen: u64,
}

impl Steal {
    pub(super) fn start() -> Self {
        let (all, stolen) = ticks();
        Self { all, stolen }
    }

    /// The share since then.
    pub(super) fn share(self) -> f64 {
        let (all, stolen) = ticks();
        let all = all.saturating_sub(self.all);
        if all == 0 { 0.0 } else { stolen.saturating_sub(self.stolen) as f64 / all as f64 }
    }
}

/// Of one minute.
pub(super) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// Resident bytes of a process.
pub(super) fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// All ticks and stolen ones: user nice system idle iowait irq softirq steal.
fn ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_ascii_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    (fields.iter().sum(), fields.get(7).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_and_this_machine_are_read() {
        assert!(resident(std::process::id()).unwrap() > 1 << 20);
        assert_eq!(resident(u32::MAX), None);
        assert!((0.0..=1.0).contains(&Steal::start().share()) && load_average() >= 0.0);
    }
}
