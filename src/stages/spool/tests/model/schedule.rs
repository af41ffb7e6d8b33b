//! What may happen to a spool, drawn at random, and what is appended.

use proptest::prelude::*;

use crate::event::{ClientId, TopicName};

const STREAMS: u8 = 3;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Append {
        stream: u8,
        events: u8,
        size: u8,
    },
    Commit,
    /// Takes a wave.
    Next {
        bytes: u16,
    },
    /// Settles what is in our hands, all of one wave.
    Done,
    Keep,
    /// With some of the events left.
    KeepSome,
    Park,
    Withdraw {
        which: u8,
    },
    Retry,
    Tidy,
    Wait {
        seconds: u16,
    },
    /// At once; of what was not synced, so many per cent are there.
    Crash {
        percent: u8,
    },
    /// After so many calls of the file system.
    CrashIn {
        calls: u8,
        percent: u8,
    },
    FailSync {
        calls: u8,
    },
    FailWrite {
        calls: u8,
    },
    FailDirectory {
        calls: u8,
    },
    Full {
        spare: u16,
    },
    Heal,
    /// A clean stop and start.
    Restart,
    Flip,
    /// A bit of both copies of a header flips.
    Behead,
}

/// What happens to the disk at rest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decay {
    Nothing,
    Flips,
    FlipsAndHeads,
}

fn step(decay: Decay) -> impl Strategy<Value = Step> {
    use Step::*;
    let flip = match decay {
        Decay::Nothing => Just(Tidy).boxed(),
        Decay::Flips => Just(Flip).boxed(),
        Decay::FlipsAndHeads => prop_oneof![Just(Flip), Just(Behead), Just(Behead)].boxed(),
    };
    prop_oneof![
        24 => (0..STREAMS, 1u8..4, any::<u8>()).prop_map(|(stream, events, size)| Append { stream, events, size }),
        16 => Just(Commit),
        10 => (1u16..2000).prop_map(|bytes| Next { bytes }),
        8 => Just(Done),
        3 => Just(Keep),
        3 => Just(KeepSome),
        3 => Just(Park),
        2 => any::<u8>().prop_map(|which| Withdraw { which }),
        2 => Just(Retry),
        8 => Just(Tidy),
        4 => (1u16..200).prop_map(|seconds| Wait { seconds }),
        3 => prop_oneof![Just(0u8), Just(50), Just(90), Just(100)].prop_map(|percent| Crash { percent }),
        3 => (1u8..12, prop_oneof![Just(0u8), Just(50), Just(100)])
            .prop_map(|(calls, percent)| CrashIn { calls, percent }),
        1 => (1u8..6).prop_map(|calls| FailSync { calls }),
        1 => (1u8..6).prop_map(|calls| FailWrite { calls }),
        1 => (1u8..6).prop_map(|calls| FailDirectory { calls }),
        1 => (0u16..12_000).prop_map(|spare| Full { spare }),
        2 => Just(Heal),
        1 => Just(Restart),
        2 => flip,
    ]
}

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) start: u64,
    pub(super) sector: usize,
    pub(super) steps: Vec<Step>,
}

/// One in so many with `decay`.
pub(super) fn schedule(probability: f64, decay: Decay) -> impl Strategy<Value = Schedule> {
    (any::<u64>(), prop_oneof![Just(512usize), Just(4096)], prop::bool::weighted(probability)).prop_flat_map(
        move |(start, sector, decays)| {
            let decay = if decays { decay } else { Decay::Nothing };
            prop::collection::vec(step(decay), 4..48).prop_map(move |steps| Schedule { start, sector, steps })
        },
    )
}

pub(super) fn names(stream: u8) -> (ClientId, TopicName) {
    // Two streams share a client, two a topic.
    let (client, topic) = [("a", "x"), ("a", "y"), ("b", "x")][usize::from(stream)];
    (client.into(), topic.into())
}

pub(super) fn payload(id: u64, index: u32, size: u8) -> Vec<u8> {
    let mut bytes = [id.to_le_bytes().as_slice(), &index.to_le_bytes()].concat();
    bytes.resize(12 + usize::from(size), (id as u8).wrapping_mul(31) ^ index as u8);
    bytes
}
