//! Topic policies by name.
//!
//! An exact name wins, then the longest prefix (`clicks-*`). A name that Kafka would not take has no policy, whatever
//! the prefixes say. Knows the config alone, never Kafka.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::key;
use crate::config::Topic;
use crate::event::TopicName;

/// What the config says of a topic, ready for use.
#[derive(Debug)]
pub struct Policy {
    /// As configured.
    pub topic: Topic,
    /// Its key rule.
    pub key: key::Rule,
    /// Its `client_id`.
    pub client_id: Option<Arc<str>>,
}

impl Policy {
    fn new(topic: &Topic) -> Self {
        // Validation refuses pointers that are none.
        let key = key::Rule::of(&topic.key).unwrap_or_default();
        Self { topic: topic.clone(), key, client_id: topic.client_id.as_deref().map(Arc::from) }
    }
}

/// Every policy of the config.
#[derive(Debug, Clone)]
pub struct Topics {
    exact: HashMap<String, Arc<Policy>>,
    /// Without the `*`, the longest first.
    prefixes: Vec<(String, Arc<Policy>)>,
    /// As the config names them.
    entries: Vec<(String, Arc<Policy>)>,
}

impl Topics {
    /// The policies of the section `topics`.
    pub fn new(topics: &BTreeMap<String, Topic>) -> Self {
        let entries: Vec<_> = topics.iter().map(|(name, topic)| (name.clone(), Arc::new(Policy::new(topic)))).collect();
        let mut exact = HashMap::new();
        let mut prefixes = Vec::new();
        for (name, topic) in &entries {
            match name.strip_suffix('*') {
                Some(prefix) => prefixes.push((prefix.to_owned(), Arc::clone(topic))),
                None => {
                    exact.insert(name.clone(), Arc::clone(topic));
                }
            }
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { exact, prefixes, entries }
    }

    /// The policy for the topic `name`; `None` where the config has none or the name is not legal.
    pub fn find(&self, name: &str) -> Option<Arc<Policy>> {
        if !TopicName::is_legal(name) {
            return None;
        }
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, topic)| topic);
        self.exact.get(name).or_else(by_prefix).cloned()
    }

    /// Whether the config has a policy under just this name.
    pub fn names(&self, name: &str) -> bool {
        self.exact.contains_key(name)
    }

    /// Each policy under its name or `prefix-*`, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Arc<Policy>)> {
        self.entries.iter().map(|(name, topic)| (name.as_str(), topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteSize;

    /// Policies that can be told apart by `max_event`.
    fn topics(entries: &[(&str, u64)]) -> Topics {
        let topic = |size| Topic { max_event: ByteSize::bytes(size), ..Topic::default() };
        Topics::new(&entries.iter().map(|(name, size)| ((*name).to_owned(), topic(*size))).collect())
    }

    fn found(topics: &Topics, name: &str) -> Option<u64> {
        topics.find(name).map(|policy| policy.topic.max_event.get())
    }

    #[test]
    fn an_exact_name_wins_then_the_longest_prefix() {
        let topics = topics(&[("a-*", 1), ("a-b-*", 2), ("a-b-c", 3), ("z", 4)]);
        assert_eq!(found(&topics, "a-b-c"), Some(3));
        assert_eq!(found(&topics, "a-b-d"), Some(2));
        assert_eq!(found(&topics, "a-b"), Some(1));
        assert_eq!(found(&topics, "a-"), Some(1));
        assert_eq!(found(&topics, "z"), Some(4));
        assert_eq!(found(&topics, "z1"), None);
        assert_eq!(found(&topics, "a"), None);
    }

    #[test]
    fn an_illegal_name_has_no_policy_even_under_a_star() {
        let topics = topics(&[("*", 1)]);
        assert_eq!(found(&topics, "anything"), Some(1));
        for name in ["", ".", "..", "a/b", "a b", "a*", &"x".repeat(250)] {
            assert_eq!(found(&topics, name), None, "{name}");
        }
    }

    #[test]
    fn the_policies_are_listed_as_the_config_names_them() {
        let topics = topics(&[("z", 4), ("a-*", 1)]);
        let names: Vec<_> = topics.entries().map(|(name, _)| name).collect();
        assert_eq!(names, ["a-*", "z"]);
    }
}
