//! A small file system of its own, to be filled: ext4 on a file, by a loop device.
//!
//! Needs the right to mount; where that is missing there is none, and the caller finds another way. Unmounted when
//! dropped; what a killed run left is unmounted by the next.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::scratch;

pub(crate) struct Disk {
    mount: PathBuf,
    /// The image and the mount point; removed after both are out of use.
    _dir: TempDir,
}

impl Disk {
    /// One of about `mib` MiB; none where it cannot be mounted.
    pub(crate) fn small(mib: u64) -> Option<Self> {
        let dir = scratch::dir("disk");
        unmount_those_left(dir.path().parent()?);
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        fs::create_dir(&mount).ok()?;
        File::create(&image).and_then(|file| file.set_len(mib << 20)).ok()?;
        // No room reserved for root, who these tests may be.
        let made = run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        let mounted = made && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount));
        mounted.then_some(Self { mount, _dir: dir })
    }

    /// Its root.
    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    /// Takes all room that is left.
    pub(crate) fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("a file that fills");
        let mut size = 1 << 20;
        while size >= 512 {
            if filler.write_all(&vec![7; size]).is_err() {
                size /= 2;
            }
        }
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        let _ = fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a file may be open still.
        run(Command::new("umount").arg("-l").arg(&self.mount));
    }
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Mounts under `root` of processes that are gone; the names of directories begin with the process, see `scratch`.
fn unmount_those_left(root: &Path) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new) {
        let Ok(inside) = mount.strip_prefix(root) else { continue };
        let name = inside.to_string_lossy();
        let pid = name.split('-').next().and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            run(Command::new("umount").arg("-l").arg(mount));
        }
    }
}
