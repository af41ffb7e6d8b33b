//! Ids of events: the same whenever klamm sends an event again, so that a consumer can drop what it has seen.
//!
//! An id is 16 bytes that the request gives (klamm's own id of it, or what its `Idempotency-Key` makes), and the event's
//! index. It stands in the record header [`EVENT_ID`].

use std::io::Write;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::request::Wishes;
use crate::config::EventIds;
use crate::event::{Batch, ClientId, RequestId, TopicName};

/// The record header of an event's id: a UUID, a hyphen, the event's index in its request.
pub const EVENT_ID: &str = "klamm-event-id";

/// What the ids of a request's events begin with. The same `key` of the same client for the same topic gives the same
/// (a UUIDv8, RFC 9562).
pub fn base(request: RequestId, client: &ClientId, topic: &TopicName, key: Option<&str>) -> Uuid {
    let Some(key) = key else { return request.uuid() };
    let mut hash = Sha256::new();
    // Neither name has a NUL.
    for part in [client.as_str(), topic.as_str(), key] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Whether the events of a request carry their ids. `spoolable`: they may go to the spool, and so be sent twice.
pub fn wanted(rule: EventIds, wishes: &Wishes, spoolable: bool) -> bool {
    match rule {
        EventIds::Always => true,
        EventIds::Never => false,
        EventIds::Auto => spoolable || wishes.idempotency_key.is_some(),
    }
}

/// Gives each good event its id.
pub fn stamp(batch: &mut Batch, base: Uuid) {
    let mut text = Uuid::encode_buffer();
    let base = base.hyphenated().encode_lower(&mut text);
    batch.stamp(EVENT_ID, |index, to| {
        // Writing to memory does not fail.
        let _ = write!(to, "{base}-{index}");
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn a_key_gives_the_same_ids_to_the_same_client_and_topic_alone() {
        let of = |client: &str, topic: &str, key| base(RequestId::new(), &client.into(), &topic.into(), key);
        let one = of("a", "t", Some("k"));
        assert_eq!(one, of("a", "t", Some("k")));
        assert_eq!(one.get_version_num(), 8);
        for other in [of("b", "t", Some("k")), of("a", "u", Some("k")), of("a", "t", Some("l")), of("a", "t", None)] {
            assert_ne!(one, other);
        }
        let request = RequestId::new();
        assert_eq!(base(request, &"a".into(), &"t".into(), None), request.uuid());
    }

    #[test]
    fn an_id_is_the_base_and_the_index_in_the_request() {
        let mut batch = Batch::default();
        batch.events = vec![Event::new(0, 0, None), Event::new(7, 0, None)];
        let base = RequestId::new().uuid();
        stamp(&mut batch, base);
        let ids: Vec<_> = batch
            .events
            .iter()
            .map(|event| {
                let header = batch.headers(event)[0];
                assert_eq!(batch.bytes(header.name), EVENT_ID.as_bytes());
                String::from_utf8(batch.bytes(header.value.unwrap()).to_vec()).unwrap()
            })
            .collect();
        assert_eq!(ids, [format!("{base}-0"), format!("{base}-7")]);
    }
}
