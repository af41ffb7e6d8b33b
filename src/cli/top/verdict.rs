//! Is it fine: what is wrong, the worst first, in the words of the live page (`worries` in `ui/views.js`).

use super::ink::Tone;
use super::model::Model;
use crate::cli::figures::{count, percent, rate, span};

/// Empty where all is well.
pub(super) fn worries(model: &Model) -> Vec<(Tone, String)> {
    let head = &model.head;
    let total = &head.total;
    let mut list = Vec::new();
    let mut say = |tone, holds: bool, words: &dyn Fn() -> String| {
        if holds {
            list.push((tone, words()));
        }
    };
    let since = head.outage.map(|seconds| format!(" since {}", span(seconds))).unwrap_or_default();
    say(Tone::Bad, !head.kafka_up, &|| format!("Kafka does not answer{since}"));
    say(Tone::Bad, total.failures_rate > 0.0, &|| {
        format!("{} requests/s are not written, and it is not the client's fault", rate(total.failures_rate))
    });
    let spool = head.spool.clone().unwrap_or_default();
    say(Tone::Bad, head.spool.is_some() && !spool.room, &|| "the spool is full".to_owned());
    say(Tone::Warn, head.phase != "serving", &|| head.phase.clone());
    say(Tone::Warn, spool.active, &|| format!("the spool takes events, {} wait in it", count(spool.events)));
    say(Tone::Warn, !spool.active && spool.events > spool.parked, &|| {
        format!("{} events wait in the spool", count(spool.events))
    });
    say(Tone::Warn, spool.parked > 0, &|| format!("{} events are parked in the spool", count(spool.parked)));
    let (queue, budget) = (head.queue.ratio(), head.budget.ratio());
    say(Tone::Warn, queue > 0.8, &|| format!("the producer's queue is {} full", percent(queue)));
    say(Tone::Warn, budget > 0.8, &|| format!("the budget is {} in use", percent(budget)));
    let refused = total.refusals_rate / total.requests_rate.max(f64::MIN_POSITIVE);
    say(Tone::Warn, total.requests_rate > 0.0 && refused > 0.05, &|| {
        format!("{} of the requests are refused", percent(refused))
    });
    say(Tone::Warn, !head.reload.ok, &|| "the last reload failed, the config before is in use".to_owned());
    say(Tone::Warn, head.is_unsafe, &|| "unsafe: acknowledged events may be lost or doubled".to_owned());
    say(Tone::Warn, head.history.ratio() > 0.98, &|| "the memory for history is full (admin.history)".to_owned());
    let throttled = model.kafka.iter().flat_map(|producer| &producer.brokers).any(|broker| broker.throttle.avg > 0.0);
    say(Tone::Warn, throttled, &|| "a broker holds klamm back by its quotas".to_owned());
    list
}
