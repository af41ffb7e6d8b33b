//! What is known of a topic: its partitions, and what it takes.

use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::stages::produce::options::BATCH_OVERHEAD;

/// What Kafka says about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// How many partitions it has.
    pub partitions: i32,
    /// The largest record batch that it takes, in bytes; `None` where klamm may not read it.
    pub max_message_bytes: Option<u64>,
    /// `None` where klamm may not read it.
    pub demands: Option<Demands>,
}

/// By how much an event's own time must be within what a topic takes, in milliseconds; at most half of that.
const MARGIN: i64 = 60_000;

/// What a topic asks of each record. One that does not meet it fails its whole record batch, those of others in it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demands {
    /// `cleanup.policy` has `compact`: a record needs a key.
    pub key: bool,
    /// How far a record's own time may lie before and after the broker's, in milliseconds (`message.timestamp.before.max.ms`,
    /// `.after.max.ms`); `None` where the broker puts its own in its place.
    pub times: Option<(i64, i64)>,
}

impl Demands {
    /// From the settings of a topic; `None` where one is missing.
    pub(super) fn read<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let key = text("cleanup.policy")?.split(',').any(|policy| policy.trim() == "compact");
        if text("message.timestamp.type")? == "LogAppendTime" {
            return Some(Self { key, times: None });
        }
        // Before Kafka 3.6 there was one bound for both.
        let bound = |name| text(name).or_else(|| text("message.timestamp.difference.max.ms"))?.parse().ok();
        let times = (bound("message.timestamp.before.max.ms")?, bound("message.timestamp.after.max.ms")?);
        Some(Self { key, times: Some(times) })
    }
}

impl Known {
    /// Whether an event needs a key.
    pub fn needs_key(&self) -> bool {
        self.demands.is_some_and(|demands| demands.key)
    }

    /// Which times a record may have at `now`, in milliseconds since the epoch.
    pub fn times(&self, now: SystemTime) -> RangeInclusive<i64> {
        let Some((before, after)) = self.demands.and_then(|demands| demands.times) else { return i64::MIN..=i64::MAX };
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        now.saturating_sub(before)..=now.saturating_add(after)
    }

    /// The same with room to spare, for events that are yet to be sent: clocks differ, and an event may wait for its turn.
    pub fn safe_times(&self, now: SystemTime) -> RangeInclusive<i64> {
        let less = |bound: i64| if bound == i64::MAX { bound } else { bound - MARGIN.min(bound / 2) };
        let demands = self.demands.map(|demands| Demands {
            times: demands.times.map(|(before, after)| (less(before), less(after))),
            ..demands
        });
        Self { demands, ..*self }.times(now)
    }

    /// The largest event (key, value and headers) under the topic's own `max_event`, in bytes.
    pub fn max_event(&self, max_event: u64) -> u64 {
        self.max_message_bytes.map_or(max_event, |limit| max_event.min(limit.saturating_sub(BATCH_OVERHEAD)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_topic_asks_of_records_is_read_of_old_and_new_brokers() {
        let read = |settings: &[(&str, &'static str)]| {
            Demands::read(|name| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
        };
        let [before, after, both] = ["before.max.ms", "after.max.ms", "difference.max.ms"];
        let [before, after, both] = [before, after, both].map(|name| format!("message.timestamp.{name}"));
        let (policy, kind) = ("cleanup.policy", "message.timestamp.type");
        let new = [(policy, "compact, delete"), (kind, "CreateTime"), (&before, "9223372036854775807"), (&after, "10")];
        assert_eq!(read(&new), Some(Demands { key: true, times: Some((i64::MAX, 10)) }));
        let old = [(policy, "delete"), (kind, "CreateTime"), (&both, "20")];
        assert_eq!(read(&old), Some(Demands { key: false, times: Some((20, 20)) }));
        assert_eq!(read(&[(policy, "compact"), (kind, "LogAppendTime")]), Some(Demands { key: true, times: None }));
        assert_eq!(read(&[(policy, "delete")]), None);
    }

    #[test]
    fn times_are_counted_from_now_and_do_not_overflow() {
        let now = UNIX_EPOCH + Duration::from_secs(1);
        let times = |times| {
            let demands = Some(Demands { key: false, times });
            Known { partitions: 1, max_message_bytes: None, demands }.times(now)
        };
        assert_eq!(times(Some((100, 200))), 900..=1200);
        assert_eq!(times(Some((0, i64::MAX))), 1000..=i64::MAX);
        assert_eq!(times(None), i64::MIN..=i64::MAX);
    }

    #[test]
    fn an_event_that_is_yet_to_be_sent_is_held_to_less_than_the_topic_takes() {
        let now = UNIX_EPOCH + Duration::from_millis(1_000_000_000);
        let times = |times| {
            let demands = Some(Demands { key: false, times });
            Known { partitions: 1, max_message_bytes: None, demands }.safe_times(now)
        };
        assert_eq!(times(Some((10_000, 3_600_000))), 999_995_000..=1_003_540_000);
        assert_eq!(times(Some((i64::MAX, i64::MAX))), 1_000_000_000 - i64::MAX..=i64::MAX);
        assert_eq!(times(None), i64::MIN..=i64::MAX);
    }

    #[test]
    fn an_event_may_be_a_kibibyte_smaller_than_the_topic_s_batches() {
        let known = Known { partitions: 1, max_message_bytes: Some(65_536), demands: None };
        assert_eq!(known.max_event(1_000_000), 64_512);
        assert_eq!(known.max_event(1_000), 1_000);
        assert_eq!(Known { max_message_bytes: None, ..known }.max_event(1_000_000), 1_000_000);
    }
}
