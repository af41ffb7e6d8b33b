//! Ten minutes of numbers: of the whole in steps of a second, of a client or a topic in steps of five.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

use serde::Serialize;

use super::row::{Row, round};
use crate::telemetry::Memory;
use crate::telemetry::memory::Grant;

/// How far back curves go, in seconds.
pub(super) const SPAN: usize = 600;
/// Between two points of a client's or topic's curve, in seconds.
pub(super) const STEP: usize = 5;

/// Events, bytes, refusals and failures in a second, the 50th and the 99th percentile in seconds, the part of the quota in use.
type Point = [f32; 7];

/// The last points, the newest last. The charts of the page are drawn from them.
struct Curve {
    points: VecDeque<Point>,
    _room: Grant,
}

/// Those of all clients, or of all topics, that did something within their span.
pub(super) struct Curves {
    memory: Arc<Memory>,
    rows: HashMap<String, Curve>,
}

/// A curve as it is sent: not a number is `null`.
#[derive(Serialize)]
pub(super) struct Drawn {
    step: usize,
    /// When the last point was added, in milliseconds since the epoch.
    at: u64,
    points: Vec<[Option<f64>; 7]>,
}

impl Curves {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self { memory, rows: HashMap::new() }
    }

    /// Adds a point to each curve; due every [`STEP`] seconds. A curve begins with the first event or refusal and ends
    /// when its span holds none; where there is no memory it does not begin. `least` is what was left of the quotas at
    /// worst since the last point: a flood and its end may both lie in between.
    pub(super) fn push<'a>(&mut self, rows: impl Iterator<Item = &'a Row>, least: &HashMap<&str, f64>) {
        let mut there = HashSet::new();
        for row in rows {
            there.insert(row.id.as_str());
            let point = point(row, least.get(row.id.as_str()).copied());
            let moves = is_moving(&point);
            if let Some(curve) = self.rows.get_mut(&row.id) {
                if curve.points.len() == SPAN / STEP {
                    curve.points.pop_front();
                }
                curve.points.push_back(point);
                if !moves && !curve.points.iter().any(is_moving) {
                    self.rows.remove(&row.id);
                }
            } else if moves && let Some(room) = self.memory.take(SPAN / STEP * size_of::<Point>()) {
                let mut points = VecDeque::with_capacity(SPAN / STEP);
                points.push_back(point);
                self.rows.insert(row.id.clone(), Curve { points, _room: room });
            }
        }
        self.rows.retain(|id, _| there.contains(id.as_str()));
    }

    /// The curve of `id`, which was last lengthened at `at`; empty where there is none.
    pub(super) fn draw(&self, id: &str, at: u64) -> Drawn {
        let number = |value: f32| Some(round(value.into(), 1e6)).filter(|value| value.is_finite());
        let points = self.rows.get(id).map(|curve| curve.points.iter().map(|point| point.map(number)).collect());
        Drawn { step: STEP, at, points: points.unwrap_or_default() }
    }
}

fn point(row: &Row, least: Option<f64>) -> Point {
    let took = |took: super::row::Took| took.seconds().map_or(f32::NAN, |seconds| seconds as f32);
    let left = row.room.as_ref().and_then(|room| room.values().copied().chain(least).reduce(f64::min));
    let used = left.map_or(f32::NAN, |left| (1.0 - left) as f32);
    let rates = [row.events_per_second, row.bytes_per_second, row.refusals_per_second, row.failures_per_second];
    let [events, bytes, refusals, failures] = rates.map(|rate| rate as f32);
    [events, bytes, refusals, failures, took(row.p50), took(row.p99), used]
}

fn is_moving(point: &Point) -> bool {
    point.iter().take(4).any(|rate| *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::row::Flow;
    use super::*;

    fn row(rate: f64) -> Row {
        Row { events_per_second: rate, ..Flow::default().row("a") }
    }

    #[test]
    fn a_curve_lasts_for_its_span_and_gives_its_memory_back() {
        let memory = Memory::new(1 << 20);
        let mut curves = Curves::new(Arc::clone(&memory));
        curves.push([row(0.0)].iter(), &HashMap::new());
        assert_eq!(memory.usage().0, 0, "who sends nothing costs nothing");
        for _ in 0..SPAN / STEP + 10 {
            curves.push([row(2.0)].iter(), &HashMap::new());
        }
        assert_eq!(curves.draw("a", 0).points.len(), SPAN / STEP);
        for _ in 0..SPAN / STEP - 1 {
            curves.push([row(0.0)].iter(), &HashMap::new());
        }
        assert_eq!(curves.draw("a", 0).points.len(), SPAN / STEP);
        curves.push([row(0.0)].iter(), &HashMap::new());
        assert_eq!((curves.draw("a", 0).points.len(), memory.usage().0), (0, 0));
        curves.push([row(1.0)].iter(), &HashMap::new());
        curves.push([].iter(), &HashMap::new());
        assert_eq!(memory.usage().0, 0, "it goes with its row");
    }

    #[test]
    fn the_quota_in_use_is_the_most_since_the_last_point() {
        let mut curves = Curves::new(Memory::new(1 << 20));
        let row = Row { room: Some([("requests", 0.9), ("events", 0.75)].into()), ..row(1.0) };
        curves.push([&row].into_iter(), &HashMap::new());
        curves.push([&row].into_iter(), &HashMap::from([("a", 0.0)]));
        let used: Vec<_> = curves.draw("a", 0).points.iter().map(|point| point[6]).collect();
        assert_eq!(used, [Some(0.25), Some(1.0)]);
    }

    #[test]
    fn without_memory_there_is_no_curve() {
        let mut curves = Curves::new(Memory::new(100));
        curves.push([row(1.0)].iter(), &HashMap::new());
        assert!(curves.draw("a", 0).points.is_empty());
    }
}
