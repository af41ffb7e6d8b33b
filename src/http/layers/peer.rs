//! The guard per peer address, before authentication.
//!
//! A coarse rate per address by `tower_governor`, in the memory of this process. Unix sockets have none. The table of
//! addresses shrinks to the recent ones whenever [`Guard::sweep`] is called; to grow it takes a connection from each
//! address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, QuantaInstant};
use governor::middleware::NoOpMiddleware;
use http::{HeaderMap, Request};
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfigBuilder, SharedRateLimiter};
use tower_governor::key_extractor::KeyExtractor;
use tracing::error;

use crate::config::{Ingest, Listen};
use crate::reject::Reject;
use crate::stages::auth::Peer;
use crate::units::{Network, Rate, mask_v6};

/// One IPv6 customer has at least a /64.
const V6_PREFIX: u8 = 64;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[Network]>);

impl Proxies {
    /// Parses the config key `trusted_proxies`.
    ///
    /// # Errors
    /// The first entry that is no network, in words.
    pub fn parse(networks: &[String]) -> Result<Self, String> {
        networks.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Self)
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The address that a request came from: the peer's, or, where the peer is a trusted proxy, the rightmost in
    /// `X-Forwarded-For` that is not one itself. What lies left of an unreadable entry is not believed; where all
    /// are trusted it is the leftmost. `None` on unix sockets.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer.ip()?;
        let fields = headers.get_all("x-forwarded-for").iter().rev();
        let entries = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries {
            if !self.trust(client) {
                break;
            }
            let Some(before) = std::str::from_utf8(entry).ok().and_then(parse_address) else { break };
            client = before;
        }
        Some(client)
    }
}

/// An address as proxies write it: bare, in brackets, with or without a port.
fn parse_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim_matches([' ', '\t']);
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address =
        bare.parse::<IpAddr>().or_else(|_| entry.parse().map(|with_port: std::net::SocketAddr| with_port.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// What the guard counts by.
#[derive(Debug, Clone)]
struct ByAddress(Proxies);

impl ByAddress {
    fn key(&self, peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
        match self.0.client(peer?, headers)? {
            client @ IpAddr::V4(_) => Some(client),
            IpAddr::V6(address) => Some(mask_v6(address, V6_PREFIX).into()),
        }
    }
}

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let peer = request.extensions().get::<Peer>().copied();
        self.key(peer, request.headers()).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// The guard itself.
pub struct Guard {
    limiter: SharedRateLimiter<IpAddr, NoOpMiddleware<QuantaInstant>>,
    by: ByAddress,
}

impl Guard {
    /// Each address may send `peer_rate`, and the units of one period at once. `None` where there is no guard: a unix
    /// socket, or `peer_rate: off`.
    pub fn new(ingest: &Ingest, proxies: Proxies) -> Option<Arc<Self>> {
        let rate = match (&ingest.listen, ingest.peer_rate.get()) {
            (Listen::Tcp(_), Some(rate)) => rate,
            (Listen::Unix(_), _) | (Listen::Tcp(_), None) => return None,
        };
        let (every, burst) = spacing(rate);
        let by = ByAddress(proxies);
        // `spacing` never gives zero, the one thing that is refused here.
        let config =
            GovernorConfigBuilder::default().period(every).burst_size(burst).key_extractor(by.clone()).finish()?;
        Some(Arc::new(Self { limiter: Arc::clone(config.limiter()), by }))
    }

    /// Counts a request of `peer`. Called where the layer of `tower_governor` would be, which boxes a future for each.
    ///
    /// # Errors
    /// `RateLimited` with the time until one more is let through.
    pub fn check(&self, peer: Option<Peer>, headers: &HeaderMap) -> Result<(), Reject> {
        let Some(address) = self.by.key(peer, headers) else {
            error!("a request without a peer address reached the guard per peer");
            return Err(Reject::Internal);
        };
        self.limiter.check_key(&address).map_err(|refused| {
            let retry_after = refused.wait_time_from(self.limiter.clock().now());
            Reject::RateLimited { violated: Vec::new(), retry_after }
        })
    }

    /// Forgets addresses that have their whole allowance again. To be called every few seconds. Returns how many are
    /// left.
    pub fn sweep(&self) -> usize {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.limiter.len()
    }
}

/// The time between two requests at `rate`, and how many may come at once.
fn spacing(rate: Rate) -> (Duration, u32) {
    let nanos = rate.period().as_nanos() / u128::from(rate.units().get());
    let every = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).max(1));
    (every, u32::try_from(rate.units().get()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<_> = trusted.iter().map(|&text| text.to_owned()).collect();
        let mut headers = HeaderMap::new();
        for field in forwarded {
            headers.append("x-forwarded-for", field.parse().unwrap());
        }
        let peer = Peer::Tcp(peer.parse().unwrap());
        Proxies::parse(&trusted).unwrap().client(peer, &headers).unwrap().to_string()
    }

    #[test]
    fn forwarded_addresses_of_untrusted_peers_are_not_believed() {
        assert_eq!(client(&[], "10.0.0.1:1", &["203.0.113.9"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1:1", &["203.0.113.9"]), "192.0.2.1");
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let trusted = &["10.0.0.0/8", "2001:db8::/32"];
        for (forwarded, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9 ,10.0.0.2"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9", "10.0.0.2, 10.0.0.3"], "203.0.113.9"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db9::7]:4711, 2001:db8::1"], "2001:db9::7"),
            (&["[2001:db9::7]"], "2001:db9::7"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            // All trusted: the one farthest away.
            (&["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
            // Nothing left of what cannot be read.
            (&["203.0.113.9, unknown, 10.0.0.3"], "10.0.0.3"),
            (&["203.0.113.9, "], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client(trusted, "10.0.0.1:1", forwarded), expected, "{forwarded:?}");
        }
        assert_eq!(client(trusted, "[::ffff:10.0.0.1]:1", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn ipv6_peers_count_by_their_64_and_ipv4_ones_alone() {
        let key = |peer: &str| {
            let mut request = Request::new(());
            request.extensions_mut().insert(Peer::Tcp(peer.parse().unwrap()));
            ByAddress(Proxies::default()).extract(&request).unwrap()
        };
        assert_eq!(key("[2001:db8:1:2::1]:1"), key("[2001:db8:1:2:ffff::9]:2"));
        assert_ne!(key("[2001:db8:1:2::1]:1"), key("[2001:db8:1:3::1]:1"));
        assert_eq!(key("[::ffff:192.0.2.1]:1"), key("192.0.2.1:2"));
        assert_ne!(key("192.0.2.1:1"), key("192.0.2.2:1"));
    }

    #[test]
    fn requests_are_spaced_by_the_rate() {
        assert_eq!(spacing("50000/s".parse().unwrap()), (Duration::from_micros(20), 50_000));
        assert_eq!(spacing("1/s".parse().unwrap()), (Duration::from_secs(1), 1));
        assert_eq!(spacing("9999999999/s".parse().unwrap()), (Duration::from_nanos(1), u32::MAX));
    }
}
