//! `deploy/docker`: what the Dockerfile copies, runs and says, against the source, the program and the chart.
//!
//! Whether its two scripts make an image that runs is for `make test-deploy`.

use std::collections::BTreeSet;
use std::process::Command;

use super::files::{path, text, yaml};
use crate::support::gateway::binary;

fn dockerfile() -> String {
    text("deploy/docker/Dockerfile").replace("\\\n", " ")
}

/// The arguments of each instruction of this name.
fn instructions(name: &str) -> Vec<String> {
    let rest = |line: &str| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    dockerfile().lines().filter_map(rest).collect()
}

/// The words of `["a", "b"]`.
fn exec_form(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What the build stage copies from the source.
fn sources() -> BTreeSet<String> {
    let copies = instructions("COPY").into_iter().filter(|copy| !copy.starts_with("--from"));
    copies.flat_map(|copy| copy.split_whitespace().rev().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// User and group of the image.
pub(super) fn user() -> String {
    let [user] = instructions("USER").try_into().expect("one USER");
    user
}

/// The ports of the image.
pub(super) fn ports() -> BTreeSet<String> {
    instructions("EXPOSE").iter().flat_map(|ports| ports.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_source_that_is_copied_exists_and_nothing_else_is_sent() {
    let ignore = text(".dockerignore");
    let lines: Vec<_> = ignore.lines().filter(|line| !line.starts_with('#')).collect();
    let sent: BTreeSet<_> = lines.iter().filter_map(|line| line.strip_prefix('!').map(str::to_owned)).collect();
    assert_eq!(lines.first(), Some(&"*"));
    assert_eq!(sent, sources());
    for source in sources() {
        assert!(path(&source).exists(), "{source}");
    }
}

#[test]
fn the_source_that_is_copied_has_what_the_build_reads() {
    let copied = |name: &str| sources().iter().any(|source| name.starts_with(source.as_str()));
    for name in ["Cargo.lock", "src/main.rs", "config/klamm.yaml", "ui/uplot.sha256", "loadtest/Cargo.toml"] {
        assert!(path(name).exists() && copied(name), "{name}");
    }
    for run in instructions("RUN") {
        let script = run.split(' ').next().unwrap_or_default();
        assert!(path(script).exists() && copied(script), "{script}");
    }
}

#[test]
fn the_user_is_a_number_and_the_same_everywhere() {
    let user = user();
    let (uid, gid) = user.split_once(':').expect("uid:gid");
    assert!(uid == gid && uid.parse::<u32>().is_ok_and(|uid| uid != 0), "{user}");
    assert!(text("scripts/image-root.sh").contains(&format!("UID_GID={uid}")));
    let pod = text("deploy/helm/klamm/templates/_pod.tpl");
    assert!(pod.contains(&format!("runAsUser: {uid}")) && pod.contains(&format!("runAsGroup: {gid}")));
    assert!(dockerfile().matches(&format!("--chown={user}")).count() == 2);
}

#[test]
fn image_and_chart_listen_on_the_ports_that_are_exposed() {
    let config = yaml("deploy/docker/00-image.yaml");
    let chart = text("tests/deploy/helm/golden/minimal.yaml");
    let mut listens = BTreeSet::new();
    for section in ["ingest", "admin"] {
        let listen = config[section]["listen"].as_str().expect("an address");
        let port = listen.strip_prefix("0.0.0.0:").expect("every address");
        assert!(chart.contains(&format!("listen: {listen}")) && chart.contains(&format!("containerPort: {port}")));
        listens.insert(port.to_owned());
    }
    assert_eq!(listens, ports());
}

/// The exit code of the program of the image, which is the one under test here.
fn exit_code(command: &[String]) -> Option<i32> {
    let (program, arguments) = command.split_first().expect("a program");
    assert_eq!(program, "/usr/bin/klamm");
    assert!(text("scripts/image-root.sh").contains("/usr/bin/klamm"));
    Command::new(binary()).args(arguments).output().expect("klamm runs").status.code()
}

#[test]
fn entry_point_and_health_check_are_commands_of_klamm() {
    let [entry] = instructions("ENTRYPOINT").try_into().expect("one ENTRYPOINT");
    let [arguments] = instructions("CMD").try_into().expect("one CMD");
    let [health] = instructions("HEALTHCHECK").try_into().expect("one HEALTHCHECK");
    let (_, health) = health.split_once(" CMD ").expect("a command");
    let health = exec_form(health);
    assert!(health.contains(&"probe".to_owned()));
    // Nobody listens there: 1. What clap does not know would be 2.
    let nobody = ["--admin", "http://127.0.0.1:1", "--timeout", "1s"].map(str::to_owned);
    assert_eq!(exit_code(&[health, nobody.to_vec()].concat()), Some(1));
    // No such directory here: a faulty config.
    let missing = exec_form(&arguments).iter().map(|word| word.replace("/etc", "/nowhere")).collect();
    assert_eq!(exit_code(&[exec_form(&entry), missing].concat()), Some(78));
}

#[test]
fn versions_and_labels_are_those_of_the_package() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(instructions("ARG").contains(&format!("VERSION={version}")));
    let chart = yaml("deploy/helm/klamm/Chart.yaml");
    assert_eq!(chart["appVersion"], version);
    let [labels] = instructions("LABEL").try_into().expect("one LABEL");
    for (name, value) in [
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("version", "${VERSION}"),
        ("revision", "${REVISION}"),
    ] {
        assert!(labels.contains(&format!("org.opencontainers.image.{name}=\"{value}\"")), "{name}");
    }
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(instructions("ARG").contains(&format!("RUST_IMAGE=rust:{rust}-slim-bookworm")), "Rust {rust} on Debian 12");
}
