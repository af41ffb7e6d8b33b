use super::*;
use crate::http::listener::Timer;

const TIMER: Duration = ms(400);

fn head_timer(options: &mut Options) {
    options.header_timeout = TIMER;
}

fn assert_about(took: Duration, limit: Duration) {
    assert!(took >= limit - ms(100), "closed after {took:?}, the limit is {limit:?}");
    assert!(took < limit + ms(3000), "closed after {took:?}, the limit is {limit:?}");
}

#[tokio::test]
async fn a_silent_connection_is_closed_at_the_first_byte_limit() {
    let edge = start(head_timer);
    let mut io = edge.connect().await;
    assert_about(closed(&mut io).await, TIMER);
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Fresh)), 1);
    assert_eq!(edge.seen(ConnEvent::Closed), 1);
}

#[tokio::test]
async fn half_a_preface_and_then_silence_is_closed() {
    let edge = start(head_timer);
    let mut io = edge.connect().await;
    io.write_all(b"PRI * HT").await.unwrap();
    assert_about(closed(&mut io).await, TIMER);
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Head)), 1);
}

#[tokio::test]
async fn a_preface_without_a_request_is_closed() {
    let edge = start(head_timer);
    let mut io = edge.connect().await;
    io.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    assert_about(closed(&mut io).await, TIMER);
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Head)), 1);
}

#[tokio::test]
async fn a_head_that_trickles_in_is_closed_at_its_limit() {
    let edge = start(head_timer);
    let (mut reader, mut writer) = edge.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nX-Long: ".iter().chain(&[b'x'; 200]) {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(ms(20)).await;
        }
    });
    assert_about(closed(&mut reader).await, TIMER);
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Head)), 1);
    trickle.abort();
}

#[tokio::test]
async fn the_head_of_a_second_request_has_the_same_limit() {
    let edge = start(head_timer);
    let mut io = edge.connect().await;
    assert_eq!(ask(&mut io, "/").await.status, 200);
    sleep(TIMER * 2).await;
    io.write_all(b"GET / HT").await.unwrap();
    assert_about(closed(&mut io).await, TIMER);
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Head)), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed_at_its_own_limit_and_not_before() {
    let edge = start(|options| {
        options.header_timeout = ms(200);
        options.keep_alive = ms(900);
    });
    let mut io = edge.connect().await;
    assert_eq!(ask(&mut io, "/").await.status, 200);
    sleep(ms(500)).await;
    assert_eq!(ask(&mut io, "/").await.status, 200);
    assert_about(closed(&mut io).await, ms(900));
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Idle)), 1);
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_http2_connection() {
    let edge = start(|options| {
        options.header_timeout = ms(200);
        options.keep_alive = ms(800);
    });
    let mut io = edge.connect().await;
    io.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &h2_get(1)].concat()).await.unwrap();
    read_until(&mut io, DATA, 1).await;
    let (mut reader, mut writer) = io.into_split();
    let pings = tokio::spawn(async move {
        while writer.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
            sleep(ms(50)).await;
        }
    });
    assert_about(closed(&mut reader).await, ms(800));
    assert_eq!(edge.seen(ConnEvent::TimedOut(Timer::Idle)), 1);
    pings.abort();
}

#[tokio::test]
async fn a_slow_body_is_not_held_to_the_timers_of_the_head() {
    let edge = start(|options| {
        options.header_timeout = ms(150);
        options.keep_alive = ms(150);
    });
    let mut io = edge.connect().await;
    io.write_all(b"POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n").await.unwrap();
    for _ in 0..10 {
        sleep(ms(100)).await;
        io.write_all(b"x").await.unwrap();
    }
    assert_eq!(read_reply(&mut io).await.text(), "10");
}

#[tokio::test]
async fn a_slow_answer_is_not_held_to_the_timers_of_the_head() {
    let edge = start(|options| {
        options.header_timeout = ms(150);
        options.keep_alive = ms(150);
    });
    assert_eq!(ask(&mut edge.connect().await, "/slow").await.status, 200);
}

#[tokio::test]
async fn a_body_that_stops_is_answered_408() {
    let edge = start(|_| {});
    let mut io = edge.connect().await;
    io.write_all(b"POST /count HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx").await.unwrap();
    let reply = read_reply(&mut io).await;
    assert_eq!(reply.status, 408);
    assert!(reply.has("connection: close"), "{}", reply.head);
    assert!(reply.text().contains("no byte of the body came for 1.5 s"), "{}", reply.text());
    closed(&mut io).await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_cut() {
    let edge = start(|options| options.write_timeout = TIMER);
    let mut io = edge.connect().await;
    io.write_all(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let start = Instant::now();
    while edge.seen(ConnEvent::TimedOut(Timer::Write)) == 0 {
        assert!(start.elapsed() < PATIENCE);
        sleep(ms(20)).await;
    }
    assert_about(start.elapsed(), TIMER);
}
