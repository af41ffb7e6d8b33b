//! The broker of `deploy/compose.yaml`, by the jars of the version that its image has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{said, service, services, texts_of};
use crate::support::child::{self, Process};
use crate::support::kafka::{free_port, tool_script};
use crate::support::{eventually, scratch};

#[test]
fn the_image_has_the_version_of_the_jars() {
    let pom = include_str!("../../../kafka/pom.xml");
    let images: BTreeSet<_> =
        services().values().filter_map(|service| service["image"].as_str().map(str::to_owned)).collect();
    let kafka: Vec<_> = images.iter().filter_map(|image| image.strip_prefix("apache/kafka:")).collect();
    assert!(matches!(*kafka, [version] if pom.contains(&format!("<kafka.version>{version}<"))), "{kafka:?}");
}

/// The broker's environment, with the machine's loopback and free ports in place of the container's names and ports.
fn environment(data: &Path) -> BTreeMap<String, String> {
    let given = service("kafka")["environment"].as_object().expect("an environment").clone();
    let ports: Vec<_> = ["9092", "9093", "19092"].map(|port| (format!(":{port}"), format!(":{}", free_port()))).into();
    let here = |text: String| {
        let text = text.replace("kafka:", "127.0.0.1:").replace("//:", "//127.0.0.1:");
        ports.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours))
    };
    let mut result: BTreeMap<_, _> = given.iter().map(|(key, value)| (key.clone(), here(texts_of(value)))).collect();
    result.insert("KAFKA_LOG_DIRS".into(), data.display().to_string());
    result
}

/// A script in `dir` that runs one of Kafka's classes, with memory enough for a broker.
fn script(dir: &Path, class: &str) -> PathBuf {
    let path = dir.join(class);
    fs::write(&path, tool_script(class).replace("-Xmx128m", "-Xmx512m")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    path
}

/// What the image does before it starts Kafka: the properties by `variables`, and the formatted storage.
fn prepare(dir: &Path, variables: &BTreeMap<String, String>) -> PathBuf {
    let [default, given, result] = ["default", "mounted", "final"].map(|name| dir.join(name));
    for folder in [&default, &given, &result] {
        fs::create_dir(folder).expect("made");
    }
    for (name, text) in [("server.properties", ""), ("log4j2.yaml", "{}"), ("tools-log4j2.yaml", "{}")] {
        fs::write(default.join(name), text).expect("written");
    }
    let mut wrapper = Command::new(script(dir, "kafka.docker.KafkaDockerWrapper"));
    wrapper.arg("setup").arg("-D").arg(&default).arg("-M").arg(&given).arg("-F").arg(&result).envs(variables);
    let output = wrapper.output().expect("Java runs");
    assert!(output.status.success(), "{}", said(&output));
    result.join("server.properties")
}

/// Kafka's image turns `KAFKA_X_Y` into the property `x.y` by a class of Kafka's own, which is in the jars.
#[test]
fn kafka_starts_by_the_environment_and_knows_every_property() {
    let dir = scratch::dir("compose-kafka");
    let variables = environment(&dir.path().join("data"));
    let file = prepare(dir.path(), &variables);
    let properties = fs::read_to_string(&file).expect("the properties");
    let names: BTreeSet<_> = properties.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names.len(), variables.keys().filter(|key| key.starts_with("KAFKA_")).count(), "{properties}");
    let known = Command::new(script(dir.path(), "kafka.server.KafkaConfig")).output().expect("Java runs");
    for name in names {
        assert!(said(&known).contains(&format!("id=\"brokerconfigs_{name}\"")), "Kafka knows no {name}");
    }

    let path = dir.path().join("broker.log");
    let log = fs::File::create(&path).expect("a log file");
    let mut broker = child::command(script(dir.path(), "kafka.Kafka").to_str().expect("text"));
    broker.arg(file).stdout(log.try_clone().expect("a handle")).stderr(log);
    let mut broker = Process::start(broker);
    let [_, host] = variables["KAFKA_ADVERTISED_LISTENERS"].split(',').collect::<Vec<_>>().try_into().expect("two");
    let health = script(dir.path(), "org.apache.kafka.tools.BrokerApiVersionsCommand");
    let address = host.strip_prefix("HOST://").expect("the listener for the host");
    eventually("Kafka is healthy", Duration::from_secs(60), || {
        assert!(broker.ended().is_none(), "{}", fs::read_to_string(&path).expect("the log"));
        let output = Command::new(&health).args(["--bootstrap-server", address]).output().expect("Java runs");
        output.status.success().then_some(())
    });
}
