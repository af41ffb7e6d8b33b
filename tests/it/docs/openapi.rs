//! `/openapi.json` against the routes, the media types and the table of refusals.

use std::collections::{BTreeMap, BTreeSet};

use klamm::config::Format;
use klamm::http::openapi::DESCRIPTION;
use klamm::reject::{Code, Reason};
use klamm::stages::decode::accept_post;
use klamm::telemetry::Route;
use serde_json::Value;

use crate::support::client::Client;
use crate::support::gateway::Gateway;

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).expect("openapi.json is JSON")
}

/// The object at an RFC 6901 pointer, by its members.
fn members<'a>(root: &'a Value, pointer: &str) -> &'a serde_json::Map<String, Value> {
    root.pointer(pointer).and_then(Value::as_object).unwrap_or_else(|| panic!("{pointer}"))
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name")).collect()
}

#[tokio::test]
async fn the_description_is_served_without_a_key_and_its_paths_and_methods_are_the_routes() {
    let gateway = Gateway::start(
        "ingest: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\nkafka: { default: { bootstrap: [127.0.0.1:1] } }\n",
    );
    let client = Client::new(gateway.ingest());
    let answer = client.get("/openapi.json", &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let description = answer.json();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = members(&description, "/paths");

    let of_ingest = |name: &&str| name.starts_with("/v1/") || *name == "/openapi.json";
    let routes: BTreeSet<_> = Route::ALL.iter().map(|route| route.name()).filter(of_ingest).collect();
    assert_eq!(paths.keys().map(String::as_str).collect::<BTreeSet<_>>(), routes);
    for (path, operations) in paths {
        // The method that the route does not take is answered with those that it does.
        let path = path.replace("{topic}", "t").replace("{id}", "i");
        let wrong =
            if path.ends_with("/events") { client.get(&path, &[]).await } else { client.post(&path, &[], "").await };
        assert_eq!(wrong.status, 405);
        let allowed: BTreeSet<_> = wrong.header("allow").expect("Allow").split(',').map(str::to_lowercase).collect();
        let described = operations.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        // HEAD comes with every GET.
        assert_eq!(allowed.into_iter().filter(|method| method != "head").collect::<BTreeSet<_>>(), described, "{path}");
    }
}

#[test]
fn the_described_statuses_and_codes_are_the_table_of_refusals() {
    let description = description();
    let mut table: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for code in Code::ALL {
        table.entry(code.row().status.as_str().to_owned()).or_default().insert(code.name());
    }
    let responses = members(&description, "/components/responses");
    assert_eq!(responses.keys().collect::<Vec<_>>(), table.keys().collect::<Vec<_>>());
    for (status, codes) in &table {
        let schema = &responses[status]["content"]["application/problem+json"]["schema"]["properties"];
        assert_eq!(
            (names(&schema["code"]["enum"]), schema["status"]["const"].to_string()),
            (codes.clone(), status.clone())
        );
    }
    let produce = members(&description, "/paths/~1v1~1topics~1{topic}~1events/post/responses");
    let good = ["200", "202", "207"].map(str::to_owned);
    let expected: BTreeSet<_> = table.keys().cloned().chain(good).collect();
    assert_eq!(produce.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let reasons: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names(&description["components"]["schemas"]["Reason"]["enum"]), reasons);
}

#[test]
fn the_described_bodies_are_the_media_types_that_a_topic_can_take() {
    let all = accept_post(&[Format::Json, Format::Ndjson, Format::Envelope, Format::Binary, Format::Text]);
    let description = description();
    let described = members(&description, "/paths/~1v1~1topics~1{topic}~1events/post/requestBody/content");
    let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
    assert_eq!(described, all.split(", ").collect::<BTreeSet<_>>());
}

#[test]
fn every_reference_in_the_description_leads_somewhere_and_every_part_is_used() {
    let description = description();
    let mut used = BTreeSet::new();
    references(&description, &mut used);
    for reference in &used {
        assert!(description.pointer(reference).is_some(), "{reference}");
    }
    for (kind, parts) in members(&description, "/components").iter().filter(|(kind, _)| *kind != "securitySchemes") {
        for part in parts.as_object().unwrap().keys() {
            assert!(used.contains(&format!("/components/{kind}/{part}")), "{kind} {part}");
        }
    }
}

fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            into.extend(reference.and_then(|reference| reference.strip_prefix('#')).map(str::to_owned));
            members.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
