//! What lies in the directory, before any of it is taken over: which files count, and what is known of where they end.
//!
//! A file of which both copies of the header are damaged is read by its name, which has the base, the generation and the
//! salt too: as each record's CRC is taken over the salt, a wrong name finds nothing rather than something else. What the
//! header alone says, where the file before it ends and how far a copy reaches, is then taken so that rather too much
//! is counted as lost than too little, and rather sent twice than not at all.

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::disk::{Blob, Disk};
use super::format::{Head, Header, Parsed, Sealed};
use super::scan::{self, Scanned};
use super::segment::{Name, named};

/// A file of the log that was found.
pub(super) struct File {
    pub name: Name,
    pub path: String,
    pub file: Arc<dyn Blob>,
    pub header: Header,
    /// Neither copy of its header can be read: `header` is what its name says.
    pub is_headless: bool,
}

/// What lies in a directory.
pub(super) struct Listing {
    /// In the order of their entries.
    pub files: Vec<File>,
    /// What newer files were made of, and what the checkpoint says is finished: to be removed.
    pub stale: Vec<String>,
    /// Files that were being made when a crash came: to be removed.
    pub blank: Vec<String>,
    /// Files of which nothing can be read, with what they would be called.
    pub unreadable: Vec<String>,
    /// Damaged files that are out of use.
    pub bad: Vec<String>,
    /// The bases of the files whose header cannot be read, ascending.
    pub headless: Vec<u64>,
    pub checkpoint: Checkpoint,
}

/// Looks through the directory. Changes nothing.
///
/// # Errors
///
/// When the directory cannot be read, or holds what a newer klamm wrote.
pub(super) fn list(disk: &dyn Disk) -> io::Result<Listing> {
    let checkpoint = Checkpoint::read(disk);
    let mut names = disk.list()?;
    names.sort();
    let mut listing = Listing {
        files: Vec::new(),
        stale: Vec::new(),
        blank: Vec::new(),
        unreadable: Vec::new(),
        bad: Vec::new(),
        headless: Vec::new(),
        checkpoint,
    };
    for path in names {
        match Name::of(&path) {
            _ if path.ends_with(".tmp") => listing.stale.push(path),
            None => {}
            Some((Name::Bad, _)) => listing.bad.push(path),
            Some((name, _)) => look(disk, name, path, &mut listing)?,
        }
    }
    listing.files.sort_by_key(|file| (file.header.base, Reverse(file.header.generation)));
    let mut end = 0;
    let mut files: Vec<File> = Vec::new();
    for file in listing.files {
        let finished = listing.checkpoint.finished.contains(&file.header.salt);
        let replaced = file.header.base < end;
        if (finished && file.name == Name::Log) || replaced {
            listing.stale.push(file.path);
            continue;
        }
        end = end.max(file.header.end);
        files.push(file);
    }
    let unreadable = listing.unreadable.iter().filter_map(|path| named(Name::of(path)?.1)).map(|header| header.base);
    listing.headless =
        files.iter().filter(|file| file.is_headless).map(|file| file.header.base).chain(unreadable).collect();
    listing.headless.sort_unstable();
    listing.files = files;
    Ok(listing)
}

fn look(disk: &dyn Disk, name: Name, path: String, listing: &mut Listing) -> io::Result<()> {
    let opened = disk.open(&path);
    let file = match opened {
        Ok(file) => file,
        // Beside a running klamm files go.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        Err(_) => {
            listing.unreadable.push(path);
            return Ok(());
        }
    };
    match scan::header(&*file) {
        Ok(Parsed::Good(header)) => listing.files.push(File { name, path, file, header, is_headless: false }),
        Ok(Parsed::Newer(version)) => {
            let message = format!("{path} has format {version}: it was written by a newer klamm");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(Parsed::Bad) if scan::is_blank(&*file).unwrap_or(false) => listing.blank.push(path),
        Ok(Parsed::Bad) | Err(_) => match by_name(&path, &*file) {
            Some(header) => listing.files.push(File { name, path, file, header, is_headless: true }),
            None => listing.unreadable.push(path),
        },
    }
    Ok(())
}

/// The header of a file from its name; `None` where that says nothing of it.
fn by_name(path: &str, file: &dyn Blob) -> Option<Header> {
    let mut header = named(Name::of(path)?.1)?;
    if header.generation > 0 {
        // It stands for what can be read in it: whether older files held more that was done is not known.
        let mut last = None;
        scan::records(file, &header, None, |head, _, _| last = Some(head.seq)).ok()?;
        header.end = last? + 1;
    }
    Some(header)
}

impl Listing {
    /// What is known of the end of a file, and whether it surely ends there.
    pub(super) fn known(&self, file: &File) -> Option<(Sealed, bool)> {
        let salt = file.header.salt;
        if let Some(next) = self.files.iter().find(|next| next.header.before.salt == salt) {
            return Some((next.header.before, true));
        }
        self.checkpoint.of(salt).map(|seen| (seen.sealed, seen.ends))
    }

    /// Reads a file, as [`scan::records`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub(super) fn scan(
        &self,
        file: &File,
        known: Option<(Sealed, bool)>,
        visit: impl FnMut(&Head, u32, &[u8]),
    ) -> io::Result<Scanned> {
        let mut scanned = scan::records(&*file.file, &file.header, known, visit)?;
        if known.is_none_or(|(_, ends)| !ends)
            && let Some(records) = self.records_at_most(file)
        {
            scan::suspect(&*file.file, &mut scanned, records)?;
        }
        Ok(scanned)
    }

    /// How many records a file has at most, where what is unreadable at its end may be damage for all that is known: a
    /// header that would tell is lost, or the file is a copy, which was synced as a whole.
    fn records_at_most(&self, file: &File) -> Option<u32> {
        let Header { base, generation, end, .. } = file.header;
        let behind = self.files.iter().map(|other| other.header.base).chain(self.headless.iter().copied());
        let next = behind.filter(|other| *other > base).min();
        let is_lost = |base: u64| self.headless.binary_search(&base).is_ok();
        if generation == 0 && !file.is_headless && !next.is_some_and(is_lost) {
            return None;
        }
        // No number is given twice, and one is left out between two files.
        let most = match next {
            Some(next) => next - base - 1,
            None if generation > 0 && !file.is_headless => end.saturating_sub(base),
            None => u64::MAX,
        };
        Some(u32::try_from(most).unwrap_or(u32::MAX))
    }

    /// The events that are lost with a file of which nothing can be read, as far as the next file and the checkpoint say.
    pub(super) fn lost_with(&self, path: &str) -> u64 {
        let Some(salt) = Name::of(path).and_then(|(_, stem)| u64::from_str_radix(stem.rsplit('-').next()?, 16).ok())
        else {
            return 0;
        };
        if self.checkpoint.finished.contains(&salt) {
            return 0;
        }
        let next = self.files.iter().map(|file| file.header.before).find(|before| before.salt == salt);
        let seen = self.checkpoint.of(salt);
        let Some(known) = next.or_else(|| seen.map(|seen| seen.sealed)) else { return 0 };
        let done = seen.map_or(0, |seen| seen.done.count());
        if done >= known.records { 0 } else { known.events.into() }
    }
}
