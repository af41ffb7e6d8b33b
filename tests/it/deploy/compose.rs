//! `deploy/compose.yaml`: that its parts exist and agree, that each program takes its config.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::files::{path, text, texts, yaml};
use super::image;
use crate::support::gateway::binary;
use crate::support::scratch;

mod kafka;

const FILE: &str = "deploy/compose.yaml";

fn services() -> BTreeMap<String, Value> {
    let services = yaml(FILE)["services"].as_object().expect("services").clone();
    services.into_iter().collect()
}

fn service(name: &str) -> Value {
    services().remove(name).unwrap_or_else(|| panic!("no service {name}"))
}

/// What is mounted: from where, and to where.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let volumes = texts(&service["volumes"]).into_iter().map(|volume| volume.split(':').collect::<Vec<_>>());
    volumes.map(|parts| (parts[0].to_owned(), parts[1].to_owned())).collect()
}

/// The file of the repository that the service sees at `target`.
fn mounted(service: &str, target: &str) -> String {
    let mounts = mounts(&self::service(service));
    let (from, _) = mounts.iter().find(|(_, to)| to == target).unwrap_or_else(|| panic!("nothing at {target}"));
    format!("deploy/{}", from.strip_prefix("./").expect("a file of the repository"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn docker_compose_takes_the_file() {
    let output = Command::new("docker-compose").arg("-f").arg(path(FILE)).args(["config", "-q"]).output();
    let output = output.expect("docker-compose (Debian's package): run scripts/setup.sh test");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn every_mounted_file_and_volume_exists_and_every_volume_is_used() {
    let volumes: BTreeSet<_> = yaml(FILE)["volumes"].as_object().expect("volumes").keys().cloned().collect();
    let mut used = BTreeSet::new();
    for (name, service) in services() {
        for (from, _) in mounts(&service) {
            match from.strip_prefix("./") {
                Some(file) => assert!(path("deploy").join(file).exists(), "{name}: {from}"),
                None => drop(used.insert(from)),
            }
        }
    }
    assert_eq!(used, volumes);
}

#[test]
fn klamm_is_built_and_run_as_its_image_says() {
    let klamm = service("klamm");
    let build = |key: &str| klamm["build"][key].as_str().expect("text").to_owned();
    assert!(path("deploy").join(build("context")).join(build("dockerfile")).exists());
    assert_eq!(klamm["user"], image::user());
    assert_eq!(klamm["read_only"], true);
    let published = texts(&klamm["ports"]).into_iter().map(|port| port.rsplit(':').next().expect("a port").to_owned());
    assert_eq!(published.collect::<BTreeSet<_>>(), image::ports());
    // The spool is where the image has a directory of that user.
    let spool = yaml("deploy/compose/klamm.yaml")["spool"]["dir"].as_str().expect("a directory").to_owned();
    assert!(mounts(&klamm).iter().any(|(from, to)| from == "spool" && Path::new(&spool).starts_with(to)));
    assert!(text("scripts/image-root.sh").contains("\"$root/var/lib/klamm\""));
}

/// Everybody knows the keys of this file.
#[test]
fn every_port_is_published_on_loopback_alone() {
    for (name, service) in services() {
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn what_the_services_call_each_other_by_exists() {
    let services = services();
    for (name, service) in &services {
        let on = &service["depends_on"];
        let names = on.as_object().map_or_else(|| texts(on), |on| on.keys().map(String::as_str).collect());
        assert!(names.iter().all(|other| services.contains_key(*other)), "{name}: {names:?}");
    }
    let listens = |name: &str, port: &str| match name {
        "kafka" => texts_of(&service("kafka")["environment"]["KAFKA_LISTENERS"]).contains(&format!("//:{port}")),
        "klamm" => image::ports().contains(port),
        "prometheus" => port == "9090",
        other => panic!("nobody knows what {other} listens on"),
    };
    let bootstrap = yaml("deploy/compose/klamm.yaml")["kafka"]["default"]["bootstrap"].clone();
    let targets = yaml("deploy/compose/prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"].clone();
    let source = yaml("deploy/compose/grafana/datasources.yaml")["datasources"][0]["url"].clone();
    let source = source.as_str().and_then(|url| url.strip_prefix("http://")).expect("an URL");
    let health = texts_of(&service("kafka")["healthcheck"]["test"][3]);
    let advertised = texts_of(&service("kafka")["environment"]["KAFKA_ADVERTISED_LISTENERS"]);
    let advertised = advertised.split(',').find_map(|listener| listener.strip_prefix("INSIDE://")).expect("INSIDE");
    let addresses = [texts(&bootstrap), texts(&targets), vec![source, &health, advertised]].concat();
    assert_eq!(addresses.len(), 5);
    for address in addresses {
        let (name, port) = address.split_once(':').expect("host:port");
        assert!(services.contains_key(name) && listens(name, port), "{address}");
    }
}

fn texts_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn klamm_takes_its_config_and_its_topics_are_made() {
    let dir = scratch::dir("compose");
    fs::copy(path("deploy/docker/00-image.yaml"), dir.path().join("00-image.yaml")).expect("copied");
    let config = mounted("klamm", "/etc/klamm/klamm.yaml");
    fs::copy(path(&config), dir.path().join("klamm.yaml")).expect("copied");
    let output = Command::new(binary()).args(["check", "--config"]).arg(dir.path()).output().expect("klamm runs");
    assert!(output.status.success() && !said(&output).contains("warning"), "{}", said(&output));
    let made = texts(&service("topics")["command"]).concat();
    for topic in yaml(&config)["topics"].as_object().expect("topics").keys() {
        assert!(made.contains(&format!(" {topic} ")) && made.contains(&format!(" {topic}.dlq;")), "{topic}: {made}");
    }
}

#[test]
fn prometheus_takes_its_config_and_finds_the_rules() {
    let dir = scratch::dir("compose-prometheus");
    for (from, to) in mounts(&service("prometheus")) {
        if let (Some(from), Some(to)) = (from.strip_prefix("./"), to.strip_prefix("/etc/prometheus/")) {
            fs::copy(path("deploy").join(from), dir.path().join(to)).expect("copied");
        }
    }
    let output = Command::new("promtool").args(["check", "config"]).arg(dir.path().join("prometheus.yml")).output();
    let output = output.expect("promtool (Debian's package prometheus): run scripts/setup.sh test");
    assert!(output.status.success() && said(&output).contains("rules found"), "{}", said(&output));
}

#[test]
fn grafana_finds_the_dashboards_and_a_default_source() {
    mounted("grafana", "/etc/grafana/provisioning/datasources/klamm.yaml");
    let boards = yaml(&mounted("grafana", "/etc/grafana/provisioning/dashboards/klamm.yaml"));
    let folder = boards["providers"][0]["options"]["path"].as_str().expect("a path").to_owned();
    assert_eq!(mounted("grafana", &folder), "deploy/grafana");
    assert_eq!(yaml("deploy/compose/grafana/datasources.yaml")["datasources"][0]["isDefault"], true);
}
