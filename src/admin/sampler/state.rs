//! What is known of the last ten minutes, and how a second is added to it.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::Sources;
use super::curve::{Curves, SPAN};
use super::head::{Head, Part};
use super::heat::Heat;
use super::roster::{Group, Roster};
use super::row::{Row, Table, round};
use super::sent::{Sent, spread};
use super::track::SLOT;
use crate::event::{ClientId, TopicName};
use crate::ingest::{Gateway, Rules};
use crate::stages::admission::Usage;
use crate::telemetry::Memory;

/// See the module.
pub(super) struct State {
    /// Of the last reading; 0 before the first.
    pub(super) tick: u64,
    pub(super) roster: Roster,
    pub(super) clients: Table,
    pub(super) topics: Table,
    pub(super) client_curves: Curves,
    pub(super) topic_curves: Curves,
    pub(super) heat: Heat,
    /// When the curves were last lengthened, in milliseconds since the epoch.
    pub(super) lengthened: u64,
    pub(super) points: VecDeque<Point>,
    pub(super) head: Head,
    pub(super) sent: Sent,
}

/// A point of the curves of the whole: the time in seconds, events, bytes, refusals, failures in a second, 50th and 99th
/// percentile in seconds, parts of budget and queue in use, bytes in the spool.
pub(super) type Point = [Option<f64>; 10];

impl State {
    /// Knows nothing yet.
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        Self {
            tick: 0,
            roster: Roster::default(),
            clients: Table::default(),
            topics: Table::default(),
            client_curves: Curves::new(Arc::clone(memory)),
            topic_curves: Curves::new(Arc::clone(memory)),
            heat: Heat::new(Arc::clone(memory)),
            lengthened: 0,
            points: VecDeque::new(),
            head: Head::default(),
            sent: Sent::default(),
        }
    }

    /// One reading, at `at` milliseconds since the epoch.
    pub(super) fn read(&mut self, sources: &Sources, at: u64) {
        let Sources { gateway, board, .. } = sources;
        self.tick += 1;
        self.sent.push(board.topics());
        let rules = gateway.rules.load_full();
        let is_new = self.roster.read(&gateway.metrics, &rules, self.tick);
        let usage = gateway.budget.usage();
        let budget = Part { used: usage.used, of: usage.total };
        self.clients.begin();
        self.topics.begin();
        self.client_rows(gateway, &rules, &usage);
        self.topic_rows(gateway, &usage);
        if is_new {
            self.clients.keep(told(&self.roster.clients), self.tick);
            self.topics.keep(told(&self.roster.topics), self.tick);
        }
        if self.lengthens() {
            self.lengthened = at;
            self.client_curves.push(self.clients.all(), &least(&mut self.roster.clients));
            self.topic_curves.push(self.topics.all(), &HashMap::new());
            self.heat.push(self.roster.topics.iter().map(|group| group.id.as_str()), &self.sent);
        }
        let total = self.roster.total().row("");
        self.point(at, &total, &budget, Head::of(sources, total.clone(), budget.clone()));
    }

    /// Whether curves have just become a point longer.
    pub(super) fn lengthens(&self) -> bool {
        self.tick.is_multiple_of(SLOT)
    }

    fn client_rows(&mut self, gateway: &Gateway, rules: &Rules, usage: &Usage) {
        let held: HashMap<&ClientId, (u64, u64)> =
            usage.clients.iter().map(|(client, held, share)| (client, (*held, *share))).collect();
        let now = gateway.now();
        for group in self.roster.clients.iter_mut().filter(|group| group.told) {
            let holds = held.get(&group.id).copied();
            if !std::mem::take(&mut group.stirred) && !group.restless && holds.is_none() {
                continue;
            }
            let room = rules.clients.get(&group.id).map(|client| {
                let left = |s: &crate::stages::limit::Standing| s.remaining as f64 / (s.quota as f64).max(1.0);
                client.quota.standing(now).map(|s| (s.policy.name(), round(left(&s), 1000.0))).collect()
            });
            let (bytes, share) = holds.unzip();
            let row = Row { room, held: bytes.unwrap_or_default(), share, ..group.flow.row(group.id.as_str()) };
            // A quota fills up again without a request, and what is held is given back.
            let left = row.room.iter().flat_map(|room| room.values().copied()).fold(1.0, f64::min);
            group.restless = holds.is_some() || left < 1.0;
            group.least = group.least.min(left);
            self.clients.put(row, self.tick);
        }
    }

    fn topic_rows(&mut self, gateway: &Gateway, usage: &Usage) {
        let waiting: HashMap<&TopicName, u64> = usage.topics.iter().map(|(topic, held)| (topic, *held)).collect();
        let all = self.lengthens();
        for group in self.roster.topics.iter_mut().filter(|group| group.told) {
            let held = waiting.get(&group.id).copied().unwrap_or_default();
            if !std::mem::take(&mut group.stirred) && !group.restless && held == 0 && !all {
                continue;
            }
            group.restless = held > 0;
            let row = Row {
                held,
                partitions: gateway.catalog.peek(&group.id).map(|known| known.partitions),
                spread: spread(&self.sent.rates(group.id.as_str())),
                // That of a client, which writes to others too.
                seen: None,
                ..group.flow.row(group.id.as_str())
            };
            self.topics.put(row, self.tick);
        }
    }

    fn point(&mut self, at: u64, total: &Row, budget: &Part, head: Head) {
        if self.points.len() == SPAN {
            self.points.pop_front();
        }
        let part = |part: &Part| Some(round(part.ratio(), 10_000.0));
        self.points.push_back([
            Some((at / 1000) as f64),
            Some(total.events_per_second),
            Some(total.bytes_per_second),
            Some(total.refusals_per_second),
            Some(total.failures_per_second),
            total.p50.seconds(),
            total.p99.seconds(),
            part(budget),
            part(&head.queue),
            head.spool.as_ref().map(|spool| spool.bytes as f64),
        ]);
        self.head = head;
    }
}

/// The least that was left of the quotas of each client that used them, since this was last asked.
fn least(clients: &mut [Group<ClientId>]) -> HashMap<&str, f64> {
    let used = clients.iter_mut().filter(|group| group.least < 1.0);
    used.map(|group| (group.id.as_str(), std::mem::replace(&mut group.least, 1.0))).collect()
}

fn told<K: Borrow<str>>(groups: &[Group<K>]) -> impl Fn(&str) -> bool {
    let names: HashSet<&str> = groups.iter().filter(|group| group.told).map(|group| group.id.borrow()).collect();
    move |id| names.contains(id)
}
