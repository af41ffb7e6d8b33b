//! API keys, known by their SHA-256 digests alone.
//!
//! A key comes as `Authorization: Bearer <key>` (RFC 6750) or `X-Api-Key: <key>`; two that differ are refused. Whatever
//! comes, one digest is made and looked up once. Time tells nothing about the keys: a look-up compares digests, and
//! nobody can choose a digest. Never keeps, prints or logs a key.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::chain::Verdict;
use super::principal::Principal;
use crate::config::{Client, Key};
use crate::event::ClientId;

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The client that keys without one stand for: those of [`Keys::from_list`]. No configured name starts with `_`.
pub const ADMIN: &str = "_admin";

/// Hashed where no key came, so that the work is the same. As long as a key of `klamm keys new`.
const NO_KEY: [u8; 64] = [0; 64];

/// SHA-256 of a whole key: what the config holds of it.
pub fn digest(key: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[derive(Debug)]
struct Entry {
    holder: Principal,
    expires: Option<OffsetDateTime>,
    /// When it last proved who sends, in seconds since the epoch; 0 is never.
    used: AtomicU64,
}

impl Entry {
    fn is_good(&self, now: OffsetDateTime) -> bool {
        self.expires.is_none_or(|at| now < at)
    }

    fn use_at(&self, now: OffsetDateTime) {
        let now = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        // Written once a second: the line is shared by all threads.
        if self.used.load(Relaxed) < now {
            self.used.fetch_max(now, Relaxed);
        }
    }
}

/// The digest of the key that `headers` show; `None` where they show none. Two that differ make a digest that no key has.
pub fn shown(headers: &HeaderMap) -> Option<[u8; 32]> {
    match Offer::of(headers) {
        Offer::Nothing => None,
        offer @ (Offer::One(_) | Offer::Contradiction) => Some(digest(offer.bytes())),
    }
}

/// Keys by digest, each with who holds it.
#[derive(Default)]
pub struct Keys {
    by_digest: HashMap<[u8; 32], Entry, RandomState>,
}

/// Digests stay out of logs: a weak key could be guessed from its digest.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.by_digest.len()).finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys of all clients.
    pub fn of_clients(clients: &BTreeMap<String, Client>) -> Self {
        let mut keys = Self::default();
        for (name, client) in clients {
            keys.add(&ClientId::from(name.as_str()), &client.keys);
        }
        keys
    }

    /// Keys that belong to no client, as those of the admin listener: they stand for [`ADMIN`].
    pub fn from_list(list: &[Key]) -> Self {
        let mut keys = Self::default();
        keys.add(&ClientId::from(ADMIN), list);
        keys
    }

    /// Of two equal digests the first stays, and what is no digest is left out; the config's validation refuses both.
    fn add(&mut self, client: &ClientId, list: &[Key]) {
        for key in list {
            let mut digest = [0; 32];
            if hex::decode_to_slice(key.sha256.trim(), &mut digest).is_ok() {
                let holder = Principal { client: client.clone(), label: Arc::from(key.label.as_str()) };
                self.by_digest.entry(digest).or_insert_with(|| Entry {
                    holder,
                    expires: key.expires,
                    used: AtomicU64::new(0),
                });
            }
        }
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Whether there is a key of this `digest`, and it is good at `now`.
    pub fn has(&self, digest: &[u8; 32], now: OffsetDateTime) -> bool {
        self.by_digest.get(digest).is_some_and(|entry| entry.is_good(now))
    }

    /// When each key of `client` that was ever used last was, by its label, in seconds since the epoch.
    pub fn uses(&self, client: &str) -> BTreeMap<Arc<str>, u64> {
        let of_client = self.by_digest.values().filter(|entry| entry.holder.client.as_str() == client);
        let uses = of_client.map(|entry| (Arc::clone(&entry.holder.label), entry.used.load(Relaxed)));
        uses.filter(|(_, used)| *used > 0).collect()
    }

    /// Takes over from the keys before a reload when each was last used.
    pub fn remember(&self, before: &Self) {
        for (digest, entry) in &self.by_digest {
            if let Some(old) = before.by_digest.get(digest) {
                entry.used.fetch_max(old.used.load(Relaxed), Relaxed);
            }
        }
    }

    /// Who holds the key in `headers`, if there is one and it is good at `now`.
    pub fn verdict(&self, headers: &HeaderMap, now: OffsetDateTime) -> Verdict {
        let offer = Offer::of(headers);
        // Before anything is decided, so that every way takes the same steps.
        let entry = self.by_digest.get(&digest(offer.bytes()));
        match (offer, entry) {
            (Offer::Nothing, _) => Verdict::Absent,
            (Offer::One(_), Some(entry)) if entry.is_good(now) => {
                entry.use_at(now);
                Verdict::Proven(entry.holder.clone())
            }
            (Offer::One(_) | Offer::Contradiction, _) => Verdict::Refused,
        }
    }
}

/// The keys that a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer<'a> {
    Nothing,
    One(&'a [u8]),
    Contradiction,
}

impl<'a> Offer<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
        let plain = headers.get_all(&X_API_KEY).iter().map(|value| value.as_bytes().trim_ascii());
        let mut keys = bearers.chain(plain).filter(|key| !key.is_empty());
        let Some(first) = keys.next() else { return Offer::Nothing };
        if keys.all(|key| key == first) { Offer::One(first) } else { Offer::Contradiction }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Offer::One(key) => key,
            Offer::Nothing | Offer::Contradiction => &NO_KEY,
        }
    }
}

/// The token of a value of `Authorization`; `None` for other schemes. A scheme's case means nothing (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.trim_ascii_start().split_at_checked("bearer".len())?;
    (scheme.eq_ignore_ascii_case(b"bearer") && token.first() == Some(&b' ')).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests;
