//! Who may not: answers that tell nothing but that.

use http::HeaderMap;

use super::{Expected, JSON, ORDERS};
use crate::support::client::{Answer, Client};
use crate::support::keys;
use crate::support::mock::{Mock, bearer, client};

/// The answer less what is different in any two answers: the request's id and the time.
fn bare(answer: &Answer) -> (String, HeaderMap) {
    let id = answer.header("x-request-id").expect("a request id").to_owned();
    let mut headers = answer.headers.clone();
    headers.remove("x-request-id");
    headers.remove("date");
    (String::from_utf8_lossy(&answer.body).replace(&id, "ID"), headers)
}

#[tokio::test]
async fn no_unknown_wrong_and_expired_keys_get_the_same_401() {
    let mock = Mock::start(&["orders"]);
    let old = keys::fixed("old").sha256;
    let mut rest = format!("topics: {{ orders: {{}} }}\nclients:\n{}", client("shop", "[orders]", "{}"));
    rest += &format!(
        "  old: {{ topics: [orders], keys: [{{ label: a, sha256: \"{old}\", expires: 2020-01-01T00:00:00Z }}] }}\n"
    );
    let gateway = mock.serve("", "", &rest);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    let good = bearer("shop");
    let wrong = &good[..good.len() - 1];
    let (unknown, expired, basic) = (bearer("nobody"), bearer("old"), good.replace("Bearer", "Basic"));
    let ways: [&[(&str, &str)]; 9] = [
        &[],
        &[("authorization", &unknown)],
        &[("authorization", wrong)],
        &[("authorization", &expired)],
        &[("authorization", &basic)],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("x-api-key", "")],
        &[("x-api-key", "nobody")],
    ];
    for path in [ORDERS, "/v1/topics/none/events"] {
        let mut answers = Vec::new();
        for way in ways {
            let answer = http.post(path, &[way, &[JSON]].concat(), "{}").await;
            let headers = &[("www-authenticate", "Bearer realm=\"klamm\"")];
            Expected { headers, known: false, ..Expected::new(401, "unauthenticated") }.check(path, &answer);
            answers.push(bare(&answer));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    }
    for path in ["/v1/topics", "/v1/topics/orders"] {
        let mut answers = Vec::new();
        for way in ways {
            answers.push(bare(&http.get(path, way).await));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    }
    let key = keys::fixed("shop").text;
    for way in [("authorization", good.as_str()), ("x-api-key", &key)] {
        assert_eq!(http.post(ORDERS, &[way, JSON], "{}").await.status, 200, "{way:?}");
    }
    let metrics = gateway.metrics().await;
    let refused = metrics.sum("klamm_refusals_total", &[("client", "_anonymous"), ("code", "unauthenticated")]);
    assert_eq!(refused, 4.0 * ways.len() as f64, "each way on each of the four paths");
}

#[tokio::test]
async fn a_foreign_topic_gets_the_same_403_whether_it_exists_or_not() {
    let mock = Mock::start(&["orders", "in-both"]);
    let mut rest = String::from("topics: { orders: {}, in-both: {}, in-config: {} }\nclients:\n");
    rest += &client("shop", "[orders]", "{}");
    let gateway = mock.serve("", "", &rest);
    gateway.ready().await;
    let http = Client::new(gateway.ingest());
    let key = bearer("shop");
    let mut answers = Vec::new();
    for topic in ["in-both", "in-config", "nowhere", "or%20ders"] {
        let path = format!("/v1/topics/{topic}/events");
        let mut answer = http.post(&path, &[JSON, ("authorization", &key)], "{}").await;
        Expected::new(403, "forbidden_topic").check(topic, &answer);
        // The quotas shrink with every request, and the length goes with the name.
        for name in ["ratelimit", "content-length"] {
            answer.headers.remove(name);
        }
        let (body, headers) = bare(&answer);
        answers.push((body.replace(&topic.replace("%20", " "), "TOPIC"), headers));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert_eq!(mock.records("in-both"), 0);
}
