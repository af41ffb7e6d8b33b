//! P6: what 1,000 clients and 300 topics add to klamm beyond what 300 topics add to librdkafka.

use anyhow::Result;

use super::row::{Bar, Row, quotients};
use super::trial::{Sample, Trial};
use super::{BATCH, Bench};
use crate::load;

const CLIENTS: usize = 1000;
const TOPICS: usize = 300;
/// Of each of the topics.
const PARTITIONS: i32 = 4;
const CONNECTIONS: usize = 64;

pub(super) fn rows(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let stage = bench.tier.stage(TOPICS, PARTITIONS)?;
    let mut setup = bench.setup(&stage);
    setup.clients = CLIENTS;
    let gateway = bench.start(&setup, &stage)?;
    let keys = gateway.keys_file()?;
    let first: Vec<String> = stage.topics.iter().take(1).cloned().collect();
    let one = |round| load::Options {
        connections: CONNECTIONS,
        topics: first.clone(),
        ..bench.batches(&gateway, &stage, round)
    };
    let many = |round| load::Options {
        topics: stage.topics.clone(),
        keys: Some(keys.clone()),
        headers: Vec::new(),
        ..one(round)
    };
    // One rate for all four: half of what klamm does with all topics.
    let rate = bench.most(many(0))? / 2.0;
    let open = |load: load::Options| load::Options { rate: Some(rate), ..load };
    let (rate_flag, burst, topic) = (rate.to_string(), BATCH.to_string(), first.join(","));
    let flags = ["--rate", &rate_flag, "--burst", &burst];
    let one_topic = [&flags[..], &["--topics", &topic]].concat();
    let [klamm_many, raw_many, klamm_one, raw_one] = bench.rounds(
        "P6",
        &[
            Trial::new("klamm, 1000 x 300", |round| Ok(Sample::from(bench.http(&open(many(round)))?))),
            Trial::new("raw, 300", |round| Ok(Sample::from(bench.raw(&stage, round, &flags)?))),
            Trial::new("klamm, 1 x 1", |round| Ok(Sample::from(bench.http(&open(one(round)))?))),
            Trial::new("raw, 1", |round| Ok(Sample::from(bench.raw(&stage, round, &one_topic)?))),
        ],
    )?;
    let (many, one) = (quotients(&klamm_many.cpu(), &raw_many.cpu()), quotients(&klamm_one.cpu(), &raw_one.cpu()));
    let load = format!("NDJSON x 500 at {rate:.0} requests/s");
    let name =
        format!("{load}: CPU of klamm over raw librdkafka, 1,000 clients x 300 topics; against 1 client x 1 topic");
    let each = |id, shape, klamm: &[f64], raw: &[f64]| {
        let name = format!("{load}, {shape}: CPU per event; against raw librdkafka to the same topics at this rate");
        Row::against(id, &name, "us", klamm, raw, Bar::None)
    };
    Ok(vec![
        Row::against("P6", &name, "x", &many, &one, Bar::AtMost(1.2)),
        each("P6b", "1,000 clients x 300 topics", &klamm_many.cpu(), &raw_many.cpu()),
        each("P6c", "1 client x 1 topic", &klamm_one.cpu(), &raw_one.cpu()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_topics_cost_librdkafka_too_is_not_klamm_s() {
        // 300 topics double the cost of both: the quotient stays. The second round was left out.
        let many = quotients(&[2.0, f64::NAN, 2.2], &[1.6, 1.6, 1.6]);
        let one = quotients(&[1.0, 1.0, 1.0], &[0.8, 0.8, 0.8]);
        let row = Row::against("P6", "x", "x", &many, &one, Bar::AtMost(1.2));
        assert!((row.ratio.unwrap() - 1.05).abs() < 1e-9, "{row:?}");
        assert_eq!(row.holds, Some(true));
        let dear = quotients(&[3.0, 3.0, 3.0], &[1.6, 1.6, 1.6]);
        assert_eq!(Row::against("P6", "x", "x", &dear, &one, Bar::AtMost(1.2)).holds, Some(false));
    }
}
