//! What an event costs a klamm: processor, memory and bytes, fitted to what `make bench` measured (docs/performance.md).
//!
//! Processor: a part for each request, one for each event and one for each byte,
//! `79 us / batch + 1.34 us + 7.0 ns x bytes`. Three numbers for five rows, so they are within 8 % of each of them:
//!
//! | row | events of a request | bytes of an event | measured | fitted |
//! |---|---|---|---|---|
//! | P1 | 500 | 160 | 2.62 us | 2.62 us |
//! | P4c | 500 | 1024 | 8.75 us | 8.67 us |
//! | P4d | 500 | 10240 | 73.3 us | 73.2 us |
//! | P2, linger 1 ms | 1 | 160 | 85.3 us | 81.5 us |
//! | P2b, linger 5 ms | 1 | 160 | 76.5 us | 81.5 us |
//!
//! Envelopes with keys (P4b) cost 1.6 times as much, gzip (P4e) 1.1 times; that is for the room that `--busy` leaves, or
//! for `--core`. A test of docs/deploy.md holds these numbers to the rows.

/// Picoseconds of a request, whatever is in it.
const REQUEST: u128 = 79_000_000;
/// Picoseconds of an event, whatever its size.
const EVENT: u128 = 1_340_000;
/// Picoseconds of a byte of an event.
const BYTE: u128 = 7_000;
const SECOND: u128 = 1_000_000_000_000;

/// Per cent of the usual processor time where events go to the disk first: S1-cpu (1 KiB, 50 a request, the way to
/// Kafka included) took 19.2 us, and would have taken 10.1 us without the spool.
pub(super) const SPOOLING: u64 = 190;

/// Bytes of an event in the budget, beside its own; `EVENT_OVERHEAD` of the producer.
pub(super) const HELD: u64 = 256;
/// Bytes of a record in Kafka, beside key, value and headers: lengths, time, offset and its part of the batch.
pub(super) const RECORD: u64 = 10;
/// Bytes of the header `klamm-event-id`, which the events of a topic that may spool carry.
pub(super) const ID: u64 = 58;
/// Bytes of an event in the spool, beside key, value and headers.
pub(super) const SPOOLED: u64 = 4;
/// Bytes of a record in the spool, which holds what a request brought, beside its events.
pub(super) const ENTRY: u64 = 96;
/// Bytes of a request's head and of its answer.
pub(super) const HEADS: u64 = 600;

/// Bytes of a klamm beyond its budget and its connections: the bar of P5a.
pub(super) const PROCESS: u64 = 64 << 20;
/// Bytes of a connection that is idle: P5-connections less P5-idle, 7.6 KB each.
pub(super) const CONNECTION: u64 = 8_000;

/// The events a second that one core takes while it does nothing else; one at least.
pub(super) fn per_core(batch: u64, bytes: u64) -> u64 {
    let (batch, bytes) = (u128::from(batch.max(1)), u128::from(bytes));
    let request = REQUEST + batch * (EVENT + BYTE * bytes);
    u64::try_from(SECOND * batch / request).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stages::produce::options::EVENT_OVERHEAD;

    #[test]
    fn the_cost_is_that_of_the_rows_it_was_fitted_to() {
        for (batch, bytes, micros) in
            [(500, 160, 2.62), (500, 1024, 8.75), (500, 10_240, 73.3), (1, 160, 85.3), (1, 160, 76.5)]
        {
            let fitted = 1e6 / per_core(batch, bytes) as f64;
            assert!((fitted / micros - 1.0).abs() < 0.08, "{batch} x {bytes}: {fitted} for {micros}");
        }
        let spooled = 1e6 / per_core(50, 1024) as f64 * SPOOLING as f64 / 100.0;
        assert!((spooled / 19.2 - 1.0).abs() < 0.08, "{spooled}");
        assert_eq!(HELD, EVENT_OVERHEAD);
    }

    proptest! {
        #[test]
        fn larger_events_cost_more_and_larger_batches_less(
            batch in 1u64..1_000_000, bytes in 1u64..(100 << 20), more in 1u64..1000,
        ) {
            prop_assert!(per_core(batch, bytes + more) <= per_core(batch, bytes));
            prop_assert!(per_core(batch + more, bytes) >= per_core(batch, bytes));
        }
    }
}
