//! Connections that rest between requests: hyper is taken off and put on again, which no client may notice.

use super::*;
use crate::http::listener::Timer;

/// Longer than a connection is awake after its last request.
const REST: Duration = ms(600);

#[tokio::test]
async fn a_connection_that_rested_serves_on() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut io, "/").await.text(), "hello");
        sleep(REST).await;
    }
    assert_eq!(edge.seen(ConnEvent::Accepted), 1);
    assert_eq!(edge.seen(ConnEvent::Closed), 0);
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_after_a_rest_is_whole() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    assert_eq!(ask(&mut io, "/").await.status, 200);
    sleep(REST).await;
    io.set_nodelay(true).unwrap();
    for byte in b"POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" {
        io.write_all(&[*byte]).await.unwrap();
        sleep(ms(2)).await;
    }
    assert_eq!(read_reply(&mut io).await.text(), "5");
}

#[tokio::test]
async fn a_part_of_a_head_that_came_with_the_last_request_is_kept() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /slow HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(read_reply(&mut io).await.text(), "hello");
    sleep(REST).await;
    io.write_all(b"st: h\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut io).await.status, 200);
}

#[tokio::test]
async fn a_part_of_a_head_is_held_to_its_limit_also_where_it_came_with_the_last_request() {
    let edge = start(|options| options.header_timeout = ms(700));
    let mut io = edge.connect().await;
    io.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT").await.unwrap();
    assert_eq!(read_reply(&mut io).await.status, 200);
    assert!(closed(&mut io).await < ms(5000));
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Head)), 1);
}

#[tokio::test]
async fn http2_after_a_rest_is_no_http1_request() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    assert_eq!(ask(&mut io, "/").await.status, 200);
    sleep(REST).await;
    io.write_all(PREFACE).await.unwrap();
    closed(&mut io).await;
    assert_eq!(edge.seen(ConnEvent::Refused(crate::http::listener::Refusal::MalformedHead)), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_yet_keeps_its_connection_awake() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    io.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    sleep(REST).await;
    let reply = read_reply(&mut io).await;
    assert_eq!(reply.body.len(), 32 * MIB);
    assert_eq!(ask(&mut io, "/").await.status, 200);
}

#[tokio::test]
async fn a_resting_connection_is_closed_when_klamm_stops() {
    let edge = start(|_| {});
    let (mut io, mut other) = (edge.connect().await, edge.connect().await);
    assert_eq!(ask(&mut io, "/").await.status, 200);
    assert_eq!(ask(&mut other, "/").await.status, 200);
    sleep(REST).await;
    edge.go(Phase::Draining);
    let reply = ask(&mut io, "/").await;
    assert!(reply.has("connection: close"), "{}", reply.head);
    edge.go(Phase::Closing);
    closed(&mut other).await;
    assert_eq!(edge.server.await.unwrap(), 0);
}
