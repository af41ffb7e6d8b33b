//! The stream of the live page and the tap, over HTTP; who may see them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::events::Events;
use crate::support::gateway::Gateway;
use crate::support::metrics::Metrics;
use crate::support::mock::{Mock, bearer, client};
use crate::support::{keys, soon};

mod cost;
#[cfg(feature = "ui")]
mod page;
#[cfg(feature = "ui")]
mod pictures;

pub(crate) const TOPICS: [&str; 2] = ["live-a", "live-b"];

/// Three clients, two topics; `tiny` may send four requests at once.
pub(crate) fn start(mock: &Mock, admin: &str, rest: &str) -> Gateway {
    let clients: String = [("shop", "{}"), ("till", "{}"), ("tiny", "{ requests: 1/m, burst: 4m }")]
        .iter()
        .map(|(name, limits)| client(name, "[\"live-*\"]", limits))
        .collect();
    let yaml = mock.config(
        "",
        "",
        &format!("clients:\n{clients}topics: {{ live-a: {{ max_event: 1KiB }}, live-b: {{}} }}\n{rest}"),
    );
    Gateway::start(
        &yaml.replace("admin: { listen: \"127.0.0.1:0\" }", &format!("admin: {{ listen: \"127.0.0.1:0\", {admin} }}")),
    )
}

pub(crate) async fn post(gateway: &Gateway, who: &str, topic: &str, body: &str) -> u16 {
    let key = bearer(who);
    let headers = [("authorization", key.as_str()), ("content-type", "application/json"), ("kafka-key", "secret-key")];
    Client::new(gateway.ingest()).post(&format!("/v1/topics/{topic}/events"), &headers, body.to_owned()).await.status
}

/// Good events of three clients to two topics, and refusals of three codes.
pub(crate) async fn load(gateway: &Gateway) {
    let large = format!("\"{}\"", "x".repeat(2000));
    for (who, topic, body, status) in [
        ("shop", "live-a", "{\"n\":1}", 200),
        ("shop", "live-b", "{\"n\":22}", 200),
        ("till", "live-b", "{\"n\":333}", 200),
        ("shop", "live-a", &large, 413),
        ("till", "live-a", "nonsense", 400),
        ("tiny", "live-a", "1", 200),
        ("tiny", "live-a", "2", 200),
        ("tiny", "live-b", "3", 200),
        ("tiny", "live-b", "4", 200),
        ("tiny", "live-b", "5", 429),
        ("tiny", "live-b", "6", 429),
    ] {
        assert_eq!(post(gateway, who, topic, body).await, status, "{who} to {topic}");
    }
}

/// The rows of a stream by name, with the frames applied.
struct Tables {
    clients: BTreeMap<String, Value>,
    topics: BTreeMap<String, Value>,
}

impl Tables {
    fn of(hello: &Value) -> Self {
        let mut tables = Self { clients: BTreeMap::new(), topics: BTreeMap::new() };
        tables.apply(hello);
        tables
    }

    fn apply(&mut self, frame: &Value) {
        for (table, name) in [(&mut self.clients, "clients"), (&mut self.topics, "topics")] {
            for row in frame[name].as_array().into_iter().flatten() {
                table.insert(row["id"].as_str().expect("an id").to_owned(), row.clone());
            }
            for id in frame[format!("gone_{name}")].as_array().into_iter().flatten() {
                table.remove(id.as_str().expect("an id"));
            }
        }
    }
}

/// The bounds of the bucket in which the `q`-quantile of a client's or topic's acknowledgements lies.
fn bucket(scrape: &Metrics, kind: &str, id: &str, q: f64) -> (f64, f64) {
    let rank = q * scrape.sum("klamm_ack_seconds_count", &[(kind, id)]);
    let below = |bound: &str| scrape.sum("klamm_ack_seconds_bucket", &[(kind, id), ("le", bound)]);
    let bounds = ["0.002", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "5", "30"];
    let place = bounds.iter().position(|bound| below(bound) >= rank).expect("a bucket");
    let bound = |place: usize| bounds[place].parse::<f64>().expect("a number");
    (if place == 0 { 0.0 } else { bound(place - 1) }, bound(place))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_second_without_requests_every_row_of_the_stream_is_what_the_scrape_says() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    let mut events = Events::open(gateway.admin(), "/admin/stream", &[]);
    assert!(events.status == 200 && events.has_header("content-type: text/event-stream"));
    let hello = events.next("hello").expect("a beginning");
    assert_eq!((&hello["full"], &hello["head"]["total"]["events"]), (&json!(true), &json!(0)));
    let mut tables = Tables::of(&hello);
    load(&gateway).await;
    let sent = Instant::now();
    while sent.elapsed() < Duration::from_millis(2500) {
        tables.apply(&events.next("tick").expect("a frame"));
    }
    let scrape = gateway.metrics().await;
    for (kind, rows) in [("client", &tables.clients), ("topic", &tables.topics)] {
        for (id, row) in rows {
            let of = |name: &str| scrape.sum(name, &[(kind, id)]);
            assert_eq!(row["events"].as_f64(), Some(of("klamm_events_received_total")), "{row:#}");
            assert_eq!(row["bytes"].as_f64(), Some(of("klamm_event_bytes_total")), "{row:#}");
            assert_eq!(row["requests"].as_f64(), Some(of("klamm_requests_total")), "{row:#}");
            for (code, count) in row["codes"].as_object().expect("codes") {
                let counted = scrape.sum("klamm_refusals_total", &[(kind, id), ("code", code)]);
                assert_eq!(count.as_f64(), Some(counted), "{row:#}");
            }
            let acks = of("klamm_ack_seconds_count");
            match row["p99"].as_f64() {
                None => assert_eq!(acks, 0.0, "{row:#}"),
                Some(p99) => {
                    let (low, high) = bucket(&scrape, kind, id, 0.99);
                    assert!(low <= p99 && p99 <= high, "{p99} in {low} to {high}");
                }
            }
        }
    }
    let codes: BTreeMap<&str, &Value> = tables.clients.iter().map(|(id, row)| (id.as_str(), &row["codes"])).collect();
    let expected = [
        ("shop", json!({ "event_too_large": 1 })),
        ("till", json!({ "malformed_body": 1 })),
        ("tiny", json!({ "rate_limited": 2 })),
    ];
    assert_eq!(codes, expected.iter().map(|(id, codes)| (*id, codes)).collect());
    assert_eq!(tables.topics.keys().collect::<Vec<_>>(), TOPICS);
    assert!(
        tables.clients["tiny"]["room"]["requests"].as_f64().is_some_and(|left| left < 0.3),
        "{:#}",
        tables.clients["tiny"]
    );

    // Rates are gone after five seconds without requests; then nothing is sent for rows that stay as they are.
    let quiet = events.find("tick", |tick| (tick["head"]["total"]["rq"] == 0.0).then(|| tick.clone()));
    assert_eq!(quiet["head"]["total"]["events"], 8);
    let empty = |tick: &Value| tick.get("topics").is_none().then_some(());
    events.find("tick", empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_comes_back_gets_what_it_missed_and_after_a_restart_everything() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    load(&gateway).await;
    let mut events = Events::open(gateway.admin(), "/admin/stream", &[]);
    let hello = events.next("hello").expect("a beginning");
    assert_eq!(Tables::of(&hello).clients.len(), 3);
    for _ in 0..2 {
        events.next("tick").expect("a frame");
    }
    let seen = events.last_id.clone();
    drop(events);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let again =
        |headers: &[&str], path: &str| Events::open(gateway.admin(), path, headers).next("hello").expect("a beginning");
    for hello in [
        again(&[&format!("Last-Event-ID: {seen}")], "/admin/stream"),
        again(&[], &format!("/admin/stream?last={seen}")),
    ] {
        let points = hello["points"].as_array().expect("points").len();
        assert!(hello["full"] == false && (1..10).contains(&points), "{points} points");
    }
    for id in ["0-3", "nonsense", &format!("{}-99999999", seen.split('-').next().expect("a birth"))] {
        assert_eq!(again(&[&format!("Last-Event-ID: {id}")], "/admin/stream")["full"], true, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_client_tells_its_topics_refusals_quotas_keys_and_last_requests() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    load(&gateway).await;
    let mut events = Events::open(gateway.admin(), "/admin/stream?client=tiny", &[]);
    let page = events.find("page", |page| (page["requests"].as_array()?.len() == 6).then(|| page.clone()));
    let problem = &page["problems"][0];
    assert_eq!((page["problems"].as_array().map(Vec::len), &problem["code"]), (Some(1), &json!("rate_limited")));
    let body: Value = serde_json::from_str(problem["body"].as_str().expect("text")).expect("the body of the answer");
    assert_eq!((&body["code"], &body["status"]), (&json!("rate_limited"), &json!(429)));
    let requests = page["requests"].as_array().expect("requests");
    let rows: Vec<_> =
        requests.iter().map(|row| (row["status"].as_u64(), row["topic"].as_str(), row["events"].as_u64())).collect();
    assert_eq!(rows[0], (Some(429), Some("live-b"), Some(0)));
    assert_eq!(rows[5], (Some(200), Some("live-a"), Some(1)));
    assert_eq!(rows.len(), 6);
    assert!(
        page["keys"][0]["label"] == "test" && page["keys"][0]["used"].as_u64().is_some_and(|at| at > 1_700_000_000)
    );
    assert_eq!((&page["quotas"][0]["name"], &page["quotas"][0]["burst"]), (&json!("requests"), &json!(4)));
    assert_eq!(page["topics"].as_array().map(Vec::len), Some(2));
    // Requests come again only when there are new ones.
    assert!(events.next("page").expect("a page").get("requests").is_none());
    assert_eq!(post(&gateway, "tiny", "live-a", "7").await, 429);
    let page = events.find("page", |page| page.get("requests").map(|_| page.clone()));
    assert_eq!(page["requests"].as_array().map(Vec::len), Some(7));
    // The curve has a point every five seconds, and comes only then.
    let points = |page: &Value| page["curve"]["points"].as_array().map(Vec::len);
    let before = events.find("page", |page| points(page).filter(|points| *points > 0));
    assert!(events.next("page").expect("a page").get("curve").is_none());
    assert_eq!(events.find("page", points), before + 1);

    let mut topic = Events::open(gateway.admin(), "/admin/stream?topic=live-b", &[]);
    assert_eq!(post(&gateway, "shop", "live-b", "8").await, 200);
    // Batches are those of librdkafka's last second.
    let sent = |page: &Value| page["batches"][0]["records"]["avg"].as_u64().filter(|records| *records > 0);
    let topic = topic.find("page", |page| sent(page).map(|_| page.clone()));
    assert_eq!(
        (topic["clients"].as_array().map(Vec::len), topic["partitions"].as_array().map(Vec::len)),
        (Some(3), Some(2))
    );
    let mut heat = Events::open(gateway.admin(), "/admin/stream?topic=live-b", &[]);
    let heat = heat.find("page", |page| {
        let heat = page.get("heat")?;
        let columns = heat["columns"].as_array()?;
        columns
            .iter()
            .flat_map(|column| column.as_array().into_iter().flatten())
            .any(|rate| *rate != 0.0)
            .then(|| heat.clone())
    });
    assert_eq!((&heat["step"], &heat["partitions"], &heat["left_out"]), (&json!(5), &json!([0, 1]), &json!(0)));
    let nobody = Events::open(gateway.admin(), "/admin/stream?client=nobody", &[]).next("page").expect("a page");
    assert_eq!(nobody["known"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_s_page_tells_what_brokers_answered() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    gateway.ready().await;
    mock.refuse_to_produce(rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_eq!(post(&gateway, "shop", "live-a", "1").await, 502);
    let mut events = Events::open(gateway.admin(), "/admin/stream?topic=live-a", &[]);
    let error = events.find("page", |page| page["errors"].get(0).cloned());
    assert!(error["count"] == 1 && error["error"].as_str().is_some_and(|text| text.contains("uthoriz")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tap_shows_what_passes_its_filter_and_no_byte_of_keys_or_bodies() {
    let mock = Mock::start(&TOPICS);
    let mut gateway = start(&mock, "", "");
    gateway.ready().await;
    let mut refused = Events::open(gateway.admin(), "/admin/tap?client=till&code=refused", &[]);
    let mut all = Events::open(gateway.admin(), "/admin/tap", &[]);
    assert_eq!(
        (refused.next("hello"), all.next("hello")),
        (Some(json!({ "payload": false })), Some(json!({ "payload": false })))
    );
    load(&gateway).await;
    let row = refused.next("request").expect("a request");
    assert_eq!((&row["client"], &row["code"], &row["status"]), (&json!("till"), &json!("malformed_body"), &json!(400)));
    let first = all.next("request").expect("a request");
    assert_eq!((&first["client"], &first["topic"], &first["events"]), (&json!("shop"), &json!("live-a"), &json!(1)));
    assert_eq!(
        (&first["content_type"], &first["key_bytes"], &first["payload"]),
        (&json!("application/json"), &json!(10), &Value::Null)
    );
    let names: Vec<_> = first["headers"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"authorization") && names.contains(&"kafka-key"), "{names:?}");
    let mut seen = first.to_string();
    for _ in 0..10 {
        seen += &all.next("request").expect("a request").to_string();
    }
    for hidden in ["secret-key", "nonsense", "xxx", "test-key-of"] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }
    // Whoever watches does not hold up the end.
    let began = Instant::now();
    assert_eq!(gateway.terminate(), 0);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tap_payload_the_first_two_kibibytes_are_shown() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "tap_payload: true", "");
    gateway.ready().await;
    let mut tap = Events::open(gateway.admin(), "/admin/tap", &[]);
    assert_eq!(tap.next("hello"), Some(json!({ "payload": true })));
    let long = format!("\"{}\"", "y".repeat(3000));
    assert_eq!(post(&gateway, "shop", "live-b", &long).await, 200);
    let row = tap.next("request").expect("a request");
    assert_eq!(row["payload"].as_str(), long.get(..2048));
    assert_eq!(row["key_bytes"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fifty_first_viewer_gets_503_until_one_leaves() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    let mut viewers: Vec<_> = (0..50)
        .map(|n| Events::open(gateway.admin(), if n % 2 == 0 { "/admin/stream" } else { "/admin/tap" }, &[]))
        .collect();
    assert!(viewers.iter().all(|viewer| viewer.status == 200));
    let late = Events::open(gateway.admin(), "/admin/stream", &[]);
    assert!(late.status == 503 && late.has_header("retry-after: 10"));
    assert!(viewers[48].next("tick").is_some());
    viewers.truncate(49);
    soon("the place is free", async || {
        (Events::open(gateway.admin(), "/admin/stream", &[]).status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_come_once_a_second_and_a_silent_stream_says_that_it_is_alive() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    let mut events = Events::open(gateway.admin(), "/admin/stream", &[]);
    let hello = events.next("hello").expect("a beginning");
    assert_eq!(hello["limits"]["span"], 600, "ten minutes are kept");
    let ats: Vec<_> = (0..4).filter_map(|_| events.next("tick")?["at"].as_u64()).collect();
    let apart = ats[3] - ats[0];
    // A machine that is busy may leave one out.
    assert!((2900..=10_000).contains(&apart), "three seconds lie between: {ats:?}");
    let mut silent = Events::open(gateway.admin(), "/admin/tap", &[]);
    silent.next("hello").expect("a beginning");
    assert!(silent.comment_within(Duration::from_secs(20)), "the tap says nothing by itself");
}

pub(crate) fn admin_key(name: &str) -> String {
    format!("keys: [{{ label: {name}, sha256: \"{}\" }}]", keys::fixed(name).sha256)
}

async fn login(admin: &Client, key: &str) -> (u16, Option<String>) {
    let body = json!({ "key": key }).to_string();
    let answer = admin.post("/admin/login", &[("content-type", "application/json")], body).await;
    (answer.status, answer.header("set-cookie").map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_gives_a_session_that_ends_by_log_out_and_with_its_key() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, &admin_key("ops"), "metrics: { key: required }");
    let admin = Client::new(gateway.admin());
    assert_eq!(Events::open(gateway.admin(), "/admin/stream", &[]).status, 401);
    for (page, status) in
        [("/metrics", 401), ("/livez", 200), ("/startupz", 200), ("/admin/session", 401), ("/admin/tap", 401)]
    {
        assert_eq!(admin.get(page, &[]).await.status, status, "{page}");
    }
    let (status, cookie) = login(&admin, &keys::fixed("ops").text).await;
    let cookie = cookie.expect("a cookie");
    let (pair, rules) = cookie.split_once("; ").expect("attributes");
    assert_eq!((status, rules), (204, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"));
    let with = [("cookie", pair)];
    for page in ["/metrics", "/admin/config", "/admin/clients"] {
        assert_eq!(admin.get(page, &with).await.status, 200, "{page}");
    }
    assert_eq!(admin.get("/admin/session", &with).await.json(), json!({ "session": true }));
    let key = format!("Bearer {}", keys::fixed("ops").text);
    assert_eq!(admin.get("/admin/session", &[("authorization", &key)]).await.json(), json!({ "session": false }));

    let mut stream = Events::open(gateway.admin(), "/admin/stream", &[&format!("Cookie: {pair}")]);
    assert!(stream.next("tick").is_some());
    assert_eq!(admin.post("/admin/logout", &with, "").await.status, 204);
    assert!(stream.ends_within(Duration::from_secs(5)), "the stream ends with its session");
    assert_eq!(admin.get("/admin/clients", &with).await.status, 401);

    let (_, cookie) = login(&admin, &keys::fixed("ops").text).await;
    let cookie = cookie.expect("a cookie");
    let pair = cookie.split(';').next().expect("a pair");
    let text = std::fs::read_to_string(gateway.config()).expect("the config");
    gateway.rewrite(&text.replace(&keys::fixed("ops").sha256, &keys::fixed("other").sha256));
    soon("the session ends with its key", async || {
        (admin.get("/admin/clients", &[("cookie", pair)]).await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ten_wrong_keys_an_address_waits_and_sessions_go_on() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, &admin_key("ops"), "");
    let admin = Client::new(gateway.admin());
    let right = keys::fixed("ops").text;
    let (_, cookie) = login(&admin, &right).await;
    let cookie = cookie.expect("a cookie");
    for n in 0..10 {
        // In turns: one count for both ways.
        let status = match n % 2 {
            0 => login(&admin, "guess").await.0,
            _ => admin.get("/admin/clients", &[("authorization", "Bearer guess")]).await.status,
        };
        assert_eq!(status, 401, "try {n}");
    }
    assert_eq!(login(&admin, &right).await.0, 429);
    let refused = admin.get("/admin/clients", &[("authorization", &format!("Bearer {right}"))]).await;
    let wait: u64 = refused.header("retry-after").expect("when").parse().expect("seconds");
    assert!(refused.status == 429 && (1..=60).contains(&wait), "{wait}");
    assert_eq!(admin.get("/admin/clients", &[("cookie", cookie.split(';').next().expect("a pair"))]).await.status, 200);
    assert_eq!(admin.get("/livez", &[]).await.status, 200);
    let other_site = admin.post("/admin/login", &[("content-type", "text/plain")], "{\"key\":\"x\"}").await;
    assert_eq!(other_site.status, 400, "a form of another site cannot log in");
}

#[cfg(not(feature = "ui"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_build_without_the_page_says_how_to_get_it() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    let answer = Client::new(gateway.admin()).get("/ui/", &[]).await;
    assert_eq!(answer.status, 501);
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains("--features ui")));
}
