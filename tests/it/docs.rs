//! The documents say what is true. Read as text: README, docs, examples, and the description at `/openapi.json`.

mod errors;
mod openapi;
mod pages;
mod sizing;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Command;
use std::time::Duration;

use klamm::config::load::{Source, load};
use klamm::config::{Config, Topic};
use klamm::reject::{Code, Reason};
use klamm::units::{ByteSize, Limit, Percent, Rate, Span};
use serde_json::Value;

use crate::support::child::{self, Process};
use crate::support::client::Client;
use crate::support::{eventually, scratch};

use pages::{all, anchors, blocks, in_tree, links, read, spans};

#[test]
fn every_relative_link_leads_to_a_file_and_every_fragment_to_a_heading() {
    let mut broken = Vec::new();
    for page in all() {
        let text = read(&page);
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (file, fragment) = link.split_once('#').map_or((link.as_str(), None), |(file, it)| (file, Some(it)));
            let target = if file.is_empty() { page.clone() } else { pages::beside(&page, file) };
            let good =
                in_tree(&target).exists() && fragment.is_none_or(|fragment| anchors(&read(&target)).contains(fragment));
            if !good {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_yaml_block_and_every_example_is_a_valid_config_without_a_warning() {
    let dir = scratch::dir("yaml");
    for name in ["kafka-password", "admin-key.sha256"] {
        fs::write(dir.path().join(name), "ab".repeat(32)).unwrap();
    }
    let here = format!("{}/", dir.path().display());
    let mut sources = Vec::new();
    for page in all() {
        for (place, block) in blocks(&read(&page), "yaml").into_iter().enumerate() {
            let file = dir.path().join(format!("{}-{place}.yaml", page.replace('/', "-")));
            fs::write(&file, block.replace("/run/secrets/", &here)).unwrap();
            // A block may show one section; what is required stands elsewhere then.
            let bootstrap = ("kafka.default.bootstrap".to_owned(), "[k:9092]".to_owned());
            let admin = ("admin.listen".to_owned(), "127.0.0.1:8081".to_owned());
            let flags = if page == "README.md" { vec![] } else { vec![bootstrap, admin] };
            sources.push(Source { file: Some(file), env: vec![], flags });
        }
    }
    assert!(sources.len() >= 3, "README and operations have blocks");
    for example in ["config/examples/teams.yaml", "config/sidecar.yaml"] {
        sources.push(Source { file: Some(in_tree(example)), ..Source::default() });
    }
    for source in sources {
        let loaded = load(&source).unwrap_or_else(|faults| panic!("{source:?}:\n{faults}"));
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{source:?}");
    }
}

#[test]
fn every_command_and_every_goal_that_a_page_names_exists() {
    let mut commands = BTreeSet::new();
    let mut goals = BTreeSet::new();
    for page in all() {
        let text = read(&page);
        let lines =
            blocks(&text, "").into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
        for line in lines.chain(spans(&text)) {
            let words = line.trim_start_matches("$ ").split_whitespace();
            let word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
            let mut words = words.take_while(word);
            match words.next() {
                Some("klamm") => commands.extend(Some(words.map(str::to_owned).collect::<Vec<_>>())),
                Some("make") => goals.extend(words.next().map(str::to_owned)),
                _ => {}
            }
        }
    }
    let makefile = read("Makefile");
    for goal in &goals {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{goal}:"))), "make {goal}");
    }
    let exists = |words: &[String]| {
        let output = Command::new(env!("CARGO_BIN_EXE_klamm")).args(words).arg("--help").output().unwrap();
        output.status.success()
    };
    for words in &commands {
        assert!(exists(words), "klamm {words:?}");
    }
    assert!(goals.len() >= 2 && commands.len() >= 8, "{goals:?} {commands:?}");
    assert!(!exists(&["nosuch".to_owned()]));
}

/// The value at a key path such as `caps.body`; `*` stands for any name.
fn default_of(path: &str) -> Option<String> {
    let kafka = klamm::config::Cluster::default();
    let (root, path) = if let Some(rest) = path.strip_prefix("topics.*.") {
        (serde_json::to_value(Topic::default()).unwrap(), rest)
    } else if let Some(rest) = path.strip_prefix("kafka.*.") {
        (serde_json::to_value(kafka).unwrap(), rest)
    } else {
        (serde_json::to_value(Config::default()).unwrap(), path)
    };
    let value = path.split('.').try_fold(&root, |at, key| at.get(key))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// A value as its type prints it: `60s` is `1m`.
fn printed(text: &str) -> String {
    let size = || text.parse::<ByteSize>().ok().map(|size| size.to_string());
    let span = || text.parse::<Span>().ok().map(|span| span.to_string());
    let rate = || text.parse::<Limit<Rate>>().ok().map(|rate| rate.to_string());
    let share = || text.parse::<Percent>().ok().map(|share| share.to_string());
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    size().or_else(span).or_else(rate).or_else(share).unwrap_or_else(|| text.to_owned())
}

#[test]
fn the_limits_in_the_contract_are_the_defaults_and_name_real_answers() {
    let page = read("docs/http.md");
    let answers: BTreeSet<String> = Code::ALL
        .iter()
        .map(|code| code.name().to_owned())
        .chain(Reason::ALL.iter().map(|reason| format!("reason-{}", reason.name())))
        .collect();
    let mut named = BTreeSet::new();
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let Some(key) = cells.get(1).and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`')) else { continue };
        if !key.contains('.') || key.contains(['/', ' ']) {
            continue;
        }
        assert_eq!(default_of(key).as_deref().map(printed), Some(printed(cells[2])), "{key}");
        if cells.len() == 6 {
            let codes = spans(cells[4]);
            assert!(!codes.is_empty() && codes.iter().all(|code| answers.contains(code)), "{key}: {codes:?}");
        }
        named.insert(key.to_owned());
    }
    let config = serde_json::to_value(Config::default()).unwrap();
    for section in ["caps", "budget", "ingest"] {
        for key in config[section]
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !["listen", "socket", "trusted_proxies"].contains(&key.as_str()))
        {
            assert!(named.contains(&format!("{section}.{key}")), "{section}.{key} is not in the table");
        }
    }
}

#[test]
fn the_readme_names_the_crates_in_the_versions_of_the_lock_file() {
    let lock = read("Cargo.lock");
    let version = |name: &str| {
        let (_, rest) =
            lock.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap_or_else(|| panic!("{name}"));
        rest.split('"').next().unwrap().to_owned()
    };
    let readme = read("README.md");
    let (_, table) = readme.split_once("\n| crate | for |\n").unwrap();
    let mut found = 0;
    for line in table.lines().take_while(|line| line.starts_with('|')) {
        let crates = line.split('|').nth(1).unwrap().split(',').map(str::trim).filter(|cell| cell.starts_with('`'));
        for (name, said) in crates.map(|cell| cell.split_once(' ').unwrap()) {
            let (name, locked) = (name.trim_matches('`'), version(name.trim_matches('`')));
            assert!(locked.starts_with(&format!("{said}.")), "{name}: {said} is {locked}");
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
    let (_, librdkafka) = version("rdkafka-sys").split_once('+').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(readme.contains(&format!("librdkafka {librdkafka}")), "{librdkafka}");
}

#[tokio::test]
async fn the_first_minute_of_the_readme_is_what_klamm_dev_prints_and_answers() {
    let dir = scratch::dir("dev");
    let file = dir.path().join("out");
    let log = File::create(&file).unwrap();
    let mut command = child::command(env!("CARGO_BIN_EXE_klamm"));
    command.arg("dev").stdout(log.try_clone().unwrap()).stderr(log);
    let _dev = Process::start(command);
    let printed = eventually("klamm dev prints its curl line", Duration::from_secs(20), || {
        fs::read_to_string(&file).ok().filter(|text| text.contains("-d '{\"hello\":\"world\"}'\n"))
    });
    let port = |scheme: &str| {
        let (_, rest) = printed.split_once(scheme).unwrap();
        rest.split('/').next().unwrap().to_owned()
    };
    let (ingest, admin) = (port("ingest   http://"), port("metrics  http://"));
    let readme = read("README.md");
    let told = printed.replace(&ingest, "127.0.0.1:8080").replace(&admin, "127.0.0.1:8081");
    assert!(readme.contains(&format!("$ make run\n{told}")), "README.md should hold:\n{told}");

    let headers = [("authorization", "Bearer dev"), ("content-type", "application/json")];
    let answer = Client::new(&ingest).post("/v1/topics/demo/events", &headers, "{\"hello\":\"world\"}").await;
    let shape = |text: &str| -> (Vec<String>, Value) {
        let answer: Value = serde_json::from_str(text).unwrap();
        (answer.as_object().unwrap().keys().cloned().collect(), answer["accepted"].clone())
    };
    let pasted = readme.lines().find(|line| line.starts_with("{\"topic\":\"demo\"")).expect("the answer");
    assert_eq!((answer.status, shape(&String::from_utf8_lossy(&answer.body))), (200, shape(pasted)));
    for line in readme.lines().skip_while(|line| *line != "HTTP/1.1 200 OK").skip(1).take_while(|line| !line.is_empty())
    {
        let (name, value) = line.split_once(": ").unwrap();
        let got = answer.header(name).unwrap_or_else(|| panic!("{name}"));
        let varies = ["x-request-id", "date", "ratelimit", "content-length"].contains(&name);
        assert!(varies || got == value, "{name}: {got}");
    }
}
