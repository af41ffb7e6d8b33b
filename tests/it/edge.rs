//! The HTTP edge of the whole binary, byte by byte: what arrives, what is cut, what is never held.
//!
//! `http::tests` holds the same edge to its timers alone; here the gateway's own routes, config and counters are
//! behind it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;

use crate::support::child;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::mock::{Mock, bearer, client};
use crate::support::raw::Socket;
use crate::support::{scratch, soon};

const ORDERS: &str = "/v1/topics/orders/events";
const MIB: usize = 1 << 20;

/// Where the only topic is `orders`, `shop` may do much and `spent` nothing any more after one request.
async fn serve(mock: &Mock, ingest: &str, rest: &str) -> Gateway {
    let mut rest = format!("{rest}topics: {{ orders: {{}} }}\nclients:\n");
    rest += &client("shop", "[orders]", "{}");
    rest += &client("spent", "[orders]", "{ requests: 1/h, burst: 1h }");
    let gateway = mock.serve(ingest, "", &rest);
    gateway.ready().await;
    gateway
}

/// The head of a POST by `name`; `more` are whole lines.
fn head(name: &str, more: &str) -> String {
    format!(
        "POST {ORDERS} HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\nContent-Type: application/json\r\n{more}\r\n",
        bearer(name)
    )
}

fn post(socket: &mut Socket, name: &str, body: &[u8]) {
    let head = head(name, &format!("Content-Length: {}\r\n", body.len()));
    socket.send(head.as_bytes()).expect("the head is taken");
    socket.send(body).expect("the body is taken to its end");
}

/// Waits until connections ended so often in this way.
async fn ended(gateway: &Gateway, kind: &str, times: f64) {
    soon(kind, async || {
        let seen = gateway.metrics().await.sum("klamm_connection_events_total", &[("kind", kind)]);
        (seen == times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn refusals_before_a_large_body_arrive_and_are_no_reset() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let mut socket = Socket::connect(gateway.ingest());
    post(&mut socket, "spent", b"1");
    assert_eq!(socket.reply().status, 200);
    for length in [7 * MIB, 20 * MIB] {
        let body = vec![b' '; length];
        for (name, status) in [("nobody", 401), ("spent", 429)] {
            let mut socket = Socket::connect(gateway.ingest());
            post(&mut socket, name, &body);
            assert_eq!(socket.reply().status, status, "{length}");
        }
        let mut socket = Socket::connect(gateway.ingest());
        post(&mut socket, "shop", &body);
        // 7 MiB of white space is no JSON; 20 MiB are refused by their length alone.
        assert_eq!(socket.reply().status, if length > 8 * MIB { 413 } else { 400 }, "{length}");
    }
    assert_eq!(mock.records("orders"), 1);
}

#[tokio::test]
async fn a_connection_serves_on_after_a_refused_body() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let mut socket = Socket::connect(gateway.ingest());
    for _ in 0..3 {
        post(&mut socket, "nobody", &vec![b' '; 7 * MIB]);
        assert_eq!(socket.reply().status, 401);
        post(&mut socket, "shop", b"1");
        assert_eq!(socket.reply().status, 200);
    }
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_413() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "caps: { body: 64KiB }\n").await;
    let mut socket = Socket::connect(gateway.ingest());
    socket.send(head("shop", "Transfer-Encoding: chunked\r\n").as_bytes()).expect("the head is taken");
    for _ in 0..5 {
        socket.send(&[b"4000\r\n", &[b' '; 0x4000][..], b"\r\n"].concat()).expect("a chunk is taken");
    }
    socket.send(b"0\r\n\r\n").expect("the end is taken");
    let answer = socket.reply();
    assert_eq!((answer.status, &answer.json()["limit"]), (413, &(64 << 10).into()));
}

#[tokio::test]
async fn a_body_is_asked_for_with_100_continue_only_where_it_is_wanted() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let more = "Expect: 100-continue\r\nContent-Length: 1\r\n";
    let mut socket = Socket::connect(gateway.ingest());
    socket.send(head("shop", more).as_bytes()).expect("the head is taken");
    assert_eq!(socket.reply().status, 100);
    socket.send(b"1").expect("the body is taken");
    assert_eq!(socket.reply().status, 200);
    let mut socket = Socket::connect(gateway.ingest());
    socket.send(head("nobody", more).as_bytes()).expect("the head is taken");
    assert_eq!(socket.reply().status, 401);
}

#[tokio::test]
async fn connections_that_say_nothing_half_a_preface_or_half_a_head_are_closed_in_time() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "header_timeout: 400ms,", "").await;
    let begun: [(&[u8], &str); 4] = [
        (b"", "fresh_timeout"),
        (b"PRI * HTTP/2.0\r\n\r\nS", "head_timeout"),
        (b"POST /v1/top", "head_timeout"),
        (b"POST / HTTP/1.1\r\nHost: h\r\n", "head_timeout"),
    ];
    for (bytes, _) in begun {
        let mut socket = Socket::connect(gateway.ingest());
        socket.send(bytes).expect("taken");
        assert!(socket.closed_within(Duration::from_secs(10)), "{}", String::from_utf8_lossy(bytes));
    }
    ended(&gateway, "fresh_timeout", 1.0).await;
    ended(&gateway, "head_timeout", 3.0).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_timer_and_is_closed_by_its_own() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "header_timeout: 200ms, keep_alive: 1s,", "").await;
    let mut socket = Socket::connect(gateway.ingest());
    for _ in 0..2 {
        post(&mut socket, "shop", b"1");
        assert_eq!(socket.reply().status, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(socket.closed_within(Duration::from_secs(10)));
    ended(&gateway, "idle_timeout", 1.0).await;
    soon("no connection is open", async || {
        (gateway.metrics().await.sum("klamm_connections", &[]) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_a_place() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "connections: 2,", "").await;
    let mut first = Socket::connect(gateway.ingest());
    let mut second = Socket::connect(gateway.ingest());
    for socket in [&mut first, &mut second] {
        post(socket, "shop", b"1");
        assert_eq!(socket.reply().status, 200);
    }
    let mut third = Socket::connect(gateway.ingest());
    post(&mut third, "shop", b"1");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(gateway.metrics().await.sum("klamm_connections", &[]), 2.0);
    assert_eq!(mock.records("orders"), 2);
    drop(first);
    assert_eq!(third.reply().status, 200);
    assert_eq!(gateway.metrics().await.sum("klamm_connection_events_total", &[("kind", "accepted")]), 3.0);
}

#[tokio::test]
async fn a_unix_socket_serves_and_goes_with_the_gateway() {
    let mock = Mock::start(&["orders"]);
    let dir = scratch::dir("unix");
    let path = dir.path().join("klamm.sock");
    let rest = format!("topics: {{ orders: {{}} }}\nclients:\n{}", client("shop", "[orders]", "{}"));
    let config = mock.config("", "", &rest).replacen(
        "listen: \"127.0.0.1:0\"",
        &format!("listen: \"unix:{}\"", path.display()),
        1,
    );
    let mut gateway = Gateway::start(&config);
    gateway.ready().await;
    assert_eq!(gateway.ingest(), format!("unix:{}", path.display()));
    let mut socket = UnixStream::connect(&path).expect("the socket is there");
    write!(socket, "{}1", head("shop", "Connection: close\r\nContent-Length: 1\r\n")).expect("taken");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(gateway.terminate(), 0, "{}", gateway.log());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_second_gateway_on_the_same_address_does_not_start_and_says_so() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let dir = scratch::dir("taken");
    let file = dir.path().join("klamm.yaml");
    let config = mock.config("", "", "").replacen("127.0.0.1:0", gateway.ingest(), 1);
    std::fs::write(&file, config).expect("written");
    let second = child::command(env!("CARGO_BIN_EXE_klamm")).arg("serve").arg("-c").arg(&file).output();
    let second = second.expect("it runs");
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert!(words.contains(&format!("klamm: ingest.listen: cannot listen on {}", gateway.ingest())), "{words}");
}

#[tokio::test]
async fn head_and_options_get_headers_alone() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let http = Client::new(gateway.ingest());
    let key = bearer("shop");
    let key = [("authorization", key.as_str())];
    let whole = http.get("/v1/topics", &key).await;
    let head = http.call(Method::HEAD, "/v1/topics", &key, Bytes::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(&*whole.body.len().to_string()));
    assert_eq!(head.header("ratelimit-policy"), whole.header("ratelimit-policy"));
    let head = http.call(Method::HEAD, ORDERS, &key, Bytes::new()).await;
    assert_eq!((head.status, head.header("allow"), head.body.len()), (405, Some("POST"), 0));
    let head = http.call(Method::HEAD, "/v1/topics", &[], Bytes::new()).await;
    assert_eq!((head.status, head.body.len()), (401, 0));
    for (path, allow) in [(ORDERS, "POST"), ("/v1/topics", "GET,HEAD"), ("/v1/topics/orders", "GET,HEAD")] {
        let options = http.call(Method::OPTIONS, path, &[], Bytes::new()).await;
        assert_eq!((options.status, options.header("allow"), options.body.len()), (204, Some(allow), 0), "{path}");
    }
}

#[tokio::test]
async fn a_sane_request_id_is_echoed_and_another_is_replaced() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let http = Client::new(gateway.ingest());
    let key = bearer("shop");
    let ask = async |id: &str| {
        let headers = [("authorization", key.as_str()), ("content-type", "application/json"), ("x-request-id", id)];
        http.post(ORDERS, &headers, "1").await
    };
    let answer = ask("order-4711").await;
    assert_eq!(answer.header("x-request-id"), Some("order-4711"));
    let own = answer.json()["request_id"].as_str().expect("an id").to_owned();
    assert_eq!((own.len(), &own[14..15]), (36, "7"), "a UUIDv7: {own}");
    for id in ["two words", &"x".repeat(129)] {
        let answer = ask(id).await;
        assert_eq!(answer.header("x-request-id"), answer.json()["request_id"].as_str(), "{id}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_closed_and_counted() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let mut socket = Socket::connect(gateway.ingest());
    socket.send(b"\x16\x03\x01\x02\x00 a TLS hello\r\n\r\n").expect("taken");
    assert!(socket.closed_within(Duration::from_secs(10)));
    ended(&gateway, "malformed_head", 1.0).await;
}

#[tokio::test]
async fn requests_over_one_http2_connection_are_served_side_by_side() {
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, "", "").await;
    let http = Client::h2c(gateway.ingest());
    let key = bearer("shop");
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    // The topic is known from here on: the question for it has less time than two slow answers take.
    assert_eq!(http.post(ORDERS, &headers, "1").await.status, 200);
    mock.delay(Duration::from_millis(500));
    let start = Instant::now();
    let posts: Vec<_> = (0..20)
        .map(|_| {
            let (http, key) = (http.clone(), key.clone());
            let headers = async move {
                let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
                http.post(ORDERS, &headers, "1").await.status
            };
            tokio::spawn(headers)
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.expect("an answer"), 200);
    }
    // One after the other they would take 10 s.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    mock.delay(Duration::ZERO);
    assert_eq!(mock.records("orders"), 21);
}
