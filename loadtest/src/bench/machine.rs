//! The machine: its cores, and how busy it was with other things in each round: figures of a busy one are worth less.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
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

/// The cores in two halves: one for what is measured, one for load and broker, so that a load beyond all bounds takes
/// nothing away from what it is put on. Threads and processes keep to the half of the thread that starts them: from its
/// making until its drop the other half, but for what [`Halves::measured`] starts.
pub(super) struct Halves {
    all: CpuSet,
    measured: CpuSet,
    rest: CpuSet,
}

impl Halves {
    /// # Errors
    /// With one core, or where the kernel lets no thread choose.
    pub(super) fn part() -> Result<Self> {
        let all = sched_getaffinity(None).context("the cores of this process")?;
        ensure!(all.count() > 1, "one core cannot be halved");
        let (mut measured, mut rest) = (CpuSet::new(), CpuSet::new());
        for (nth, core) in (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).enumerate() {
            if nth % 2 == 0 { &mut rest } else { &mut measured }.set(core);
        }
        let halves = Self { all, measured, rest };
        move_to(&halves.rest)?;
        Ok(halves)
    }

    /// What `start` starts runs on the measured half.
    ///
    /// # Errors
    /// Those of `start`, and where the thread cannot be moved.
    pub(super) fn measured<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        move_to(&self.measured)?;
        let started = start();
        move_to(&self.rest)?;
        started
    }

    /// How many cores what is measured has, and how many the rest.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.measured.count(), self.rest.count())
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        // It was permitted before; threads and processes of the halves stay there.
        let _ = move_to(&self.all);
    }
}

/// Keeps the calling thread, and what it starts, to these cores.
fn move_to(cores: &CpuSet) -> Result<()> {
    sched_setaffinity(None, cores).context("choose the cores of a thread")
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

    #[test]
    fn what_is_measured_and_the_rest_share_no_core_and_a_thread_gets_its_own_back() {
        let here = || sched_getaffinity(None).unwrap();
        let all = here();
        if all.count() < 2 {
            assert!(Halves::part().is_err());
            return;
        }
        let halves = Halves::part().unwrap();
        let rest = std::thread::spawn(here).join().unwrap();
        let measured = halves.measured(|| Ok(std::thread::spawn(here).join().unwrap())).unwrap();
        assert!((0..CpuSet::MAX_CPU).all(|core| !(rest.is_set(core) && measured.is_set(core))));
        assert_eq!((measured.count(), rest.count()), halves.counts());
        assert_eq!(measured.count() + rest.count(), all.count());
        assert!(here() == rest, "back after the start");
        drop(halves);
        assert!(here() == all);
    }
}
