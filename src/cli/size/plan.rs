//! From assumptions to numbers: whole numbers, rounded up, and nothing else. More events never need fewer of anything.

use serde::Serialize;

use super::cost;

/// What is taken for granted. Shares in per cent, bytes in bytes; no number is 0 but the times.
#[derive(Debug, Clone)]
pub(super) struct Assumptions {
    /// Each second.
    pub events: u64,
    /// Bytes of one.
    pub event: u64,
    /// Events of a request.
    pub batch: u64,
    /// Events a second that one busy core takes.
    pub core: u64,
    /// How busy the cores may be once a zone is lost.
    pub busy: u64,
    /// Of a replica.
    pub cores: u64,
    /// One of them may be lost; with one zone, one replica may be.
    pub zones: u64,
    /// Bytes of a replica's budget.
    pub in_flight: u64,
    /// Of a replica.
    pub connections: u64,
    /// That the spool takes up; 0 where there is none.
    pub outage_ms: u64,
    /// Bytes a second that a replica's disk takes.
    pub disk_write: u64,
    /// How full disks may get.
    pub disk: u64,
    /// Events a second that a consumer takes.
    pub consumer: u64,
    /// Consumer groups.
    pub groups: u64,
    /// That a record waits for others.
    pub linger_ms: u64,
    /// What compression leaves.
    pub compressed: u64,
    /// Replication factor.
    pub replication: u64,
    /// Bytes a second that a broker writes.
    pub broker_write: u64,
    /// Partitions of a broker, copies included.
    pub broker_partitions: u64,
    /// How long Kafka keeps events.
    pub retention_ms: u64,
}

impl Assumptions {
    fn spools(&self) -> bool {
        self.outage_ms > 0
    }
}

/// What decides how many replicas carry the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    /// The processor.
    Processor,
    /// The processor while events go to the spool.
    ProcessorSpooling,
    /// The disk while events go to the spool.
    SpoolDisk,
}

/// What that needs. A replica's figures are those with a zone (or one replica) lost.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    /// That one busy core takes, each second.
    pub events_per_core: u64,
    /// The same where events go to the spool first.
    pub events_per_core_spooling: u64,
    /// Each second.
    pub requests: u64,
    /// That carry the load.
    pub replicas_needed: u64,
    /// What decides about that.
    pub bound: Bound,
    /// In one zone, or one.
    pub replicas_lost: u64,
    /// Needed and lost ones, in full zones.
    pub replicas: u64,
    /// Of all replicas.
    pub cores: u64,
    /// How busy they are while all replicas are there, in per cent.
    pub busy: u64,
    /// With a zone lost.
    pub busy_left: u64,
    /// With a zone lost, while events go to the spool.
    pub busy_spooling: u64,
    /// Bytes of a replica.
    pub memory: u64,
    /// For how long the budget takes the load in while Kafka does not answer, in milliseconds.
    pub budget_lasts_ms: u64,
    /// Bytes of a replica's disk for the spool.
    pub spool: u64,
    /// Bytes a second that a replica writes to it during an outage.
    pub spool_write: u64,
    /// Bytes a second that a replica receives.
    pub network_in: u64,
    /// Bytes a second that a replica sends to Kafka.
    pub network_out: u64,
    /// Twice what the consumers need; one for each broker at least.
    pub partitions: u64,
    /// Events that a partition gets from one replica within the linger, where keys spread them over all, in hundredths.
    pub keyed_batch_hundredths: u64,
    /// In full zones.
    pub brokers: u64,
    /// Bytes of a broker's disk.
    pub broker_disk: u64,
    /// Bytes a second that a broker writes: events and copies.
    pub broker_write: u64,
    /// Bytes a second that a broker sends: copies, and what consumers read.
    pub broker_out: u64,
}

impl Plan {
    /// What `of` needs.
    pub(super) fn of(of: &Assumptions) -> Self {
        let id = if of.spools() { cost::ID } else { 0 };
        let requests = of.events.div_ceil(of.batch);
        let spooling = (of.core.saturating_mul(100) / cost::SPOOLING).max(1);
        let spooled = of.event + id + cost::SPOOLED + cost::ENTRY.div_ceil(of.batch);

        let (needed, bound) = needed(of, spooling, spooled);
        let (replicas, lost) = with_a_spare(needed, of.zones);
        let left = replicas - lost;
        let busy = |core: u64, replicas: u64| up(of.events, &[100], &[core, replicas, of.cores]);

        let record = of.event + id + cost::RECORD;
        let sent = up(of.events, &[record, of.compressed], &[100]);
        let received = up(of.events, &[of.event], &[]).saturating_add(up(requests, &[cost::HEADS], &[]));
        let held = of.event + id + cost::HELD;
        // An eighth is for the spool's drain.
        let budget = if of.spools() { of.in_flight / 8 * 7 } else { of.in_flight };
        let (partitions, brokers) = kafka(of, sent);
        Self {
            events_per_core: of.core,
            events_per_core_spooling: spooling,
            requests,
            replicas_needed: needed,
            bound,
            replicas_lost: lost,
            replicas,
            cores: replicas.saturating_mul(of.cores),
            busy: busy(of.core, replicas),
            busy_left: busy(of.core, left),
            busy_spooling: if of.spools() { busy(spooling, left) } else { 0 },
            memory: of.in_flight.saturating_add(cost::PROCESS + of.connections * cost::CONNECTION),
            budget_lasts_ms: down(budget, &[1000, left], &[of.events, held]),
            spool: up(of.events, &[spooled, of.outage_ms, 100], &[left, 1000, of.disk]),
            spool_write: if of.spools() { up(of.events, &[spooled], &[left]) } else { 0 },
            network_in: up(received, &[], &[left]),
            network_out: up(sent, &[], &[left]),
            partitions,
            keyed_batch_hundredths: down(of.events, &[of.linger_ms, 100], &[1000, left, partitions]),
            brokers,
            broker_disk: up(sent, &[of.replication, of.retention_ms, 100], &[brokers, 1000, of.disk]),
            broker_write: up(sent, &[of.replication], &[brokers]),
            broker_out: up(sent, &[of.replication - 1 + of.groups], &[brokers]),
        }
    }
}

/// How many replicas carry the load, and why so many. In an outage the cores may be wholly busy.
fn needed(of: &Assumptions, spooling: u64, spooled: u64) -> (u64, Bound) {
    let mut most = (up(of.events, &[100], &[of.core, of.cores, of.busy]), Bound::Processor);
    if of.spools() {
        let processor = up(of.events, &[], &[spooling, of.cores]);
        let disk = up(of.events, &[spooled], &[of.disk_write]);
        for other in [(processor, Bound::ProcessorSpooling), (disk, Bound::SpoolDisk)] {
            most = if other.0 > most.0 { other } else { most };
        }
    }
    most
}

/// How many there are, in zones of the same size, so that `needed` are left when one zone is lost; and how many that
/// takes along. With one zone: one replica.
fn with_a_spare(needed: u64, zones: u64) -> (u64, u64) {
    match zones {
        0 | 1 => (needed.saturating_add(1), 1),
        zones => {
            let each = needed.div_ceil(zones - 1).min(u64::MAX / zones);
            (each * zones, each)
        }
    }
}

/// Partitions and brokers, for so many bytes a second.
fn kafka(of: &Assumptions, sent: u64) -> (u64, u64) {
    let partitions = up(of.events, &[2], &[of.consumer]);
    let write = up(sent, &[of.replication], &[of.broker_write]);
    let hold = up(partitions, &[of.replication], &[of.broker_partitions]);
    let brokers = write.max(hold).max(of.replication);
    let brokers = brokers.checked_next_multiple_of(of.zones).unwrap_or(brokers);
    (partitions.max(brokers), brokers)
}

fn product(of: u64, factors: &[u64]) -> u128 {
    factors.iter().fold(u128::from(of), |product, factor| product.saturating_mul(u128::from(*factor)))
}

/// `of` times all of `times`, parted by all of `by`, rounded up; at most what fits.
fn up(of: u64, times: &[u64], by: &[u64]) -> u64 {
    u64::try_from(product(of, times).div_ceil(product(1, by).max(1))).unwrap_or(u64::MAX)
}

/// The same, rounded down.
fn down(of: u64, times: &[u64], by: &[u64]) -> u64 {
    u64::try_from(product(of, times) / product(1, by).max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
