//! The file that the log goes on in, made ahead: to allocate one takes the disk long enough that whoever waits for an
//! acknowledgement in that moment would notice.
//!
//! The keeper makes it, under a name that the next start removes; the writer gives it a header and its name. What it
//! takes is within the room that is left: the index counts it once it is in use.

use std::io;
use std::sync::Arc;

use super::disk::{Blob, is_full};
use super::store::{Store, lock};

/// The file ahead.
#[derive(Default)]
pub(super) enum Spare {
    /// There is none, and so far no file has become full.
    #[default]
    Unwanted,
    Wanted,
    Ready(Ahead),
}

/// A file of zeros, allocated and synced.
pub(super) struct Ahead {
    pub name: String,
    pub file: Arc<dyn Blob>,
    size: u64,
}

impl Store {
    /// Makes the file, if it is wanted and there is room. A full disk is for the writer to say.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let size = self.settings.segment;
        if !matches!(*lock(&self.spare), Spare::Wanted) || !self.index().may_grow(size) {
            return Ok(());
        }
        let name = format!("{:016x}.tmp", self.salt());
        let made = self.disk.create(&name, size).and_then(|file| file.sync().map(|()| file));
        let mut spare = lock(&self.spare);
        match made {
            Ok(file) if matches!(*spare, Spare::Wanted) => {
                *spare = Spare::Ready(Ahead { name, file, size });
                self.index().spare = size;
                Ok(())
            }
            made => {
                drop(spare);
                let _ = self.disk.remove(&name);
                made.map(drop).or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })
            }
        }
    }

    /// From here on one is wanted.
    pub(super) fn want_spare(&self) {
        let mut spare = lock(&self.spare);
        if matches!(*spare, Spare::Unwanted) {
            *spare = Spare::Wanted;
        }
    }

    /// The file, if it is there and of `size`; one of another size is removed.
    pub(super) fn take_spare(&self, size: u64) -> Option<Ahead> {
        let mut spare = lock(&self.spare);
        let Spare::Ready(_) = *spare else { return None };
        let Spare::Ready(ahead) = std::mem::replace(&mut *spare, Spare::Wanted) else { return None };
        self.index().spare = 0;
        drop(spare);
        if ahead.size == size {
            return Some(ahead);
        }
        let _ = self.disk.remove(&ahead.name);
        None
    }

    /// Removes the file; none is made any more.
    pub(super) fn drop_spare(&self) {
        if let Spare::Ready(ahead) = std::mem::take(&mut *lock(&self.spare)) {
            self.index().spare = 0;
            let _ = self.disk.remove(&ahead.name);
        }
    }
}
