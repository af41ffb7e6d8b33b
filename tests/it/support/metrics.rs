//! Reads the Prometheus text format, as far as tests need it: names, labels, values.

use std::collections::BTreeMap;

/// One scrape.
pub(crate) struct Metrics {
    text: String,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads `text`. Panics at a line that is not of the format.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a line of metrics: {line}")));
        Self { samples: samples.collect(), text: text.to_owned() }
    }

    /// As it was read.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The sum of all samples of `name` that carry these labels; 0 without any.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).sum()
    }

    /// The largest of them; 0 without any.
    pub(crate) fn most(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).fold(0.0, f64::max)
    }

    fn values(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let matches = move |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(matches).map(|sample| sample.value)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (name, text, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (text, rest) = rest.rsplit_once('}')?;
            (name, text, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, "", rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels: labels(text), value })
}

/// `a="x",b="y\"z"`.
fn labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped)) => value.push(escaped),
                    None => break,
                },
                char => value.push(char),
            }
        }
        labels.insert(name.trim_start_matches([',', ' ']).to_owned(), value);
        text = &rest[end..];
    }
    labels
}
