//! What is done to the gateway's spool: its disk runs full, its syncs fail, its bits flip.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::dice::Dice;
use super::event::id_in;
use crate::support::child::{self, Process};
use crate::support::disk::Disk;
use crate::support::scratch;

/// The thread that writes it.
const WRITER: &str = "klamm-spool";
/// Of the disk and of the spool on it, in MiB.
const DISK: u64 = 256;
const TOTAL: u64 = 160;
const FILLED_AGAIN: Duration = Duration::from_millis(100);

/// Where the spool lies; on a disk of its own where one can be mounted.
pub(super) enum Home {
    Disk(Disk),
    Folder(TempDir),
}

impl Home {
    pub(super) fn new() -> Self {
        Disk::small(DISK).map_or_else(|| Self::Folder(scratch::dir("spool")), Self::Disk)
    }

    pub(super) fn dir(&self) -> PathBuf {
        let root = match self {
            Self::Disk(disk) => disk.path(),
            Self::Folder(dir) => dir.path(),
        };
        root.join("spool")
    }

    /// The section of the config.
    pub(super) fn config(&self) -> String {
        // Small files, so that one is full soon, and the next has to find room.
        format!(
            "spool: {{ dir: \"{}\", total: {TOTAL}MiB, segment: 1MiB, client_share: 100%, topic_share: 100% }}",
            self.dir().display()
        )
    }

    /// No room for so long: for real on a disk of its own, else `pid` is told so.
    pub(super) fn without_room(&self, pid: u32, hold: Duration) {
        match self {
            Self::Disk(disk) => {
                let start = Instant::now();
                while start.elapsed() < hold {
                    // Again and again: files that are no longer needed give their room back.
                    disk.fill();
                    thread::sleep(FILLED_AGAIN);
                }
                disk.free();
            }
            Self::Folder(_) => failing(pid, "fallocate,pwrite64", "ENOSPC", hold),
        }
    }

    /// No sync works for so long.
    pub(super) fn without_sync(pid: u32, hold: Duration) {
        failing(pid, "fdatasync", "EIO", hold);
    }

    /// Flips one bit in each of up to three records; the requests whose events these hold. For a spool that no gateway
    /// has open.
    pub(super) fn flip_bits(&self, dice: &mut Dice) -> HashSet<u64> {
        (0..3).filter_map(|_| self.flip_a_bit(dice)).collect()
    }

    /// In an event, in some file. A record on disk holds the events of one request.
    fn flip_a_bit(&self, dice: &mut Dice) -> Option<u64> {
        let files = fs::read_dir(self.dir()).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
        files.sort();
        for path in dice.shuffled(files) {
            let bytes = fs::read(&path).ok()?;
            let places: Vec<_> = memchr::memmem::find_iter(&bytes, b"{\"id\":\"").collect();
            if !places.is_empty() {
                let at = places[dice.below(places.len() as u64) as usize];
                let id = id_in(&bytes[at..])?;
                let file = File::options().write(true).open(&path).ok()?;
                file.write_all_at(&[bytes[at] ^ (1 << dice.below(8))], at as u64).ok()?;
                return Some(id.request);
            }
        }
        None
    }
}

/// These calls of the spool's writer fail for so long.
fn failing(pid: u32, calls: &str, error: &str, hold: Duration) {
    let thread = thread_of(pid, WRITER).unwrap_or_else(|| panic!("the gateway has no thread {WRITER}"));
    let mut command = child::command("strace");
    command.args(["-q", "-o", "/dev/null", "-p", &thread.to_string(), "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:error={error}")]);
    let mut strace = Process::start(command);
    thread::sleep(hold);
    // It lets go of the thread, which goes on.
    if strace.ended().is_none() {
        strace.signal(Signal::INT);
    }
    strace.ended_within(Duration::from_secs(10)).expect("strace ends");
}

fn thread_of(pid: u32, name: &str) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let is_it = |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let mut tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    tasks.find(|task| is_it(task))?.file_name()?.to_str()?.parse().ok()
}
