//! Kafka behind SASL_SSL and ACLs: what works, what does not and says so, and that no secret shows anywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Client};
use crate::support::gateway::Gateway;
use crate::support::kafka::{KLAMM, Kafka, Login, Options, READER};
use crate::support::keys;

type Properties = BTreeMap<&'static str, String>;

/// The one cluster of these tests.
fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| {
        let kafka = Kafka::start(&Options { sasl_ssl: true, acls: true, ..Options::default() });
        for topic in ["sec-ok", "sec-hidden", "sec-seen", "sec-other", "sec-secrets"] {
            kafka.create_topic(topic, 1, &[]);
        }
        kafka
    })
}

fn config(properties: &Properties) -> String {
    let (bootstrap, sha256) = (kafka().secure_bootstrap(), keys::fixed("shop").sha256);
    let mut lines = String::new();
    for (name, value) in properties {
        let _ = write!(lines, "{name}: \"{value}\", ");
    }
    format!(
        r#"
ingest: {{ listen: "127.0.0.1:0", wait: 5s }}
admin: {{ listen: "127.0.0.1:0" }}
shutdown: {{ lame_duck: 0s, flush: 5s }}
kafka: {{ default: {{ bootstrap: ["{bootstrap}"], properties: {{ {lines} }} }} }}
clients: {{ shop: {{ keys: [{{ label: test, sha256: "{sha256}" }}], topics: ["sec-*"] }} }}
topics: {{ "sec-*": {{}} }}
"#
    )
}

fn properties(login: Login, change: Option<(&'static str, String)>) -> Properties {
    let mut properties = kafka().secure_properties(login);
    properties.extend(change);
    properties
}

async fn post(gateway: &Gateway, topic: &str) -> Answer {
    let key = format!("Bearer {}", keys::fixed("shop").text);
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    Client::new(gateway.ingest()).post(&format!("/v1/topics/{topic}/events"), &headers, r#"{"n":1}"#).await
}

/// Waits until `words` stand in both the log and `/readyz?verbose`; the status of `/readyz` then.
async fn told(gateway: &Gateway, words: &str) -> u16 {
    let admin = Client::new(gateway.admin());
    let start = Instant::now();
    loop {
        let ready = admin.get("/readyz?verbose", &[]).await;
        let page = String::from_utf8_lossy(&ready.body).into_owned();
        let log = gateway.log();
        if page.contains(words) && log.contains(words) {
            return ready.status;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "`{words}` is not in both:\n{page}\n{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_over_sasl_ssl_with_scram_sha_512() {
    let mut gateway = Gateway::start(&config(&properties(KLAMM, None)));
    gateway.ready().await;
    let answer = post(&gateway, "sec-ok").await;
    assert_eq!(answer.status, 200, "{}\n{}", answer.json(), gateway.log());
    assert_eq!(kafka().consume("sec-ok").len(), 1);
    assert_eq!(gateway.terminate(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_answered_503_at_once() {
    let gateway = Gateway::start(&config(&properties(KLAMM, Some(("sasl.password", "wrong".to_owned())))));
    assert_eq!(told(&gateway, "Authentication failed").await, 503);
    let (start, answer) = (Instant::now(), post(&gateway, "sec-hidden").await);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("kafka_unavailable")));
    assert!(start.elapsed() < Duration::from_secs(3), "no hang: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_ca_is_told_and_answered_503_at_once_and_klamm_stops_cleanly() {
    let change = ("ssl.ca.location", kafka().unknown_ca());
    let mut gateway = Gateway::start(&config(&properties(KLAMM, Some(change))));
    assert_eq!(told(&gateway, "certificate verify failed").await, 503);
    let (start, answer) = (Instant::now(), post(&gateway, "sec-hidden").await);
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("kafka_unavailable")));
    assert!(start.elapsed() < Duration::from_secs(3), "no hang: {:?}", start.elapsed());
    assert_eq!(gateway.terminate(), 0, "nothing was accepted, so nothing is lost");
}

/// The rights grow step by step: each step needs the ones before.
#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_502_kafka_rejected_and_told_and_granted_ones_work_without_a_restart() {
    let kafka = kafka();
    let gateway = Gateway::start(&config(&properties(READER, None)));
    gateway.ready().await;

    let rejected = |answer: Answer| {
        let body = answer.json();
        assert_eq!((answer.status, body["code"].as_str()), (502, Some("kafka_rejected")), "{body}\n{}", gateway.log());
        body
    };
    rejected(post(&gateway, "sec-hidden").await);
    assert_eq!(told(&gateway, "topic sec-hidden: TopicAuthorizationFailed").await, 200);

    // Without one topic it may write to, Kafka does not even give the producer an id.
    kafka.grant(READER, "Describe", "sec-seen");
    let body = rejected(post(&gateway, "sec-seen").await);
    assert_eq!((&body["errors"][0]["index"], &body["errors"][0]["count"]), (&0.into(), &1.into()), "{body}");
    assert_eq!(told(&gateway, "Cluster authorization failed").await, 200);

    kafka.grant(READER, "Write", "sec-other");
    let start = Instant::now();
    let answer = loop {
        let answer = post(&gateway, "sec-other").await;
        if answer.status == 200 || start.elapsed() > Duration::from_secs(10) {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(answer.status, 200, "the producer that failed for good is replaced: {}", answer.json());

    rejected(post(&gateway, "sec-seen").await);
    assert_eq!(told(&gateway, "sec-seen/0: TopicAuthorizationFailed").await, 200);
    assert_eq!((kafka.consume("sec-seen").len(), kafka.consume("sec-hidden").len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows_in_logs_pages_or_commands_even_at_trace() {
    const PAYLOAD: &str = "canary-of-a-payload";
    let password_file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password_file.path(), KLAMM.password).expect("written");
    let mut wanted = properties(KLAMM, Some(("ssl.key.password", "canary-of-a-key-password".to_owned())));
    // Read from a file, and used: with the wrong one nothing would work.
    wanted.remove("sasl.password");
    wanted.insert("sasl.password_file", password_file.path().display().to_string());
    let yaml = config(&wanted) + "log: { level: trace, access: all }\n";
    let mut gateway = Gateway::start(&yaml);
    gateway.ready().await;

    let shop = keys::fixed("shop");
    let path = "/v1/topics/sec-secrets/events";
    let mut served = String::new();
    for client in [Client::new(gateway.ingest()), Client::h2c(gateway.ingest())] {
        let bearer = format!("Bearer {}", shop.text);
        for (name, key, body, status) in [
            ("authorization", bearer.as_str(), format!("\"{PAYLOAD}\""), 200),
            ("x-api-key", &shop.text, format!("[\"{PAYLOAD}\""), 400),
            ("authorization", "Bearer canary-of-a-wrong-key", format!("\"{PAYLOAD}\""), 401),
        ] {
            let answer = client.post(path, &[(name, key), ("content-type", "application/json")], body).await;
            assert_eq!(answer.status, status, "{name}");
            served += &String::from_utf8_lossy(&answer.body);
        }
    }
    let admin = Client::new(gateway.admin());
    for page in ["/admin/config", "/admin/clients", "/readyz?verbose", "/metrics"] {
        served += &String::from_utf8_lossy(&admin.get(page, &[]).await.body);
    }
    // A reload that fails must not quote a secret either, nor one that finds another value.
    gateway.rewrite(&yaml.replace("canary-of-a-key-password", "canary-of-a-new-password"));
    served += &String::from_utf8_lossy(&admin.post("/admin/reload", &[], "").await.body);
    assert!(served.contains("kafka.default.properties.ssl.key.password"), "the key that needs a restart is named");
    gateway.rewrite(&yaml.replace("sasl.password_file:", "sasl.pasword_file:"));
    served += &String::from_utf8_lossy(&admin.post("/admin/reload", &[], "").await.body);
    assert!(served.contains("sasl.pasword"), "the wrong name is told: {served}");
    for command in [&["config", "show"][..], &["config", "show", "--json"], &["check"]] {
        for text in [yaml.clone(), yaml.replace("sasl.password_file:", "sasl.pasword_file:")] {
            gateway.rewrite(&text);
            let mut run = Command::new(env!("CARGO_BIN_EXE_klamm"));
            let output = run.args(command).arg("--config").arg(gateway.config()).output().expect("klamm runs");
            served += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
        }
    }
    gateway.terminate();

    let printed = gateway.log();
    assert!(printed.contains("\"level\":\"TRACE\"") || printed.contains("TRACE"), "the log is at trace");
    let secrets = [
        KLAMM.password,
        "canary-of-a-key-password",
        "canary-of-a-new-password",
        "canary-of-a-wrong-key",
        PAYLOAD,
        &shop.text,
        &shop.sha256,
    ];
    for secret in secrets {
        for (what, text) in [("printed", &printed), ("served", &served)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "`{secret}` was {what}");
        }
    }
}
