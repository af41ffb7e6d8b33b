//! Directories for the tests, under `target/tmp`.
//!
//! Owns their names: `<pid>-<what>-<random>`. A directory of a process that is gone is removed by the next run, since
//! statics (the shared Kafka) are never dropped.

use std::fs;
use std::path::Path;
use std::sync::Once;

use tempfile::TempDir;

/// A new directory, removed when dropped.
pub(crate) fn dir(what: &str) -> TempDir {
    static SWEPT: Once = Once::new();
    // As the kernel calls it: mounts are found by their path.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).canonicalize().expect("target/tmp");
    SWEPT.call_once(|| sweep(&root));
    let prefix = format!("{}-{what}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(root).expect("a directory under target/tmp")
}

/// Removes what earlier runs left. Faults are ignored: another run may be sweeping too.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
