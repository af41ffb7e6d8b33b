//! What klamm has told so far. Pure: events go in, nothing else happens.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::wire::{Frame, Head, Page, Point, Producer, Row, Took};
use crate::cli::admin::sse::Event;
use crate::cli::figures;

/// As many points as klamm keeps: a second each.
const SPAN: usize = 600;
/// Rates of codes are over so many milliseconds, as all rates are.
const RATE: u64 = 5_000;

/// Whom a page is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Subject {
    /// Nobody: the overview.
    #[default]
    All,
    /// A client.
    Client(String),
    /// A topic.
    Topic(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The last `hello`'s; empty before the first.
    pub(super) version: String,
    pub(super) instance: String,
    pub(super) cluster: String,
    pub(super) bootstrap: Vec<String>,
    slowest: Option<f64>,
    /// By klamm's clock, in milliseconds since the epoch.
    pub(super) at: u64,
    pub(super) head: Head,
    pub(super) points: VecDeque<Point>,
    pub(super) clients: BTreeMap<String, Row>,
    pub(super) topics: BTreeMap<String, Row>,
    pub(super) kafka: Vec<Producer>,
    page: Option<Page>,
    /// Refusals by code since the start, each with when.
    codes: VecDeque<(u64, BTreeMap<String, u64>)>,
    /// Why there is no stream, since when.
    pub(super) lost: Option<(String, Instant)>,
    /// What is to be known about the stream since it came back.
    pub(super) note: Option<(&'static str, Instant)>,
}

impl Model {
    /// Whether anything was told yet.
    pub(super) fn is_told(&self) -> bool {
        self.at > 0
    }

    /// Takes an event of the stream.
    ///
    /// # Errors
    /// One that klamm's stream does not have.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) -> Result<(), serde_json::Error> {
        match event.name.as_str() {
            "hello" => self.greet(serde_json::from_str(&event.data)?, now),
            "tick" => self.take(serde_json::from_str(&event.data)?),
            "page" => self.turn(serde_json::from_str(&event.data)?),
            _ => {}
        }
        Ok(())
    }

    /// There is no stream, for this reason.
    pub(super) fn lose(&mut self, why: String, now: Instant) {
        let since = self.lost.take().map_or(now, |(_, since)| since);
        self.lost = Some((why, since));
    }

    /// The page of `subject`, as soon as it was told.
    pub(super) fn page(&self, subject: &Subject) -> Option<&Page> {
        self.page.as_ref().filter(|page| match subject {
            Subject::All => false,
            Subject::Client(id) => page.client.as_ref() == Some(id),
            Subject::Topic(id) => page.topic.as_ref() == Some(id),
        })
    }

    /// A time in words; beyond the last bucket it says so.
    pub(super) fn took(&self, took: &Took) -> String {
        use super::wire::Time;
        match took {
            None => "–".to_owned(),
            Some(Time::Within(seconds)) => figures::took(*seconds),
            Some(Time::Beyond(_)) => format!("> {} s", self.slowest.unwrap_or(30.0)),
        }
    }

    /// Refusals with `code` in a second.
    pub(super) fn code_rate(&self, code: &str) -> f64 {
        let (Some((old_at, old)), Some((new_at, new))) = (self.codes.front(), self.codes.back()) else { return 0.0 };
        let seconds = new_at.saturating_sub(*old_at) as f64 / 1000.0;
        let of = |codes: &BTreeMap<String, u64>| codes.get(code).copied().unwrap_or_default();
        if seconds > 0.0 { of(new).saturating_sub(of(old)) as f64 / seconds } else { 0.0 }
    }

    fn greet(&mut self, frame: Frame, now: Instant) {
        let restarted = self.is_told() && frame.head.uptime < self.head.uptime;
        if self.lost.take().is_some() {
            let words = if restarted { "klamm was restarted, all counts begin anew" } else { "connected again" };
            self.note = Some((words, now));
        }
        if frame.full {
            self.points.clear();
            self.clients.clear();
            self.topics.clear();
            self.codes.clear();
            self.page = None;
        }
        self.version.clone_from(&frame.version);
        self.instance.clone_from(&frame.instance);
        self.cluster.clone_from(&frame.cluster);
        self.bootstrap.clone_from(&frame.bootstrap);
        self.slowest = frame.slowest;
        self.take(frame);
    }

    fn take(&mut self, frame: Frame) {
        let Frame { at, head, points, point, clients, topics, gone_clients, gone_topics, kafka, .. } = frame;
        self.at = at;
        self.points.extend(points.into_iter().chain(point));
        self.points.drain(..self.points.len().saturating_sub(SPAN));
        self.codes.push_back((at, head.total.codes.clone()));
        while self.codes.front().is_some_and(|(old, _)| old + RATE + 500 < at) {
            self.codes.pop_front();
        }
        (self.head, self.kafka) = (head, kafka);
        self.clients.extend(clients.into_iter().map(|row| (row.id.clone(), row)));
        self.topics.extend(topics.into_iter().map(|row| (row.id.clone(), row)));
        gone_clients.iter().for_each(|id| drop(self.clients.remove(id)));
        gone_topics.iter().for_each(|id| drop(self.topics.remove(id)));
    }

    /// The curve, requests and problems are sent only when there is something new.
    fn turn(&mut self, mut page: Page) {
        let before = self.page.take().filter(|old| (&old.client, &old.topic) == (&page.client, &page.topic));
        if let Some(old) = before {
            page.curve = page.curve.or(old.curve);
            page.requests = page.requests.or(old.requests);
            page.problems = page.problems.or(old.problems);
        }
        self.page = Some(page);
    }
}
