//! A file as the body of every request, for gateways with forms of their own. `{id}` becomes a new id at each place,
//! `{time}` the time the load was prepared, plus a millisecond for each place.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use fastrand::Rng;

use super::timestamp::rfc3339;
use super::{BODIES, POOL, Raw};
use crate::load::Options;

pub(super) fn bodies(file: &Path, options: &Options) -> Result<Vec<Raw>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut filler = Filler { random: Rng::with_seed(options.seed), time_ms: u64::try_from(now).unwrap_or_default() };
    let varies = text.contains("{id}") || text.contains("{time}");
    let count = if varies { (POOL / text.len().max(1)).clamp(BODIES.0, BODIES.1) } else { 1 };
    Ok((0..count).map(|_| Raw { payload: filler.fill(&text).into_bytes(), key: None, values: Vec::new() }).collect())
}

struct Filler {
    random: Rng,
    time_ms: u64,
}

impl Filler {
    fn fill(&mut self, template: &str) -> String {
        let mut out = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            rest = if let Some(after) = from.strip_prefix("{id}") {
                let id = self.random.u128(..);
                out.push_str(&format!(
                    "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
                    id >> 96,
                    (id >> 80) & 0xffff,
                    (id >> 68) & 0xfff,
                    (id >> 56) & 0xfff,
                    id & 0xffff_ffff_ffff
                ));
                after
            } else if let Some(after) = from.strip_prefix("{time}") {
                self.time_ms += 1;
                out.push_str(&rfc3339(self.time_ms));
                after
            } else {
                out.push('{');
                from.split_at(1).1
            };
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn places_are_filled_and_braces_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("body");
        std::fs::write(&file, "{\"records\":[{\"id\":\"{id}\",\"t\":\"{time}\"},{\"id\":\"{id}\"}],\"x\":{}}").unwrap();
        let bodies = bodies(&file, &Options::default()).unwrap();
        let mut ids = HashSet::new();
        for body in bodies.iter().take(100) {
            let json: serde_json::Value = serde_json::from_slice(&body.payload).unwrap();
            ids.insert(json["records"][0]["id"].as_str().unwrap().to_owned());
            ids.insert(json["records"][1]["id"].as_str().unwrap().to_owned());
            assert_eq!(json["records"][0]["t"].as_str().unwrap().len(), 24);
            assert!(json["x"].as_object().unwrap().is_empty());
        }
        assert_eq!(ids.len(), 200);
    }
}
