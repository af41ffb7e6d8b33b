//! Ten minutes of each topic by partition: what the heat map of its page is drawn from.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

use serde::Serialize;

use super::curve::{SPAN, STEP};
use super::row::round;
use super::sent::Sent;
use crate::telemetry::Memory;
use crate::telemetry::memory::Grant;

/// More partitions are not drawn: the least busy are left out.
const LANES: usize = 64;

/// Records a second in one step.
enum Column {
    /// Nothing was sent.
    Still,
    /// There was no memory.
    Lost,
    /// By number of the partition.
    Rates { rates: Box<[f32]>, _room: Grant },
}

/// The last steps of all topics that were written to within their span; the newest last.
pub(super) struct Heat {
    memory: Arc<Memory>,
    topics: HashMap<String, VecDeque<Column>>,
}

/// A map as it is sent.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Drawn {
    step: usize,
    /// Those that are drawn, by number.
    partitions: Vec<usize>,
    /// How many are not.
    left_out: usize,
    /// The rates of `partitions`, step by step; none where nothing was sent, `null` where it is not known.
    columns: Vec<Option<Vec<f64>>>,
}

impl Heat {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self { memory, topics: HashMap::new() }
    }

    /// Adds a step to the map of each of `topics`; due every [`STEP`] seconds. A map begins with the first record and ends
    /// when its span holds none.
    pub(super) fn push<'a>(&mut self, topics: impl Iterator<Item = &'a str>, sent: &Sent) {
        let topics: HashSet<&str> = topics.collect();
        for topic in &topics {
            self.step(topic, &sent.rates(topic));
        }
        self.topics.retain(|topic, _| topics.contains(topic.as_str()));
    }

    fn step(&mut self, topic: &str, rates: &BTreeMap<i32, f64>) {
        let column = self.column(rates);
        let moves = !matches!(column, Column::Still);
        let Some(columns) = self.topics.get_mut(topic) else {
            if moves {
                self.topics.insert(topic.to_owned(), VecDeque::from([column]));
            }
            return;
        };
        if columns.len() == SPAN / STEP {
            columns.pop_front();
        }
        columns.push_back(column);
        if !moves && columns.iter().all(|column| matches!(column, Column::Still)) {
            self.topics.remove(topic);
        }
    }

    fn column(&self, rates: &BTreeMap<i32, f64>) -> Column {
        if rates.values().all(|rate| *rate <= 0.0) {
            return Column::Still;
        }
        let count = rates.keys().next_back().and_then(|last| usize::try_from(*last).ok()).map_or(0, |last| last + 1);
        let Some(room) = self.memory.take(count * size_of::<f32>() + size_of::<Column>()) else { return Column::Lost };
        let rate =
            |partition: usize| i32::try_from(partition).ok().and_then(|partition| rates.get(&partition)).copied();
        let rates = (0..count).map(|partition| rate(partition).unwrap_or_default() as f32).collect();
        Column::Rates { rates, _room: room }
    }

    /// The map of `topic`, empty where there is none.
    pub(super) fn draw(&self, topic: &str) -> Drawn {
        let Some(columns) = self.topics.get(topic) else { return Drawn { step: STEP, ..Drawn::default() } };
        let (partitions, left_out) = busiest(columns);
        let draw = |column: &Column| match column {
            Column::Still => Some(Vec::new()),
            Column::Lost => None,
            Column::Rates { rates, .. } => {
                let rate = |place: &usize| rates.get(*place).map_or(0.0, |rate| round((*rate).into(), 10.0));
                Some(partitions.iter().map(rate).collect())
            }
        };
        Drawn { step: STEP, left_out, columns: columns.iter().map(draw).collect(), partitions }
    }
}

/// The busiest partitions by number, and how many others there are.
fn busiest(columns: &VecDeque<Column>) -> (Vec<usize>, usize) {
    let mut sums = Vec::<(f32, usize)>::new();
    for column in columns {
        let Column::Rates { rates, .. } = column else { continue };
        (sums.len()..rates.len()).for_each(|partition| sums.push((0.0, partition)));
        sums.iter_mut().zip(rates).for_each(|((sum, _), rate)| *sum += rate);
    }
    sums.sort_by(|a, b| b.0.total_cmp(&a.0));
    let left_out = sums.len().saturating_sub(LANES);
    sums.truncate(LANES);
    let mut busiest: Vec<_> = sums.into_iter().map(|(_, partition)| partition).collect();
    busiest.sort_unstable();
    (busiest, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(rates: &[f64]) -> BTreeMap<i32, f64> {
        (0..).zip(rates.iter().copied()).collect()
    }

    #[test]
    fn a_map_is_partitions_by_time_and_gives_its_memory_back() {
        let memory = Memory::new(1 << 20);
        let mut heat = Heat::new(Arc::clone(&memory));
        heat.step("t", &rates(&[0.0, 0.0]));
        assert_eq!((heat.draw("t").columns.len(), memory.usage().0), (0, 0), "who is silent costs nothing");
        heat.step("t", &rates(&[1.0, 2.56]));
        heat.step("t", &rates(&[0.0, 0.0]));
        heat.step("t", &rates(&[0.0, 0.0, 7.0]));
        let drawn = heat.draw("t");
        assert_eq!((drawn.partitions, drawn.left_out), (vec![0, 1, 2], 0));
        assert_eq!(drawn.columns, [Some(vec![1.0, 2.6, 0.0]), Some(vec![]), Some(vec![0.0, 0.0, 7.0])]);
        for _ in 0..SPAN / STEP {
            heat.step("t", &rates(&[0.0, 0.0, 0.0]));
        }
        assert_eq!((heat.draw("t").columns.len(), memory.usage().0), (0, 0));
    }

    #[test]
    fn the_span_is_ten_minutes_and_a_topic_that_left_takes_its_map_along() {
        let memory = Memory::new(1 << 20);
        let mut heat = Heat::new(Arc::clone(&memory));
        (0..SPAN).for_each(|_| heat.step("t", &rates(&[1.0])));
        assert_eq!(heat.draw("t").columns.len(), SPAN / STEP);
        heat.push(["u"].into_iter(), &Sent::default());
        assert_eq!(memory.usage().0, 0);
    }

    #[test]
    fn of_many_partitions_the_busiest_are_drawn_and_the_others_counted() {
        let mut heat = Heat::new(Memory::new(1 << 20));
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        heat.step("t", &rates(&many));
        let drawn = heat.draw("t");
        assert_eq!((drawn.partitions.len(), drawn.partitions[0], drawn.left_out), (LANES, 36, 36));
    }

    #[test]
    fn without_memory_a_step_is_not_known() {
        let mut heat = Heat::new(Memory::new(10));
        heat.step("t", &rates(&[1.0]));
        assert_eq!(heat.draw("t").columns, [None]);
    }
}
