//! Who may ask: keys, sessions of the live page, and what becomes of those who guess.
//!
//! A session stands for the key that it was opened with: it ends after [`SESSION`], by log-out, and with the key. Nothing
//! here keeps a key or a session's token, only digests. Bounded in sessions and in peers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::stages::auth::api_key::{self, Keys};
use crate::units::mask_v6;

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 3600);
/// Sessions at the same time; over it the oldest ends.
const SESSIONS: usize = 1000;
/// Wrong keys of one peer within [`WINDOW`].
const TRIES: u32 = 10;
/// In which they are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Peers that are told apart; those beyond share one count.
const PEERS: usize = 10_000;
/// One IPv6 customer has at least a /64.
const V6_PREFIX: u8 = 64;

/// SHA-256 of a key or a token.
type Digest = [u8; 32];

/// By what right a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// None was needed.
    Open,
    /// The key of this digest.
    Key(Digest),
    /// The session whose token has this digest.
    Session(Digest),
}

/// The sessions and the wrong tries.
#[derive(Debug, Default)]
pub struct Access {
    // std Mutex: held for look-ups, never across an await.
    sessions: Mutex<HashMap<Digest, Session>>,
    tries: Mutex<HashMap<Option<IpAddr>, Tries>>,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    /// The digest of the key that it stands for.
    key: Digest,
    until: OffsetDateTime,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    since: Instant,
    wrong: u32,
}

impl Access {
    /// Opens a session for the key of digest `key`, whose token is the digest's preimage.
    pub(super) fn open(&self, token: &str, key: Digest, now: OffsetDateTime) {
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.until > now);
        if sessions.len() >= SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.until).map(|(token, _)| *token)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(api_key::digest(token), Session { key, until: now + SESSION });
    }

    /// The session of `token`, if there is one and its key is still one of `keys`.
    pub(super) fn session(&self, token: &str, keys: &Keys, now: OffsetDateTime) -> Option<Pass> {
        let pass = Pass::Session(api_key::digest(token));
        self.still(pass, keys, now).then_some(pass)
    }

    /// Ends the session of `token`.
    pub(super) fn close(&self, token: &str) {
        self.sessions().remove(&api_key::digest(token));
    }

    /// Whether `pass` would be let through at `now`. What needed no key stays so: a key that is configured later asks new
    /// requests alone.
    pub(super) fn still(&self, pass: Pass, keys: &Keys, now: OffsetDateTime) -> bool {
        match pass {
            Pass::Open => true,
            Pass::Key(key) => keys.has(&key, now),
            Pass::Session(token) => {
                let mut sessions = self.sessions();
                let good =
                    sessions.get(&token).is_some_and(|session| session.until > now && keys.has(&session.key, now));
                if !good {
                    sessions.remove(&token);
                }
                good
            }
        }
    }

    /// Whether `peer` may try a key at `now`.
    ///
    /// # Errors
    /// How long it must wait.
    pub(super) fn may_try(&self, peer: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let tries = self.tries();
        match tries.get(&place(&tries, peer)) {
            Some(Tries { since, wrong }) if *wrong >= TRIES => match (*since + WINDOW).checked_duration_since(now) {
                Some(wait) if !wait.is_zero() => Err(wait),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Counts a wrong try of `peer`.
    pub(super) fn wrong(&self, peer: Option<IpAddr>, now: Instant) {
        let mut tries = self.tries();
        if tries.len() >= PEERS {
            tries.retain(|_, of| now.duration_since(of.since) < WINDOW);
        }
        let place = place(&tries, peer);
        let fresh = Tries { since: now, wrong: 0 };
        let row = tries.entry(place).or_insert(fresh);
        if now.duration_since(row.since) >= WINDOW {
            *row = fresh;
        }
        row.wrong += 1;
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tries(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, Tries>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where `peer` is counted: `None` is unix sockets, and whoever comes when the table is full.
fn place(tries: &HashMap<Option<IpAddr>, Tries>, peer: Option<IpAddr>) -> Option<IpAddr> {
    let peer = peer.map(|peer| match peer {
        IpAddr::V6(address) => mask_v6(address, V6_PREFIX).into(),
        IpAddr::V4(_) => peer,
    });
    peer.filter(|_| tries.len() < PEERS || tries.contains_key(&peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Key;

    fn keys(text: &str) -> Keys {
        let sha256 = hex::encode(api_key::digest(text));
        Keys::from_list(&[Key { label: "ops".into(), sha256, ..Key::default() }])
    }

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    #[test]
    fn a_session_ends_by_time_by_log_out_and_with_its_key() {
        let (access, sesame) = (Access::default(), keys("sesame"));
        access.open("token", api_key::digest("sesame"), NOW);
        assert!(access.session("other", &sesame, NOW).is_none());
        let almost = NOW + SESSION - Duration::from_secs(1);
        let pass = access.session("token", &sesame, almost).unwrap();
        assert!(access.still(pass, &sesame, almost) && !access.still(pass, &sesame, NOW + SESSION));
        access.open("token", api_key::digest("sesame"), NOW);
        assert!(access.session("token", &keys("changed"), NOW).is_none());
        assert!(access.session("token", &sesame, NOW).is_none(), "it does not come back with the key");
        access.open("token", api_key::digest("sesame"), NOW);
        access.close("token");
        assert!(!access.still(pass, &sesame, NOW));
        assert!(access.still(Pass::Key(api_key::digest("sesame")), &sesame, NOW));
        assert!(!access.still(Pass::Key(api_key::digest("sesame")), &keys("changed"), NOW));
    }

    #[test]
    fn the_oldest_of_too_many_sessions_ends() {
        let (access, sesame) = (Access::default(), keys("sesame"));
        for n in 0..=SESSIONS {
            access.open(&n.to_string(), api_key::digest("sesame"), NOW + Duration::from_secs(n as u64));
        }
        let now = NOW + Duration::from_secs(SESSIONS as u64);
        assert!(access.session("0", &sesame, now).is_none());
        assert!(access.session("1", &sesame, now).is_some());
    }

    #[test]
    fn the_eleventh_wrong_try_within_a_minute_waits_and_other_peers_do_not() {
        let (access, now) = (Access::default(), Instant::now());
        let peer = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for _ in 0..TRIES {
            assert_eq!(access.may_try(peer("10.0.0.1"), now), Ok(()));
            access.wrong(peer("10.0.0.1"), now);
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(access.may_try(peer("10.0.0.1"), later), Err(Duration::from_secs(40)));
        assert_eq!(access.may_try(peer("10.0.0.2"), later), Ok(()));
        assert_eq!(access.may_try(peer("10.0.0.1"), now + WINDOW), Ok(()));
        access.wrong(peer("10.0.0.1"), now + WINDOW);
        assert_eq!(access.may_try(peer("10.0.0.1"), now + WINDOW), Ok(()));
        for _ in 0..TRIES {
            access.wrong(peer("2001:db8::1"), now);
        }
        assert!(access.may_try(peer("2001:db8::ffff"), now).is_err(), "one /64 is one peer");
    }

    #[test]
    fn peers_beyond_the_table_share_a_count() {
        let (access, now) = (Access::default(), Instant::now());
        for n in 0..PEERS as u32 + TRIES {
            access.wrong(Some(IpAddr::V4(n.into())), now);
        }
        assert_eq!(access.tries().len(), PEERS + 1);
        assert!(access.may_try(Some(IpAddr::V4((PEERS as u32 + 50).into())), now).is_err());
        assert!(access.may_try(Some(IpAddr::V4(0.into())), now).is_ok());
    }
}
