//! Facts about the budget.

use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;

use super::budget::SMALL;
use super::*;
use crate::config;
use crate::event::TopicName;
use crate::reject::Reject;
use crate::units::{ByteSize, Percent};

/// 1000 bytes, of which 750 for a client alone and 500 (375 by one client) for a topic.
fn budget() -> Arc<Budget> {
    Budget::new(&config::Budget { total: ByteSize::bytes(1000), client: Percent::new(75), topic: Percent::new(50) })
}

fn share(client: &str, weight: u32) -> Share {
    Share::new(client.into(), NonZeroU32::new(weight).unwrap())
}

/// A permit that holds `bytes`.
fn held(budget: &Arc<Budget>, client: &str, topic: &str, bytes: u64) -> Result<Permit, Reject> {
    let mut permit = budget.open(&share(client, 1), &topic.into());
    permit.grow(bytes).map(|()| permit)
}

/// Whether `client` is granted one byte more, which is freed at once.
fn one(budget: &Arc<Budget>, client: &str, topic: &str) -> Result<(), Reject> {
    held(budget, client, topic, 1).map(drop)
}

#[test]
fn a_lone_client_gets_three_quarters_and_the_next_finds_room() {
    let budget = budget();
    let _flood = [held(&budget, "flood", "a", 375).unwrap(), held(&budget, "flood", "b", 375).unwrap()];
    assert_eq!(one(&budget, "flood", "c"), Err(Reject::ShareExhausted));
    let _normal = held(&budget, "normal", "c", 250).unwrap();
    assert_eq!(one(&budget, "normal", "d"), Err(Reject::Overloaded), "within its share of 500, but all is taken");
    assert_eq!(one(&budget, "flood", "d"), Err(Reject::ShareExhausted));
}

#[test]
fn under_pressure_only_clients_within_their_share_are_admitted() {
    let budget = budget();
    let mut flood = held(&budget, "flood", "a", 700).unwrap();
    let _normal = held(&budget, "normal", "b", 100).unwrap();
    flood.release(60);
    assert_eq!(flood.grow(20), Err(Reject::ShareExhausted), "760 in use, 660 its own, 500 its share");
    assert_eq!(flood.grow(10), Ok(()), "750 in use is no pressure");
    assert!(held(&budget, "normal", "b", 100).is_ok());
}

#[test]
fn shares_go_by_weight_and_a_new_weight_holds_from_the_next_bytes_on() {
    let budget = budget();
    let _a = held(&budget, "a", "t1", 600).unwrap();
    let mut heavy = budget.open(&share("heavy", 3), &"t2".into());
    assert_eq!(heavy.grow(400), Ok(()), "its share is 750");
    let shares = |budget: &Budget| {
        let mut clients = budget.usage().clients;
        clients.sort();
        clients.into_iter().map(|(client, held, share)| (client.to_string(), held, share)).collect::<Vec<_>>()
    };
    assert_eq!(shares(&budget), [("a".into(), 600, 250), ("heavy".into(), 400, 750)]);
    heavy.release(10);
    budget.open(&share("heavy", 1), &"t3".into()).grow(10).unwrap();
    assert_eq!(shares(&budget), [("a".into(), 600, 500), ("heavy".into(), 390, 500)]);
    drop(heavy);
    assert_eq!(shares(&budget), [("a".into(), 600, 750)]);
}

#[test]
fn a_topic_has_its_own_cap_and_within_it_the_same_shares() {
    let budget = budget();
    let _flood = [held(&budget, "flood", "dead", 300).unwrap(), held(&budget, "flood", "dead", 75).unwrap()];
    assert_eq!(one(&budget, "flood", "dead"), Err(Reject::ShareExhausted), "three quarters of the topic's 500");
    assert!(one(&budget, "flood", "alive").is_ok());
    let _normal = held(&budget, "normal", "dead", 125).unwrap();
    assert_eq!(one(&budget, "normal", "dead"), Err(Reject::Overloaded));
    assert!(one(&budget, "normal", "alive").is_ok());
}

#[test]
fn a_single_large_request_is_not_held_to_the_cap_of_its_topic() {
    let budget = budget();
    let mut large = budget.open(&share("a", 1), &"t".into());
    assert_eq!((large.grow(400), large.grow(300)), (Ok(()), Ok(())));
    assert_eq!(one(&budget, "b", "t"), Err(Reject::Overloaded));
    assert_eq!(large.grow(51), Err(Reject::ShareExhausted), "the client's own line holds");
    assert_eq!(large.held(), 700);
}

#[test]
fn a_permit_gives_back_a_part_and_dropped_the_rest() {
    let budget = budget();
    let mut permit = held(&budget, "a", "t", 300).unwrap();
    permit.release(100);
    assert_eq!((permit.held(), budget.usage().used), (200, 200));
    permit.release(u64::MAX);
    assert_eq!((permit.held(), budget.usage().used), (0, 0));
    permit.grow(5).unwrap();
    drop(permit);
    let empty = Usage { total: 1000, used: 0, clients: vec![], topics: vec![] };
    assert_eq!(budget.usage(), empty);
}

#[test]
fn with_its_body_is_taken_what_the_last_request_of_the_client_came_to_hold() {
    const K: u64 = SMALL;
    let total = ByteSize::bytes(1000 * K);
    let budget = Budget::new(&config::Budget { total, client: Percent::new(75), topic: Percent::new(50) });
    let share = share("a", 1);
    let admit = |bytes| {
        let mut permit = budget.open(&share, &"t".into());
        permit.admit(bytes).map(|()| permit)
    };
    let mut first = admit(10 * K).unwrap();
    assert_eq!((first.held(), first.settle(30 * K), first.held()), (10 * K, Ok(()), 30 * K), "nothing is known of it");
    drop(first);
    let mut like = admit(10 * K).unwrap();
    assert_eq!((like.held(), like.admit(K), like.held()), (30 * K, Ok(()), 33 * K));
    assert_eq!((like.grow(15 * K), like.held()), (Ok(()), 33 * K), "out of what was taken ahead");
    assert_eq!((like.grow(10 * K), like.held()), (Ok(()), 36 * K), "7 of it were left");
    assert_eq!((like.settle(22 * K), like.held(), budget.usage().used), (Ok(()), 22 * K, 22 * K));
    let full = held(&budget, "a", "u", 710 * K).unwrap();
    assert_eq!(admit(10 * K).map(drop), Err(Reject::ShareExhausted), "before it is read: 10 would fit, 20 will not");
    drop(full);
    assert_eq!(like.settle(751 * K), Err(Reject::ShareExhausted));
    assert_eq!((like.held(), budget.usage().used), (22 * K, 22 * K), "what is held stays held");
    assert_eq!(admit(10 * K).unwrap().held(), 10 * K + 1000 * K / 16, "a guess takes a 16th of the whole at most");
}

#[test]
fn of_a_small_body_nothing_is_guessed_and_nothing_learned() {
    let (budget, share) = (budget(), share("a", 1));
    let mut tiny = budget.open(&share, &"t".into());
    assert_eq!((tiny.admit(1), tiny.settle(257), tiny.held()), (Ok(()), Ok(()), 257));
    assert_eq!(share.foresee(SMALL), 0, "an event of one byte says nothing of a body of thousands");
    share.learn(SMALL, 3 * SMALL);
    assert_eq!((share.foresee(SMALL), share.foresee(SMALL - 1)), (2 * SMALL, 0));
}

#[test]
fn absurd_sizes_are_refused_and_nothing_is_always_granted() {
    let budget = budget();
    assert_eq!(held(&budget, "a", "t", u64::MAX).map(drop), Err(Reject::ShareExhausted));
    let mut full = held(&budget, "a", "t", 750).unwrap();
    assert_eq!(full.grow(u64::MAX), Err(Reject::ShareExhausted));
    assert_eq!(full.grow(0), Ok(()));
    assert_eq!(budget.usage().used, 750);
}

#[test]
fn accounts_are_forgotten_when_they_are_empty() {
    let budget = budget();
    for n in 0..1000 {
        let (client, topic) = (format!("c{n}"), format!("t{n}"));
        drop(held(&budget, &client, &topic, 1).unwrap());
    }
    let usage = budget.usage();
    assert_eq!((usage.clients.len(), usage.topics.len()), (0, 0));
}

#[test]
fn threads_leave_nothing_behind_and_never_exceed_the_total() {
    let budget = budget();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let budget = &budget;
            scope.spawn(move || {
                let client = format!("c{}", thread % 3);
                for n in 0..2000u64 {
                    let permit = held(budget, &client, &format!("t{}", n % 2), n % 400);
                    let usage = budget.usage();
                    assert!(usage.used <= usage.total);
                    assert_eq!(usage.clients.iter().map(|(_, held, _)| held).sum::<u64>(), usage.used);
                    assert_eq!(usage.topics.iter().map(|(_, held)| held).sum::<u64>(), usage.used);
                    drop(permit);
                }
            });
        }
    });
    assert_eq!(budget.usage().used, 0);
}

/// A model that keeps no sums: who holds what, permit by permit.
struct Model {
    budget: Arc<Budget>,
    permits: Vec<(usize, usize, Permit)>,
}

#[derive(Debug, Clone)]
enum Step {
    Open(usize, usize),
    Grow(usize, u64),
    Release(usize, u64),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![0..60u64, 0..500u64];
    let step = prop_oneof![
        2 => (0..4usize, 0..3usize).prop_map(|(client, topic)| Step::Open(client, topic)),
        6 => (any::<usize>(), bytes.clone()).prop_map(|(i, bytes)| Step::Grow(i, bytes)),
        1 => (any::<usize>(), bytes).prop_map(|(i, bytes)| Step::Release(i, bytes)),
        1 => any::<usize>().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..120)
}

impl Model {
    fn sum(&self, which: impl Fn(usize, usize) -> bool) -> u64 {
        self.permits.iter().filter(|(client, topic, _)| which(*client, *topic)).map(|(_, _, p)| p.held()).sum()
    }

    /// The fair share of `client` once it holds something, of the `size` bytes that the permits of `which` compete for.
    fn fair(&self, size: u64, client: usize, which: impl Fn(usize) -> bool) -> u64 {
        let active = |c: &usize| *c == client || self.sum(|of, topic| of == *c && which(topic)) > 0;
        let all: u64 = (0..4).filter(active).map(|c| c as u64 + 1).sum();
        (size * (client as u64 + 1) / all).min(size * 3 / 4)
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let count = self.permits.len();
        match *step {
            Step::Open(client, topic) => {
                let name = TopicName::from(format!("t{topic}").as_str());
                let permit = self.budget.open(&share(&format!("c{client}"), client as u32 + 1), &name);
                self.permits.push((client, topic, permit));
            }
            _ if count == 0 => {}
            Step::Grow(i, bytes) => self.grow(i % count, bytes)?,
            Step::Release(i, bytes) => self.permits[i % count].2.release(bytes),
            Step::Drop(i) => drop(self.permits.swap_remove(i % count)),
        }
        Ok(())
    }

    fn grow(&mut self, i: usize, bytes: u64) -> Result<(), TestCaseError> {
        let (client, topic, _) = self.permits[i];
        let whole = self.sum(|of, _| of == client) + bytes;
        let in_topic = self.sum(|of, t| of == client && t == topic) + bytes;
        let fair = whole <= self.fair(1000, client, |_| true);
        let fair_in_topic = in_topic <= self.fair(500, client, |t| t == topic);
        let (used, used_in_topic) = (self.sum(|_, _| true) + bytes, self.sum(|_, t| t == topic) + bytes);
        let before = self.permits[i].2.held();
        let alone_in_topic = used_in_topic == before + bytes;
        match self.permits[i].2.grow(bytes) {
            Ok(()) => {
                prop_assert_eq!(self.permits[i].2.held(), before + bytes);
                prop_assert!(used <= 750 || fair || bytes == 0, "beyond the line over its share");
                prop_assert!(used_in_topic <= 375 || fair_in_topic || alone_in_topic || bytes == 0);
            }
            Err(refusal) => {
                prop_assert_eq!(self.permits[i].2.held(), before);
                prop_assert!(used > 750 || used_in_topic > 375 || whole > 750, "refused without pressure");
                match refusal {
                    Reject::ShareExhausted => prop_assert!(!(fair && fair_in_topic), "429 below its share"),
                    Reject::Overloaded => prop_assert!(used > 1000 || used_in_topic > 500, "503 with room"),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let usage = self.budget.usage();
        prop_assert_eq!(usage.used, self.sum(|_, _| true));
        prop_assert!(usage.used <= 1000);
        for client in 0..4 {
            prop_assert!(self.sum(|of, _| of == client) <= 750);
        }
        for topic in 0..3 {
            let used = self.sum(|_, t| t == topic);
            let name = format!("t{topic}");
            let shown = usage.topics.iter().find(|(t, _)| t.as_str() == name).map_or(0, |(_, held)| *held);
            prop_assert_eq!(used, shown);
        }
        for (client, held, share) in &usage.clients {
            let number: usize = client.as_str()[1..].parse().unwrap();
            prop_assert_eq!(*held, self.sum(|of, _| of == number));
            prop_assert_eq!(*share, self.fair(1000, number, |_| true));
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn any_sequence_keeps_to_the_rule_and_frees_all(steps in steps()) {
        let budget = budget();
        let mut model = Model { budget: Arc::clone(&budget), permits: Vec::new() };
        for step in &steps {
            model.step(step)?;
            model.check()?;
        }
        drop(model);
        prop_assert_eq!(budget.usage(), Usage { total: 1000, used: 0, clients: vec![], topics: vec![] });
    }

    #[test]
    fn a_topic_is_over_its_cap_only_by_a_permit_that_had_it_for_itself(
        sizes in prop::collection::vec((0..4usize, 0..300u64), 1..60),
    ) {
        let budget = budget();
        let mut permits: Vec<Permit> = Vec::new();
        for (client, bytes) in sizes {
            let alone = permits.iter().all(|permit| permit.held() == 0);
            let mut permit = budget.open(&share(&format!("c{client}"), 1), &"t".into());
            let granted = permit.grow(bytes).is_ok();
            permits.push(permit);
            let used = budget.usage().used;
            prop_assert!(used <= 500 || !granted || alone || bytes == 0);
        }
    }

    #[test]
    fn a_lone_flood_leaves_a_quarter_to_another(
        flood in prop::collection::vec((0..3usize, 1..200u64), 1..100),
        wanted in 1..=250u64,
    ) {
        let budget = budget();
        let _flood: Vec<_> =
            flood.iter().filter_map(|(topic, bytes)| held(&budget, "flood", &format!("t{topic}"), *bytes).ok()).collect();
        prop_assert!(held(&budget, "normal", "own", wanted).is_ok());
        prop_assert!(held(&budget, "normal", "t0", wanted.min(125)).is_ok());
    }
}

#[test]
fn a_client_is_heavy_from_a_64th_on_until_it_holds_nothing() {
    let budget = budget();
    let mut first = held(&budget, "flood", "a", 15).unwrap();
    assert!(!first.is_heavy());
    let second = held(&budget, "flood", "a", 1).unwrap();
    assert!(first.is_heavy() && second.is_heavy());
    drop(second);
    first.release(14);
    assert!(first.is_heavy(), "it still holds a byte");
    assert!(!held(&budget, "normal", "a", 15).unwrap().is_heavy());
    drop(first);
    assert!(!held(&budget, "flood", "a", 15).unwrap().is_heavy());
}
