use super::*;

/// Sends a whole request and only then looks for the answer.
async fn post(io: &mut TcpStream, target: &str, length: usize) -> Reply {
    io.write_all(format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").as_bytes())
        .await
        .expect("the head is taken");
    io.write_all(&vec![b'x'; length]).await.expect("the body is taken");
    read_reply(io).await
}

#[tokio::test]
async fn a_refusal_before_a_large_body_arrives() {
    let edge = start(|_| {});
    for length in [7 * MIB, 20 * MIB] {
        for (status, code) in [(401, "unauthenticated"), (413, "too_large"), (429, "rate_limited")] {
            let reply = post(&mut edge.connect().await, &format!("/refuse/{status}"), length).await;
            assert_eq!(reply.status, status);
            assert!(reply.text().contains(&format!("\"code\":\"{code}\"")), "{}", reply.text());
        }
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_large_body_arrives() {
    let edge = start(|_| {});
    assert_eq!(post(&mut edge.connect().await, "/count", 20 * MIB).await.status, 413);
    let mut io = edge.connect().await;
    io.write_all(b"POST /count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        io.write_all(b"100000\r\n").await.unwrap();
        io.write_all(&vec![b'x'; MIB]).await.expect("the body is taken");
        io.write_all(b"\r\n").await.unwrap();
    }
    io.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_reply(&mut io).await.status, 413);
}

#[tokio::test]
async fn a_connection_goes_on_after_a_discarded_body() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    assert_eq!(post(&mut io, "/refuse/401", 7 * MIB).await.status, 401);
    assert_eq!(post(&mut io, "/count", 7 * MIB).await.text(), (7 * MIB).to_string());
    assert_eq!(post(&mut io, "/refuse/429", 10).await.status, 429);
    assert_eq!(ask(&mut io, "/").await.text(), "hello");
}

#[tokio::test]
async fn who_sends_a_large_body_again_before_the_time_waits() {
    let edge = start(|_| {});
    let began = Instant::now();
    let mut io = edge.connect().await;
    for _ in 0..5 {
        assert_eq!(post(&mut io, "/refuse/429", MIB / 16).await.status, 429);
    }
    assert_eq!(ask(&mut io, "/").await.text(), "hello");
    assert!(began.elapsed() >= 5 * ms(100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn nobody_else_waits() {
    let edge = start(|_| {});
    let began = Instant::now();
    for _ in 0..30 {
        let mut io = edge.connect().await;
        for (status, length) in [(401, MIB / 16), (429, 10), (429, MIB / 16)] {
            // The answer to the last does not wait either: only what its sender sends after it.
            assert_eq!(post(&mut io, &format!("/refuse/{status}"), length).await.status, status);
        }
    }
    assert!(began.elapsed() < 30 * ms(100), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_refused_body_that_never_ends_does_not_hold_the_connection() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    io.write_all(b"POST /refuse/401 HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\nx").await.unwrap();
    assert_eq!(read_reply(&mut io).await.status, 401);
    let took = closed(&mut io).await;
    assert!(took > ms(1500) && took < ms(6000), "{took:?}");
}

#[tokio::test]
async fn a_body_that_waits_for_100_continue_is_not_invited_by_a_refusal() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    let head = "HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 7340032\r\n\r\n";
    io.write_all(format!("POST /refuse/401 {head}").as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut io).await.status, 401);
    assert!(closed(&mut io).await < ms(1500));

    let mut io = edge.connect().await;
    io.write_all(format!("POST /count {head}").as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut io).await.status, 100);
    io.write_all(&vec![b'x'; 7 * MIB]).await.unwrap();
    assert_eq!(read_reply(&mut io).await.text(), (7 * MIB).to_string());
}

#[tokio::test]
async fn a_head_over_the_limits_gets_a_problem_body() {
    let edge = start(|_| {});
    let reply = ask(&mut edge.connect().await, &format!("/{}", "p".repeat(4096))).await;
    assert_eq!(reply.status, 414);
    assert!(reply.text().contains("\"code\":\"uri_too_long\""));
    let mut io = edge.connect().await;
    let fields = "X: y\r\n".repeat(100);
    io.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes()).await.unwrap();
    let reply = read_reply(&mut io).await;
    assert_eq!(reply.status, 431);
    assert!(reply.text().contains("\"code\":\"headers_too_large\""));
    let mut io = edge.connect().await;
    let field = "y".repeat(60 * 1024);
    io.write_all(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {field}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(read_reply(&mut io).await.text().contains("\"code\":\"headers_too_large\""));
}

#[tokio::test]
async fn a_panic_is_answered_500_and_the_connection_goes_on() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    let reply = ask(&mut io, "/panic").await;
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("\"code\":\"internal\""));
    assert_eq!(ask(&mut io, "/").await.status, 200);
}
