//! What was admitted and waits for the writer.

use tokio::sync::oneshot;

use super::{Index, padded};
use crate::stages::spool::format::Head;
use crate::stages::spool::{Key, Refusal};

/// An entry that waits for the writer.
pub(in super::super) struct Pending {
    pub stream: u32,
    pub record: Vec<u8>,
    pub events: u32,
    /// When it was received, in seconds since the epoch.
    pub at: u32,
    pub tell: oneshot::Sender<Result<Key, Refusal>>,
}

impl Pending {
    /// What it takes in a file.
    pub(in super::super) fn size(&self) -> u64 {
        Head::padded(self.record.len()) as u64
    }
}

/// What the writer takes from the queue.
pub(in super::super) enum Group {
    Empty,
    /// The first that waits does not fit into the file.
    Rotate(u64),
    Take(Vec<Pending>),
}

impl Index {
    /// Queues an entry that was admitted.
    pub(in super::super) fn push(&mut self, pending: Pending) {
        self.queued += pending.size();
        self.count(pending.stream, pending.events, padded(pending.record.len() as u32));
        self.queue.push_back(pending);
    }

    /// Takes what waits at the head of the queue and fits into `room` bytes and `records` records, some `most` bytes.
    pub(in super::super) fn group(&mut self, room: u64, records: u32, most: u64) -> Group {
        let Some(first) = self.queue.front() else { return Group::Empty };
        if first.size() > room || records == 0 {
            return Group::Rotate(first.size());
        }
        let (mut bytes, mut count) = (0, 0);
        for pending in self.queue.iter().take(records as usize) {
            if bytes + pending.size() > room || (count > 0 && bytes + pending.size() > most) {
                break;
            }
            bytes += pending.size();
            count += 1;
        }
        Group::Take(self.queue.drain(..count).collect())
    }

    /// Undoes [`push`](Self::push) of an entry that was taken from the queue.
    pub(in super::super) fn refused(&mut self, pending: &Pending) {
        self.queued = self.queued.saturating_sub(pending.size());
        self.discount(pending.stream, pending.events, padded(pending.record.len() as u32));
    }

    /// Takes everything out of the queue.
    pub(in super::super) fn empty_queue(&mut self) -> Vec<Pending> {
        let queue: Vec<_> = self.queue.drain(..).collect();
        queue.iter().for_each(|pending| self.refused(pending));
        queue
    }
}
