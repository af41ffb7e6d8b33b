//! The house rules of the source tree (DESIGN, 2), read from its text.
//!
//! A path is what stands after `crate::` or `super::` outside of comments and strings. Tests inside the tree are held
//! to the same rules but for `axum` and the spawning of tasks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The layers from below. `tasks` and `shutdown` may be named from the stages up.
const LAYERS: &[&[&str]] = &[
    &["units", "event", "reject", "telemetry", "librdkafka"],
    &["config"],
    &["tasks", "shutdown"],
    &["stages"],
    &["ingest"],
    &["http", "admin"],
    &["boot", "cli", "main", "lib"],
];

/// One file of the tree.
struct Source {
    /// Under `src`, as `stages/produce/kafka.rs`.
    name: String,
    /// Its module's path: `["stages", "produce", "kafka"]`.
    module: Vec<String>,
    /// Without comments and the insides of strings.
    code: String,
}

impl Source {
    fn is_test(&self) -> bool {
        self.module.iter().any(|name| name == "tests")
    }

    /// The code before an inner module of tests.
    fn without_tests(&self) -> &str {
        self.code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
    }

    /// Every module of this crate that the file names, as far as it is written out.
    fn named(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            if !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                expand(&self.code[at + "crate::".len()..], &[], &mut paths);
            }
        }
        for (at, _) in self.code.match_indices("super::") {
            let before = &self.code[..at];
            let others = before.len() - before.trim_end_matches("super::").len();
            // Only the last of a chain; an inner `mod tests` is one deeper than its file.
            if self.code[at + "super::".len()..].starts_with("super::") {
                continue;
            }
            let inner = usize::from(at >= self.without_tests().len());
            let up = (others / "super::".len() + 1).saturating_sub(inner);
            let parent = &self.module[..self.module.len().saturating_sub(up)];
            expand(&self.code[at + "super::".len()..], parent, &mut paths);
        }
        paths
    }
}

/// The paths of `a::b::{c, d::e}` under `parent`.
fn expand(text: &str, parent: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = parent.to_vec();
    let mut rest = text;
    loop {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            path.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => break,
        }
    }
    let Some(group) = rest.strip_prefix('{') else { return paths.push(path) };
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return expand(group[start..at].trim_start(), &path, paths),
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(group[start..at].trim_start(), &path, paths);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// `text` without comments and without what stands in strings and character literals.
fn bare(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if let Some(string) = rest.strip_prefix('"') {
            1 + end_of_string(string)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[skip..];
    }
    code
}

/// Just behind the closing quote.
fn end_of_string(string: &str) -> usize {
    let mut escaped = false;
    let end = string.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(string.len(), |end| end + 1)
}

/// The whole tree.
fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(read)
}

fn read() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the tree") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("under src").to_string_lossy().into_owned();
                let module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
                found.push(Source { name, module, code: bare(&fs::read_to_string(&path).expect("a file")) });
            }
        }
    }
    assert!(found.len() > 50, "the tree was found");
    found
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn assert_none(rule: &str, faults: &[impl AsRef<str>]) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let faults: Vec<_> =
        sources().iter().filter(|source| layer(&source.module[0]).is_none()).map(|source| &source.name).collect();
    assert_none("no layer", &faults);
}

#[test]
fn a_lower_layer_never_names_a_higher_one() {
    let mut faults = Vec::new();
    for source in sources() {
        let own = layer(&source.module[0]);
        for path in source.named() {
            let named = path.first().and_then(|module| layer(module));
            if named > own {
                faults.push(format!("{} names {}", source.name, path.join("::")));
            }
        }
    }
    assert_none("lower names higher", &faults);
}

#[test]
fn a_stage_names_no_other_stage_but_acl_auth() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.module[0] == "stages" && source.module.len() > 1) {
        for path in source.named() {
            let [first, stage, ..] = path.as_slice() else { continue };
            let own = &source.module[1];
            let allowed = stage == own || (own == "acl" && stage == "auth");
            if first == "stages" && !allowed {
                faults.push(format!("{} names {}", source.name, path.join("::")));
            }
        }
    }
    assert_none("stage names stage", &faults);
}

/// `boot` hands one listener's router to the other's layers; it builds none itself.
#[test]
fn only_the_listeners_and_boot_know_axum() {
    let knows = |source: &&Source| source.code.contains("axum::");
    let may = |source: &&Source| ["http", "admin", "boot"].contains(&source.module[0].as_str());
    let faults: Vec<_> =
        sources().iter().filter(|source| knows(source) && !may(source)).map(|source| &source.name).collect();
    assert_none("axum", &faults);
}

#[test]
fn only_one_module_has_unsafe_code() {
    let word = |code: &str| {
        code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| matches!(word, "unsafe" | "unsafe_code"))
    };
    let with = sources().iter().filter(|source| word(&source.code)).map(|source| source.module[0].as_str());
    assert_eq!(with.collect::<BTreeSet<_>>(), BTreeSet::from(["librdkafka"]));
}

/// Tasks have a name and a policy: `tasks` spawns them. Exempt are the two servers, whose handles `boot` keeps and
/// waits for at the stop, and connections, which live in the `JoinSet` of their listener.
#[test]
fn only_the_owner_of_tasks_spawns_them() {
    let spawns = |source: &&Source| {
        let code = source.without_tests();
        code.contains("tokio::spawn(") || code.contains("JoinSet::new") || code.contains("task::spawn(")
    };
    let mut found: Vec<_> =
        sources().iter().filter(|source| !source.is_test()).filter(spawns).map(|source| source.name.clone()).collect();
    found.sort();
    assert_eq!(found, ["boot.rs", "http/listener.rs", "tasks.rs"]);
    let boot = sources().iter().find(|source| source.name == "boot.rs").expect("boot");
    assert_eq!(boot.code.matches("tokio::spawn(").count(), 1, "boot spawns its servers alone");
}
