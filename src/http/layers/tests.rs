use std::sync::Arc;

use axum::routing::{get, post};
use http::Request as HttpRequest;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::config::{Config, Ingest};

fn live() -> Live {
    let config = Arc::new(Config::default());
    Arc::new(move || Arc::clone(&config))
}

fn routes() -> Router {
    Router::new()
        .route("/get", get(|| async { "hello" }))
        .route("/post", post(|| async { "hello" }))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

async fn call(router: &Router, request: http::request::Builder) -> (Response, String) {
    let request = request.header("host", "h").body(Body::empty()).unwrap();
    let mut response = router.clone().oneshot(request).await.unwrap();
    let body = std::mem::take(response.body_mut()).collect().await.unwrap().to_bytes();
    (response, String::from_utf8(body.to_vec()).unwrap())
}

fn header_of<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_sane_request_id_is_echoed_and_the_own_one_stays_the_instance() {
    let router = apply(routes(), Edge::new(live(), None));
    let (response, body) = call(&router, HttpRequest::get("/none").header("x-request-id", "mine")).await;
    assert_eq!(header_of(&response, "x-request-id"), Some("mine"));
    assert!(body.contains("\"instance\":\"urn:uuid:0"), "{body}");
    let (response, body) = call(&router, HttpRequest::get("/none").header("x-request-id", "not sane")).await;
    let own = header_of(&response, "x-request-id").unwrap();
    assert!(body.contains(&format!("\"instance\":\"urn:uuid:{own}\"")), "{body}");
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_get_problem_bodies() {
    let router = apply(routes(), Edge::new(live(), None));
    let (response, body) = call(&router, HttpRequest::get("/none")).await;
    assert_eq!(response.status(), 404);
    assert!(body.contains("\"code\":\"not_found\""));
    for method in ["PUT", "DELETE", "TRACE", "GET"] {
        let (response, body) = call(&router, HttpRequest::builder().method(method).uri("/post")).await;
        assert_eq!(response.status(), 405);
        assert_eq!(header_of(&response, "allow"), Some("POST"), "{method}");
        assert_eq!(header_of(&response, "content-type"), Some("application/problem+json"));
        assert!(body.contains("\"code\":\"method_not_allowed\""));
    }
}

#[tokio::test]
async fn options_gets_the_methods_and_no_body() {
    let router = apply(routes(), Edge::new(live(), None));
    let (response, body) = call(&router, HttpRequest::builder().method("OPTIONS").uri("/get")).await;
    assert_eq!((response.status().as_u16(), body.as_str()), (204, ""));
    assert_eq!(header_of(&response, "allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn head_gets_the_headers_of_the_whole_and_no_body() {
    let router = apply(routes(), Edge::new(live(), None));
    for target in ["/get", "/none"] {
        let (whole, body) = call(&router, HttpRequest::get(target)).await;
        let (head, empty) = call(&router, HttpRequest::head(target)).await;
        assert_eq!(head.status(), whole.status());
        assert_eq!(empty, "");
        assert_eq!(header_of(&head, "content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(header_of(&head, "content-type"), header_of(&whole, "content-type"));
    }
}

#[tokio::test]
async fn the_guard_limits_each_address_by_itself() {
    let ingest = Ingest { peer_rate: "2/h".parse().unwrap(), ..Ingest::default() };
    let guard = Guard::new(&ingest, peer::Proxies::default()).unwrap();
    let router = apply(routes(), Edge::new(live(), Some(Arc::clone(&guard))));
    let from = |address: &str| HttpRequest::get("/get").extension(Peer::Tcp(address.parse().unwrap()));
    for expected in [200, 200, 429] {
        assert_eq!(call(&router, from("192.0.2.1:1")).await.0.status(), expected);
    }
    let (refused, body) = call(&router, from("192.0.2.1:2")).await;
    assert!(body.contains("\"code\":\"rate_limited\""), "{body}");
    let wait: u64 = header_of(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1790..=1800).contains(&wait), "{wait}");
    assert_eq!(refused.headers().get("x-ratelimit-after"), None);
    assert_eq!(call(&router, from("192.0.2.2:1")).await.0.status(), 200);
    assert_eq!(guard.sweep(), 2);
}

#[tokio::test]
async fn the_guard_forgets_addresses_that_are_back_at_their_whole_allowance() {
    let ingest = Ingest { peer_rate: "1000000/s".parse().unwrap(), ..Ingest::default() };
    let guard = Guard::new(&ingest, peer::Proxies::default()).unwrap();
    let router = apply(routes(), Edge::new(live(), Some(Arc::clone(&guard))));
    let request = HttpRequest::get("/get").extension(Peer::Tcp("192.0.2.1:1".parse().unwrap()));
    assert_eq!(call(&router, request).await.0.status(), 200);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(guard.sweep(), 0);
}

#[test]
fn there_is_no_guard_on_unix_sockets_or_when_it_is_off() {
    for (listen, rate, guarded) in
        [("unix:/run/klamm.sock", "1/s", false), ("127.0.0.1:0", "off", false), ("127.0.0.1:0", "1/s", true)]
    {
        let ingest = Ingest { listen: listen.parse().unwrap(), peer_rate: rate.parse().unwrap(), ..Ingest::default() };
        assert_eq!(Guard::new(&ingest, peer::Proxies::default()).is_some(), guarded, "{listen} {rate}");
    }
}
