//! Every pair with what it did of late, and the clients and topics that they add up to.
//!
//! Each pair is looked at each second; what adds up is added anew only where a pair stirred.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::row::Flow;
use super::track::Track;
use crate::event::{ClientId, TopicName};
use crate::ingest::rules::Rules;
use crate::telemetry::{Metrics, Pair};

/// The pairs of one client, or of one topic.
pub(super) struct Group<K> {
    pub(super) id: K,
    /// Places among the tracks.
    members: Vec<usize>,
    /// What they did together.
    pub(super) flow: Flow,
    /// Whether it has a row: a client of the config, or one of its pairs counted something.
    pub(super) told: bool,
    /// Whether its row may be another one than a second ago.
    pub(super) stirred: bool,
    /// Kept for who makes rows of it: something besides the counters moves still.
    pub(super) restless: bool,
    /// Kept for the same: the least that was left of its quotas since its curve was last lengthened, from 0 to 1.
    pub(super) least: f64,
}

impl<K> Group<K> {
    fn new(id: K) -> Self {
        Self { id, members: Vec::new(), flow: Flow::default(), told: false, stirred: true, restless: false, least: 1.0 }
    }

    fn sum(&mut self, tracks: &[Track]) {
        if !self.stirred {
            return;
        }
        self.flow = Flow::default();
        for track in self.members.iter().filter_map(|place| tracks.get(*place)).filter(|track| track.is_told()) {
            self.told = true;
            self.flow.add(track);
            if track.is_limited {
                // Between two looks at the quota it was spent, and perhaps filled up again.
                self.least = 0.0;
            }
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Roster {
    /// What it stands for: the version of the pairs, and the rules.
    made_of: Option<(u64, Arc<Rules>)>,
    tracks: Vec<Track>,
    /// For each track the places of its client and its topic.
    homes: Vec<(usize, usize)>,
    places: HashMap<(ClientId, TopicName), usize>,
    pub(super) clients: Vec<Group<ClientId>>,
    pub(super) topics: Vec<Group<TopicName>>,
}

impl Roster {
    /// Reads every pair at `tick`. Returns whether there may be other clients or topics than before.
    pub(super) fn read(&mut self, metrics: &Metrics, rules: &Arc<Rules>, tick: u64) -> bool {
        let is_new = self.renew(metrics, rules);
        for (track, (client, topic)) in self.tracks.iter_mut().zip(&self.homes) {
            if track.read(tick) {
                stir(&mut self.clients, *client);
                stir(&mut self.topics, *topic);
            }
        }
        self.clients.iter_mut().for_each(|group| group.sum(&self.tracks));
        self.topics.iter_mut().for_each(|group| group.sum(&self.tracks));
        is_new
    }

    /// What `pair` did of late.
    pub(super) fn track(&self, pair: &Pair) -> Option<&Track> {
        self.tracks.get(*self.places.get(&(pair.client().clone(), pair.topic().clone()))?)
    }

    /// All pairs.
    pub(super) fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter()
    }

    /// Everything together.
    pub(super) fn total(&self) -> Flow {
        let mut total = Flow::default();
        self.topics.iter().for_each(|topic| total.merge(&topic.flow));
        total
    }

    fn renew(&mut self, metrics: &Metrics, rules: &Arc<Rules>) -> bool {
        // Before the pairs: one that comes in between is found at the next tick.
        let version = metrics.pairs_version();
        if self.made_of.as_ref().is_some_and(|(of, known)| *of == version && Arc::ptr_eq(known, rules)) {
            return false;
        }
        self.made_of = Some((version, Arc::clone(rules)));
        let old = std::mem::take(&mut self.tracks).into_iter().map(|track| (key(&track.pair), track));
        let mut old: HashMap<_, _> = old.collect();
        let mut clients: BTreeMap<_, _> =
            rules.clients.keys().map(|id| (id.clone(), Group { told: true, ..Group::new(id.clone()) })).collect();
        let mut topics = BTreeMap::new();
        for (place, pair) in metrics.pairs().into_iter().enumerate() {
            join(&mut clients, pair.client(), place);
            join(&mut topics, pair.topic(), place);
            let kept = old.remove(&key(&pair)).filter(|track| Arc::ptr_eq(&track.pair, &pair));
            self.tracks.push(kept.unwrap_or_else(|| Track::new(pair)));
        }
        (self.clients, self.topics) = (clients.into_values().collect(), topics.into_values().collect());
        self.places = self.tracks.iter().enumerate().map(|(place, track)| (key(&track.pair), place)).collect();
        self.homes = vec![(0, 0); self.tracks.len()];
        for (home, group) in self.clients.iter().enumerate() {
            group.members.iter().for_each(|place| settle(&mut self.homes, *place, |of| of.0 = home));
        }
        for (home, group) in self.topics.iter().enumerate() {
            group.members.iter().for_each(|place| settle(&mut self.homes, *place, |of| of.1 = home));
        }
        true
    }
}

fn key(pair: &Pair) -> (ClientId, TopicName) {
    (pair.client().clone(), pair.topic().clone())
}

fn join<K: Clone + Ord>(groups: &mut BTreeMap<K, Group<K>>, id: &K, place: usize) {
    groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone())).members.push(place);
}

fn settle(homes: &mut [(usize, usize)], place: usize, set: impl FnOnce(&mut (usize, usize))) {
    if let Some(home) = homes.get_mut(place) {
        set(home);
    }
}

fn stir<K>(groups: &mut [Group<K>], place: usize) {
    if let Some(group) = groups.get_mut(place) {
        group.stirred = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Client, Config};

    fn rules(clients: &[&str]) -> Arc<Rules> {
        let clients = clients.iter().map(|name| ((*name).to_owned(), Client::default())).collect();
        Arc::new(Rules::new(Arc::new(Config { clients, ..Config::default() }), None))
    }

    /// Client and received events of each group that has a row.
    fn told<K: ToString>(groups: &[Group<K>]) -> Vec<(String, u64)> {
        let told = groups.iter().filter(|group| group.told);
        told.map(|group| (group.id.to_string(), group.flow.row("").events)).collect()
    }

    fn owned(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(id, events)| ((*id).to_owned(), *events)).collect()
    }

    #[test]
    fn only_those_stir_in_whose_pairs_something_was_counted() {
        let (metrics, rules, mut roster) = (Metrics::new(10, 1 << 20), rules(&["a", "b"]), Roster::default());
        let pair = metrics.pair(&"a".into(), &"t".into());
        metrics.pair(&"b".into(), &"u".into());
        pair.received(2);
        assert!(roster.read(&metrics, &rules, 1), "all are new");
        for tick in 2..=200 {
            assert!(!roster.read(&metrics, &rules, tick));
            roster.clients.iter_mut().for_each(|group| group.stirred = false);
            roster.topics.iter_mut().for_each(|group| group.stirred = false);
        }
        pair.received(3);
        roster.read(&metrics, &rules, 201);
        let stirred: Vec<_> = roster.clients.iter().map(|group| (group.id.as_str(), group.stirred)).collect();
        assert_eq!(stirred, [("_anonymous", false), ("a", true), ("b", false)]);
        assert_eq!(told(&roster.clients), owned(&[("a", 5), ("b", 0)]));
        assert_eq!(told(&roster.topics), owned(&[("t", 5), ("u", 0)]));
        assert_eq!(roster.total().row("").events, 5);
    }

    #[test]
    fn a_quota_that_was_spent_between_two_looks_is_known_from_the_refusal() {
        let (metrics, rules, mut roster) = (Metrics::new(10, 1 << 20), rules(&["a"]), Roster::default());
        let pair = metrics.pair(&"a".into(), &"t".into());
        pair.refused(crate::reject::Code::MalformedBody);
        let mut least = |tick: u64| {
            roster.read(&metrics, &rules, tick);
            let client = roster.clients.iter_mut().find(|group| group.id.as_str() == "a").unwrap();
            std::mem::replace(&mut client.least, 1.0)
        };
        assert_eq!(least(1), 1.0);
        pair.refused(crate::reject::Code::RateLimited);
        assert_eq!((least(2), least(3)), (0.0, 1.0));
    }

    #[test]
    fn pairs_that_come_and_go_come_and_go_here_and_one_in_the_place_of_another_begins_anew() {
        let (metrics, both, mut roster) = (Metrics::new(10, 1 << 20), rules(&["a", "b"]), Roster::default());
        metrics.pair(&"a".into(), &"t".into()).received(100);
        metrics.pair(&"b".into(), &"t".into()).received(10);
        roster.read(&metrics, &both, 1);
        metrics.retain(|client, _| client == "b");
        metrics.pair(&"a".into(), &"t".into()).received(3);
        metrics.unknown_topic(&"b".into()).request(crate::telemetry::RequestResult::Refused);
        assert!(roster.read(&metrics, &both, 2));
        assert_eq!(told(&roster.clients), owned(&[("a", 3), ("b", 10)]));
        assert_eq!(told(&roster.topics), owned(&[("_unknown", 0), ("t", 13)]));
        let of = |client: &str| metrics.pair(&client.into(), &"t".into());
        assert_eq!(roster.track(&of("a")).unwrap().rates()[0], 3.0);
        assert!(roster.read(&metrics, &rules(&["b"]), 3), "another config");
        metrics.retain(|client, _| client == "b");
        assert!(roster.read(&metrics, &rules(&["b"]), 4));
        assert_eq!(told(&roster.clients), owned(&[("b", 10)]));
    }
}
