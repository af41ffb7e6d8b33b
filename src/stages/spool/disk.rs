//! The file system under the spool: one flat directory. A trait, so that tests can take its promises away.
//!
//! What is relied on, and nothing else: what was written is there after [`Blob::sync`] returned `Ok`; a name is there (or
//! gone, or moved) after [`Disk::sync`] returned `Ok`; a rename is seen wholly or not at all. After a failed sync of a
//! file nothing is known of what was written to it since the last good one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};

/// One open file.
pub(super) trait Blob: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to the length of `bytes`; how many there were. Less than asked for is the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// fdatasync.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file, or makes it longer by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
}

/// One directory.
pub(super) trait Disk: Send + Sync {
    /// Makes a file that is not there yet, with `size` bytes of zeros allocated to it.
    ///
    /// # Errors
    ///
    /// `StorageFull` or `QuotaExceeded` where there is no room. The file may be left behind.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn Blob>>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>>;
    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Renames a file, over another one too.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// fsync of the directory.
    fn sync(&self) -> io::Result<()>;
}

/// Whether `error` says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A real directory.
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
    write: bool,
}

impl Directory {
    /// Opens `path`, and makes it with its parents where it is missing: mode 0700, synced into their parents.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        let missing: Vec<_> =
            path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
        for part in missing.into_iter().rev() {
            match DirBuilder::new().mode(0o700).create(part) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let parent =
                part.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { handle: File::open(path)?, path: path.to_owned(), write: true })
    }

    /// Opens `path` to read its files.
    pub(super) fn look(path: &Path) -> io::Result<Self> {
        Ok(Self { handle: File::open(path)?, path: path.to_owned(), write: false })
    }

    /// Takes the lock file; `None` while somebody else has it. The lock lives as long as what is returned.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether somebody has the lock. Takes it for a moment, if it may.
    pub(super) fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.path.join(LOCK)) else { return false };
        matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }
}

/// The file that is locked by whoever writes to the directory.
pub(super) const LOCK: &str = "lock";

impl Disk for Directory {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn Blob>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, size) {
            // Not every file system can allocate ahead. There a full disk shows when it is written to.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(size)?,
            done => done?,
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>> {
        let file = OpenOptions::new().read(true).write(self.write).open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl Blob for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let asked = bytes.len();
        while !bytes.is_empty() {
            match FileExt::read_at(self, bytes, offset) {
                Ok(0) => break,
                Ok(read) => {
                    bytes = bytes.get_mut(read..).unwrap_or_default();
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(asked - bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
