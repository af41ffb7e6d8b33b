//! Finds partitions that a producer has stopped serving though their broker is well, from librdkafka's statistics.
//!
//! A stall is librdkafka's fault, and a new producer mends it; an outage is Kafka's, and a new producer does harm. So a
//! partition is stalled only where something has waited in it for as long as the watchdog is patient, for as long
//! nothing was sent to it or acknowledged from it, its leader's broker is connected, and that broker is not frozen:
//! it does not owe answers and keep silent.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::statistics::{Partition, Text};

/// A broker that owes answers and has said nothing for so long is frozen, or slow: both are no stall.
const SILENT: Duration = Duration::from_secs(2);

/// A partition that is stalled, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
}

/// Of one producer.
pub struct Watchdog {
    patience: Duration,
    standing: HashMap<(String, i32), Still>,
}

/// How far a partition was, and since when it is no further.
struct Still {
    sent: u64,
    acked: u64,
    since: Instant,
}

impl Watchdog {
    /// One that calls a partition stalled after `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, standing: HashMap::new() }
    }

    /// Looks at the statistics that came at `now`. `late` says how long something has waited for a partition, if it is
    /// long. Returns the first partition that is stalled.
    pub fn look(&mut self, text: &Text, now: Instant, late: impl Fn(&str, i32) -> Option<Duration>) -> Option<Stall> {
        let mut standing = HashMap::new();
        let mut stalled = None;
        for (topic, partition) in text.partitions() {
            let Some(waited) = late(topic, partition.partition) else { continue };
            let name = (topic.to_owned(), partition.partition);
            let (sent, acked) = (partition.txmsgs, partition.acked_msgid);
            let before = self.standing.remove(&name).filter(|still| (still.sent, still.acked) == (sent, acked));
            let still = before.unwrap_or(Still { sent, acked, since: now });
            let stands = now.duration_since(still.since) >= self.patience && waited >= self.patience;
            if stands && stalled.is_none() && may_be_served(text, partition) {
                stalled = Some(Stall { topic: topic.to_owned(), partition: partition.partition });
            }
            standing.insert(name, still);
        }
        self.standing = standing;
        stalled
    }
}

/// Whether nothing outside of the producer keeps it from sending to `partition`. Where librdkafka knows of no leader,
/// who asks Kafka has to find out.
fn may_be_served(text: &Text, partition: &Partition) -> bool {
    let well = |node: i32| {
        let of_node = text.brokers.values().filter(|broker| broker.nodeid == node);
        let mut connected = of_node.filter(|broker| broker.is_up());
        connected.any(|broker| broker.waitresp_cnt == 0 || broker.silent() < SILENT)
    };
    match partition.leader {
        leader if leader >= 0 => well(leader),
        _ => text.brokers.values().any(|broker| broker.nodeid >= 0 && well(broker.nodeid)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// What librdkafka 2.12.1 said of a topic of a partition on broker 1, but for who leads it, what was sent, and how the
    /// broker is: its state, the requests without an answer, and the seconds for which it has been silent.
    fn text(leader: i32, sent: u64, (state, unanswered, silent): How) -> Text {
        let mut json: Value = serde_json::from_str(include_str!("watchdog/statistics.json")).unwrap();
        let partition = &mut json["topics"]["t"]["partitions"]["0"];
        (partition["leader"], partition["txmsgs"]) = (leader.into(), sent.into());
        for broker in json["brokers"].as_object_mut().unwrap().values_mut().filter(|broker| broker["nodeid"] == 1) {
            broker["state"] = state.into();
            (broker["waitresp_cnt"], broker["rxidle"]) = (unanswered.into(), (silent * 1_000_000).into());
        }
        serde_json::from_value(json).expect("statistics")
    }

    type How = (&'static str, u64, u64);
    const IDLE: How = ("UP", 0, 30);
    const BUSY: How = ("UP", 2, 0);
    const FROZEN: How = ("UP", 1, 9);
    const DOWN: How = ("DOWN", 0, 9);
    const CONNECTING: How = ("APIVERSION_QUERY", 0, 9);

    /// After how many seconds of the same statistics there is a stall, if something has waited from the beginning.
    fn stalls_after(leader: i32, broker: How) -> Option<u64> {
        let (mut dog, start) = (Watchdog::new(PATIENCE), Instant::now());
        let text = text(leader, 3, broker);
        (0..60).find(|second| {
            let waited = Duration::from_secs(*second);
            dog.look(&text, start + waited, |_, partition| (partition == 0).then_some(waited)).is_some()
        })
    }

    #[test]
    fn a_partition_that_stands_still_beside_a_broker_that_is_well_is_stalled() {
        for broker in [IDLE, BUSY] {
            assert_eq!(stalls_after(1, broker), Some(10), "{broker:?}");
        }
    }

    #[test]
    fn where_librdkafka_knows_of_no_leader_any_broker_that_is_well_makes_it_worth_to_ask() {
        assert_eq!(stalls_after(-1, IDLE), Some(10));
        assert_eq!(stalls_after(-1, DOWN), None);
    }

    #[test]
    fn a_broker_that_is_frozen_or_away_is_an_outage() {
        for broker in [FROZEN, DOWN, CONNECTING] {
            assert_eq!(stalls_after(1, broker), None, "{broker:?}");
        }
        assert_eq!(stalls_after(2, IDLE), None, "a leader that it has not met");
    }

    #[test]
    fn a_partition_that_is_sent_to_or_for_which_nothing_waits_is_not_stalled() {
        let (mut dog, start) = (Watchdog::new(PATIENCE), Instant::now());
        let late = |_: &str, _: i32| Some(Duration::from_secs(60));
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(dog.look(&text(1, second / 9, IDLE), now, late), None, "sent again every 9 s");
        }
        let later = start + Duration::from_secs(120);
        assert_eq!(dog.look(&text(1, 6, IDLE), later, |_, _| None), None, "nothing waits");
        // What was seen before nothing waited does not count.
        assert_eq!(dog.look(&text(1, 6, IDLE), later + PATIENCE, late), None);
        let stall = dog.look(&text(1, 6, IDLE), later + PATIENCE * 2, late);
        assert_eq!(stall, Some(Stall { topic: "t".into(), partition: 0 }));
    }
}
