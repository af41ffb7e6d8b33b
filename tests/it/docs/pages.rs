//! Markdown, as far as the tests have to read it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// A path of the source tree.
pub(super) fn in_tree(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the source tree.
pub(super) fn read(path: &str) -> String {
    fs::read_to_string(in_tree(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page, by its path in the source tree.
pub(super) fn all() -> Vec<String> {
    let mut pages: Vec<_> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned).into();
    for dir in ["docs", "docs/runbooks"] {
        let entries = fs::read_dir(in_tree(dir)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        pages.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{dir}/{name}")));
    }
    pages
}

/// The path that `link` on `page` leads to.
pub(super) fn beside(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The lines outside of fenced blocks, and the blocks with their languages.
fn split(text: &str) -> (Vec<&str>, Vec<(String, String)>) {
    let mut outside = Vec::new();
    let mut blocks = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut block) {
            (Some(_), Some(_)) => blocks.extend(block.take()),
            (Some(language), None) => block = Some((language.to_owned(), String::new())),
            (None, Some((_, content))) => {
                content.push_str(line);
                content.push('\n');
            }
            (None, None) => outside.push(line),
        }
    }
    (outside, blocks)
}

/// The fenced blocks of a language.
pub(super) fn blocks(text: &str, language: &str) -> Vec<String> {
    split(text).1.into_iter().filter(|(of, _)| of == language).map(|(_, content)| content).collect()
}

/// What stands between backticks, outside of blocks.
pub(super) fn spans(text: &str) -> Vec<String> {
    let outside = split(text).0.join("\n");
    outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The targets of links, outside of blocks and spans.
pub(super) fn links(text: &str) -> impl Iterator<Item = String> {
    let outside = split(text).0.join("\n");
    let prose: Vec<_> = outside.split('`').step_by(2).collect();
    let prose = prose.join("x");
    let targets: Vec<_> =
        prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(it, _)| it.to_owned()).collect();
    targets.into_iter()
}

/// The headings as GitHub makes anchors of them.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
    let headings = split(text).0.into_iter().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The text below each heading of this level, by heading.
pub(super) fn sections(text: &str, level: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix(level).and_then(|rest| rest.strip_prefix(' ')) {
            sections.push((heading.to_owned(), String::new()));
            open = true;
        } else if line.starts_with("# ") || line.starts_with("## ") {
            open = false;
        } else if let (true, Some((_, below))) = (open, sections.last_mut()) {
            below.push_str(line);
            below.push('\n');
        }
    }
    sections
}
