//! A configuration before it has types: a tree in which every value knows where it was written.
//!
//! Scalars stay the text they were written as, so that `label: 2026` is no number and a digest of digits no float.

use super::fault::{Origin, Path, Step};

/// A value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where it was written; none for what no source gave.
    pub(super) at: Option<Origin>,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Taken out because it is faulty: readers pass over it, the indices of its neighbours stay.
    Gone,
    /// Nothing, or `null`.
    Null,
    /// A scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written, its keys distinct.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key was written.
    pub(super) at: Option<Origin>,
    pub(super) value: Node,
}

impl Entry {
    /// Where to point a reader: at a scalar itself, else at its key.
    pub(super) fn place(&self) -> Option<&Origin> {
        match self.value.kind {
            Kind::Text(_) => self.value.at.as_ref(),
            Kind::Gone | Kind::Null | Kind::List(_) | Kind::Map(_) => self.at.as_ref(),
        }
    }
}

impl Node {
    /// A mapping with nothing in it.
    pub(super) fn empty() -> Self {
        Self { at: None, kind: Kind::Map(Vec::new()) }
    }

    /// The entries of a mapping; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Gone | Kind::Null | Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// The entries of a mapping, to change them.
    pub(super) fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Gone | Kind::Null | Kind::Text(_) | Kind::List(_) => None,
        }
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// How many values it is, itself included.
    pub(super) fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Gone | Kind::Null | Kind::Text(_) => 0,
            Kind::List(items) => items.iter().map(Node::count).sum(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
        }
    }

    /// Lays `over` on top: mappings merge key by key, all else is replaced.
    pub(super) fn merge(&mut self, over: Node) {
        match (&mut self.kind, over.kind) {
            (Kind::Map(below), Kind::Map(above)) => {
                for entry in above {
                    match below.iter_mut().find(|e| e.key == entry.key) {
                        Some(old) => old.merge(entry),
                        None => below.push(entry),
                    }
                }
                self.at = self.at.take().or(over.at);
            }
            // An empty file or section takes nothing away.
            (Kind::Map(_), Kind::Null) => {}
            (_, kind) => *self = Node { at: over.at, kind },
        }
    }

    /// Where `path` was written, or the deepest part of it that was.
    pub(super) fn place(&self, path: &Path) -> Option<Origin> {
        let mut node = self;
        let mut at = self.at.as_ref();
        for step in path.steps() {
            match (step, &node.kind) {
                (Step::Key(key), Kind::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *key) else { break };
                    (node, at) = (&entry.value, entry.place());
                }
                (Step::Index(index), Kind::List(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    (node, at) = (item, item.at.as_ref());
                }
                (Step::Key(_) | Step::Index(_), _) => break,
            }
        }
        at.cloned()
    }

    /// Takes the value at `path` out. False where there is none, or none any more.
    pub(super) fn bury(&mut self, path: &Path) -> bool {
        let mut node = self;
        for step in path.steps() {
            let below = match (step, &mut node.kind) {
                (Step::Key(key), Kind::Map(entries)) => {
                    entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
                }
                (Step::Index(index), Kind::List(items)) => items.get_mut(*index),
                (Step::Key(_) | Step::Index(_), _) => None,
            };
            let Some(below) = below else { return false };
            node = below;
        }
        let was_there = !matches!(node.kind, Kind::Gone);
        node.kind = Kind::Gone;
        was_there
    }
}

impl Entry {
    fn merge(&mut self, over: Entry) {
        if !matches!((&self.value.kind, &over.value.kind), (Kind::Map(_), Kind::Map(_) | Kind::Null)) {
            self.at = over.at;
        }
        self.value.merge(over.value);
    }
}
