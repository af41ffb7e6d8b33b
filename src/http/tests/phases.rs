use super::*;

#[tokio::test]
async fn a_lame_duck_serves_and_asks_http1_connections_to_leave() {
    let edge = start(|_| {});
    let mut idle = edge.connect().await;
    assert!(!ask(&mut idle, "/").await.has("connection: close"));
    edge.go(Phase::LameDuck);
    assert!(timeout(ms(200), idle.read_u8()).await.is_err(), "an idle connection was closed");
    for mut io in [idle, edge.connect().await] {
        let reply = ask(&mut io, "/").await;
        assert_eq!((reply.status, reply.has("connection: close")), (200, true));
        closed(&mut io).await;
    }
}

#[tokio::test]
async fn a_lame_duck_asks_http2_connections_to_leave() {
    let edge = start(|_| {});
    let open = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &h2_get(1)].concat();
    let mut old = edge.connect().await;
    old.write_all(&open).await.unwrap();
    read_until(&mut old, DATA, 1).await;
    edge.go(Phase::LameDuck);
    read_until(&mut old, GOAWAY, 0).await;
    // A stream that was under way when GOAWAY came is still served.
    old.write_all(&h2_get(3)).await.unwrap();
    read_until(&mut old, DATA, 1).await;

    let mut new = edge.connect().await;
    new.write_all(&open).await.unwrap();
    read_until(&mut new, GOAWAY, 0).await;
}

#[tokio::test]
async fn where_others_wait_for_them_new_connections_are_left_in_the_queue() {
    let kept = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let passed = Listener::adopt(Passed::Tcp(kept.try_clone().unwrap())).unwrap();
    let listen = passed.local().unwrap();
    let edge = start_on(passed, listen, |options| options.closed_from = Phase::LameDuck);
    let mut old = edge.connect().await;
    assert_eq!(ask(&mut old, "/").await.status, 200);
    edge.go(Phase::LameDuck);
    sleep(ms(100)).await;
    let mut new = edge.connect().await;
    new.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let reply = ask(&mut old, "/").await;
    assert_eq!((reply.status, reply.has("connection: close")), (200, true), "who is there is served on");
    edge.go(Phase::Closing);
    assert_eq!(edge.server.await.unwrap(), 0);

    let next = start_on(Listener::adopt(Passed::Tcp(kept)).unwrap(), edge.listen, |_| {});
    assert_eq!(read_reply(&mut new).await.status, 200);
    assert_eq!(next.seen.lock().unwrap().iter().filter(|event| **event == ConnEvent::Accepted).count(), 1);
}

#[tokio::test]
async fn draining_still_accepts_and_answers() {
    let edge = start(|_| {});
    edge.go(Phase::Draining);
    let reply = ask(&mut edge.connect().await, "/").await;
    assert_eq!((reply.status, reply.has("connection: close")), (200, true));
}

#[tokio::test]
async fn closing_lets_requests_in_flight_finish_and_closes_the_rest() {
    let edge = start(|_| {});
    let mut idle = edge.connect().await;
    assert_eq!(ask(&mut idle, "/").await.status, 200);
    let mut silent = edge.connect().await;
    let mut busy = edge.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    sleep(ms(150)).await;
    edge.go(Phase::Closing);
    assert!(closed(&mut idle).await < ms(300));
    assert!(closed(&mut silent).await < ms(300));
    assert_eq!(read_reply(&mut busy).await.status, 200);
    closed(&mut busy).await;
    assert_eq!(edge.server.await.unwrap(), 0);
    let Listen::Tcp(address) = edge.listen else { panic!("not TCP") };
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_is_cut_and_counted() {
    let edge = start(|options| options.grace = ms(300));
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let mut io = edge.connect().await;
        io.write_all(b"GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        stuck.push(io);
    }
    sleep(ms(150)).await;
    edge.go(Phase::Closing);
    for io in &mut stuck {
        closed(io).await;
    }
    assert_eq!(edge.server.await.unwrap(), 2);
}

#[tokio::test]
async fn without_anybody_who_could_stop_it_the_edge_ends() {
    let edge = start(|_| {});
    drop(edge.phase);
    assert_eq!(timeout(PATIENCE, edge.server).await.unwrap().unwrap(), 0);
}
