//! Which fault comes when: follows from the seed, the time and what the rig can do, and from nothing else.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::dice::Dice;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// SIGKILL to a broker, restarted after the hold.
    BrokerKill,
    /// SIGSTOP to a broker, SIGCONT after the hold.
    BrokerStop,
    /// SIGTERM to each broker in turn, each restarted before the next.
    RollingRestart,
    /// Every partition goes to another leader, again and again.
    LeaderElection,
    /// SIGKILL to all brokers, restarted after the hold.
    AllDown,
    /// No connection from klamm to one broker.
    Cut,
    /// A broker's connections stay and carry nothing.
    HalfOpen,
    /// 100 ms each way to every broker.
    RoundTrip,
    /// Connections to brokers are reset once a second.
    Resets,
    /// A narrow pipe to every broker.
    ByteRate,
    /// Connections of clients are reset once a second.
    ClientResets,
    /// SIGTERM to the gateway under load, started again.
    GatewayTerm,
    /// SIGKILL to the gateway under load, started again.
    GatewayKill,
    /// The spool's disk has no room.
    DiskFull,
    /// `fdatasync` fails for the spool.
    SyncError,
    /// SIGKILL to the gateway while events wait in the spool, bits of them flip, started again.
    BitFlip,
    /// One client sends ten times its quota.
    Flood,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 17] = [
        Self::BrokerKill,
        Self::BrokerStop,
        Self::RollingRestart,
        Self::LeaderElection,
        Self::AllDown,
        Self::Cut,
        Self::HalfOpen,
        Self::RoundTrip,
        Self::Resets,
        Self::ByteRate,
        Self::ClientResets,
        Self::GatewayTerm,
        Self::GatewayKill,
        Self::DiskFull,
        Self::SyncError,
        Self::BitFlip,
        Self::Flood,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BrokerKill => "broker_kill",
            Self::BrokerStop => "broker_stop",
            Self::RollingRestart => "rolling_restart",
            Self::LeaderElection => "leader_election",
            Self::AllDown => "all_down",
            Self::Cut => "cut",
            Self::HalfOpen => "half_open",
            Self::RoundTrip => "round_trip",
            Self::Resets => "resets",
            Self::ByteRate => "byte_rate",
            Self::ClientResets => "client_resets",
            Self::GatewayTerm => "gateway_term",
            Self::GatewayKill => "gateway_kill",
            Self::DiskFull => "disk_full",
            Self::SyncError => "sync_error",
            Self::BitFlip => "bit_flip",
            Self::Flood => "flood",
        }
    }

    /// Its part of the time, against those of others.
    fn weight(self) -> f64 {
        match self {
            Self::BrokerStop => 2.0,
            Self::RollingRestart | Self::AllDown => 1.5,
            _ => 1.0,
        }
    }

    /// Whether no broker of so many can be reached while it lasts.
    pub(super) fn is_outage(self, brokers: usize) -> bool {
        let hits_one = matches!(self, Self::BrokerKill | Self::BrokerStop | Self::Cut | Self::HalfOpen);
        self == Self::AllDown || (hits_one && brokers == 1)
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// From the start of the run; what takes longer than planned moves those behind it.
    pub(super) at: Duration,
    /// How long it lasts.
    pub(super) hold: Duration,
    /// From `at` to the next fault.
    pub(super) slot: Duration,
    /// The broker, from 1, where it hits one.
    pub(super) broker: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, at, hold, broker, .. } = self;
        write!(f, "{:7.1} s  {:<16} {:4.1} s", at.as_secs_f64(), kind.name(), hold.as_secs_f64())?;
        match kind {
            Kind::BrokerKill | Kind::BrokerStop | Kind::Cut | Kind::HalfOpen => write!(f, "  broker {broker}"),
            _ => Ok(()),
        }
    }
}

/// The least that a fault and the recovery from it need.
const SHORTEST_SLOT: Duration = Duration::from_secs(20);
/// Of a slot, what is left to recover in.
const SETTLE: Duration = Duration::from_secs(10);
/// A fault lasts no longer.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The faults between `from` and `to`, in their order, and the kinds that did not fit.
///
/// Every kind comes once in some order before one comes again. Where there is not time for all at 20 s each, as many
/// as fit.
pub(super) fn plan(
    seed: u64,
    (from, to): (Duration, Duration),
    kinds: &[Kind],
    brokers: usize,
) -> (Vec<Fault>, Vec<Kind>) {
    let mut dice = Dice::new(seed);
    let time = to.saturating_sub(from).as_secs_f64();
    let fit = (time / SHORTEST_SLOT.as_secs_f64()) as usize;
    let first = dice.shuffled(kinds.to_vec());
    let left_out = first.get(fit..).unwrap_or_default().to_vec();
    let mut order: Vec<Kind> = first.into_iter().take(fit).collect();
    // More rounds where each slot would be longer than a long fault needs.
    let rounds = (time / (kinds.len() as f64 * 40.0)) as usize;
    for _ in 1..rounds {
        order.extend(dice.shuffled(kinds.to_vec()));
    }
    let shortest = SHORTEST_SLOT.as_secs_f64();
    let spare = time - shortest * order.len() as f64;
    let weights: f64 = order.iter().map(|kind| kind.weight()).sum();
    let mut at = from;
    let faults = order.into_iter().map(|kind| {
        let slot = Duration::from_secs_f64(shortest + spare * kind.weight() / weights);
        let most = slot.saturating_sub(SETTLE).min(LONGEST_HOLD).as_secs_f64();
        let hold = Duration::from_secs_f64((5.0 + dice.share() * (most - 5.0)).round());
        let broker = 1 + dice.below(brokers as u64) as usize;
        let fault = Fault { kind, at, hold, slot, broker };
        at += slot;
        fault
    });
    (faults.collect(), left_out)
}

#[test]
fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
    let time = (Duration::from_secs(60), Duration::from_secs(600));
    assert_eq!(plan(7, time, &Kind::ALL, 3), plan(7, time, &Kind::ALL, 3));
    assert_ne!(plan(7, time, &Kind::ALL, 3), plan(8, time, &Kind::ALL, 3));
}

#[test]
fn from_ten_minutes_on_every_kind_occurs_and_below_what_fits_at_20_seconds_each() {
    let minutes = |minutes: u64| (Duration::from_secs(60), Duration::from_secs(60 * minutes));
    for (run, seed) in [10, 11, 30, 120].into_iter().zip(0..) {
        let (faults, left_out) = plan(seed, minutes(run), &Kind::ALL, 3);
        assert!(left_out.is_empty());
        assert!(Kind::ALL.iter().all(|kind| faults.iter().any(|fault| fault.kind == *kind)), "{run} minutes");
        let mut at = Duration::from_secs(60);
        for fault in &faults {
            assert!(fault.at.abs_diff(at) < Duration::from_millis(1) && fault.slot >= SHORTEST_SLOT, "{fault:?}");
            assert!(fault.hold >= Duration::from_secs(5) && fault.hold + SETTLE <= fault.slot + SETTLE / 10);
            assert!((1..=3).contains(&fault.broker));
            at += fault.slot;
        }
        assert!(at <= Duration::from_secs(60 * run + 1), "{run} minutes end after {at:?}");
    }
    let (faults, left_out) = plan(3, minutes(3), &Kind::ALL, 3);
    assert_eq!((faults.len(), left_out.len()), (6, Kind::ALL.len() - 6));
    assert!(left_out.iter().all(|kind| faults.iter().all(|fault| fault.kind != *kind)));
}
