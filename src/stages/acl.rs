//! Which topics a client may write to. Deny by default: what no grant names is refused, whether it exists or not.

use std::collections::HashSet;

/// The topics of one client.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    exact: HashSet<String>,
    /// Without the `*`.
    prefixes: Vec<String>,
    /// As the config has them.
    patterns: Vec<String>,
}

impl Grants {
    /// Grants for exact names and for prefixes as `clicks-*`; `*` alone is every topic.
    pub fn new(patterns: &[String]) -> Self {
        let mut grants = Self { patterns: patterns.to_vec(), ..Self::default() };
        for pattern in patterns {
            match pattern.strip_suffix('*') {
                Some(prefix) => grants.prefixes.push(prefix.to_owned()),
                None => {
                    grants.exact.insert(pattern.clone());
                }
            }
        }
        grants
    }

    /// Whether the client may write to `topic`.
    pub fn allows(&self, topic: &str) -> bool {
        self.exact.contains(topic) || self.prefixes.iter().any(|prefix| topic.starts_with(prefix))
    }

    /// What is granted, as the config has it.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(patterns: &[&str]) -> Grants {
        Grants::new(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_granted_is_nothing_allowed() {
        assert!(!grants(&[]).allows("orders"));
        assert!(!grants(&[]).allows(""));
    }

    #[test]
    fn a_name_is_granted_exactly_and_a_prefix_with_what_follows() {
        let grants = grants(&["orders", "clicks-*"]);
        for topic in ["orders", "clicks-", "clicks-eu"] {
            assert!(grants.allows(topic), "{topic}");
        }
        for topic in ["order", "orders2", "Orders", "clicks", "xclicks-eu", "*", ""] {
            assert!(!grants.allows(topic), "{topic}");
        }
        assert_eq!(grants.patterns(), ["orders", "clicks-*"]);
    }

    #[test]
    fn a_star_alone_grants_every_topic() {
        assert!(grants(&["*"]).allows("anything"));
    }
}
