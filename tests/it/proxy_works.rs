//! The proxy that the fault tests stand on does what it says, on real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::eventually;
use crate::support::proxy::{Proxy, Way, Weather};

const LIMIT: Duration = Duration::from_secs(10);

/// Answers every byte with the same byte.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

fn proxy() -> Proxy {
    let proxy = Proxy::start();
    proxy.forward_to(&echo());
    proxy
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// How long a byte takes there and back.
fn turn(stream: &mut TcpStream) -> std::io::Result<Duration> {
    let start = Instant::now();
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    Ok(start.elapsed())
}

fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
}

#[test]
fn bytes_pass_unaltered_and_an_end_is_passed_on() {
    let proxy = proxy();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stream = connect(&proxy);
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    sender.join().unwrap();
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    eventually("the connection is over", LIMIT, || (proxy.connections() == 0).then_some(()));
}

#[test]
fn a_delay_holds_for_its_direction_and_ends_with_the_weather() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    turn(&mut stream).unwrap();
    let late = Way { delay: Duration::from_millis(150), ..Way::default() };
    for weather in [Weather { there: late, ..Weather::default() }, Weather { back: late, ..Weather::default() }] {
        proxy.set(weather);
        let took = turn(&mut stream).unwrap();
        assert!(took >= late.delay, "{weather:?}: {took:?}");
    }
    proxy.set(Weather::both(late));
    let took = turn(&mut stream).unwrap();
    assert!(took >= late.delay * 2, "both: {took:?}");
    proxy.set(Weather::default());
    let took = turn(&mut stream).unwrap();
    assert!(took < late.delay, "none: {took:?}");
}

#[test]
fn a_rate_is_shared_by_all_connections_and_lifted_at_once() {
    let proxy = proxy();
    proxy.set(Weather { there: Way { rate: Some(100_000), ..Way::default() }, ..Weather::default() });
    let start = Instant::now();
    let send = |size: usize| {
        let mut stream = connect(&proxy);
        thread::spawn(move || {
            let mut writer = stream.try_clone().unwrap();
            thread::spawn(move || writer.write_all(&vec![7; size]).unwrap());
            stream.read_exact(&mut vec![0; size]).unwrap();
        })
    };
    let both = [send(50_000), send(50_000)];
    both.into_iter().for_each(|one| one.join().unwrap());
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900), "100 kB at 100 kB/s took {took:?}");
    let long = send(3_000_000);
    thread::sleep(Duration::from_millis(100));
    let lifted = Instant::now();
    proxy.set(Weather::default());
    long.join().unwrap();
    let took = lifted.elapsed();
    assert!(took < Duration::from_secs(5), "3 MB without a rate took {took:?}");
}

#[test]
fn a_cut_resets_what_is_open_and_what_comes_and_heals() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    turn(&mut stream).unwrap();
    proxy.set(Weather::cut());
    let error = turn(&mut stream).unwrap_err();
    assert!(is_reset(&error), "{error}");
    let error = turn(&mut connect(&proxy)).unwrap_err();
    assert!(is_reset(&error), "{error}");
    proxy.set(Weather::default());
    turn(&mut connect(&proxy)).unwrap();
}

#[test]
fn a_reset_ends_what_is_open_and_nothing_else() {
    let proxy = proxy();
    let (mut one, mut two) = (connect(&proxy), connect(&proxy));
    turn(&mut one).unwrap();
    turn(&mut two).unwrap();
    proxy.reset();
    for stream in [&mut one, &mut two] {
        let error = stream.read_exact(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    turn(&mut connect(&proxy)).unwrap();
}

#[test]
fn half_open_swallows_without_a_word_and_resets_what_lost_bytes_once_it_heals() {
    let proxy = proxy();
    let (mut talks, mut waits) = (connect(&proxy), connect(&proxy));
    turn(&mut talks).unwrap();
    turn(&mut waits).unwrap();
    proxy.set(Weather::half_open());
    talks.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = turn(&mut talks).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "silence, not {error}");
    proxy.set(Weather::default());
    let error = talks.read_exact(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    turn(&mut waits).unwrap();
}

#[test]
fn one_direction_alone_may_be_lost() {
    let proxy = proxy();
    let mut stream = connect(&proxy);
    turn(&mut stream).unwrap();
    proxy.set(Weather { back: Way { lost: true, ..Way::default() }, ..Weather::default() });
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = turn(&mut stream).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    proxy.set(Weather::default());
    assert!(turn(&mut stream).is_err(), "a connection with a hole does not go on");
}

#[test]
fn connections_go_where_the_proxy_points_when_they_open() {
    let proxy = Proxy::start();
    assert!(is_reset(&turn(&mut connect(&proxy)).unwrap_err()), "nowhere yet");
    proxy.forward_to(&echo());
    let mut old = connect(&proxy);
    turn(&mut old).unwrap();
    proxy.forward_to(&echo());
    turn(&mut old).unwrap();
    turn(&mut connect(&proxy)).unwrap();
}
