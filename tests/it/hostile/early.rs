//! Connections that end within a request, at each of its bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use crate::smuggling::serve;
use crate::support::kafka::Kafka;
use crate::support::load::{check_counts, settled};
use crate::support::{keys, soon};

const TOPIC: &str = "early";
/// Side by side.
const SENDERS: usize = 8;

/// A request of about 300 bytes for the event `id`, in one piece or in two chunks; and where its head ends.
fn request(id: &str, chunked: bool) -> (Vec<u8>, usize) {
    let body = format!("{{\"id\":\"{id}\"}}");
    let (half, rest) = body.split_at(body.len() / 2);
    let (framing, body) = match chunked {
        true => {
            let chunks = format!("{:x}\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", half.len(), rest.len());
            ("Transfer-Encoding: chunked".to_owned(), chunks)
        }
        false => (format!("Content-Length: {}", body.len()), body),
    };
    let key = keys::fixed("shop").text;
    let head = format!(
        "POST /v1/topics/{TOPIC}/events HTTP/1.1\r\nHost: klamm.example\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nUser-Agent: a client that hangs up\r\nAccept: */*\r\nX-Pad: {}\r\n{framing}\r\n\r\n",
        "x".repeat(75)
    );
    (format!("{head}{body}").into_bytes(), head.len())
}

/// Sends `bytes` and ends the stream; whether the answer was 200.
fn finish(address: &str, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a socket takes timeouts");
    stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)).expect("the bytes are taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("klamm closes");
    answer.starts_with(b"HTTP/1.1 200")
}

/// Sends `bytes` and resets the connection.
fn reset(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(bytes).expect("the bytes are taken");
    sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).expect("a socket takes linger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_at_any_byte_of_a_request_leaves_it_whole_or_nothing() {
    Kafka::shared().create_topic(TOPIC, 2, &[]);
    let gateway = serve(TOPIC);
    gateway.ready().await;
    let cuts = [false, true].into_iter().flat_map(|chunked| {
        let (example, head) = request("0000-000", chunked);
        assert!((280..360).contains(&example.len()), "{}", example.len());
        (0..=example.len()).map(move |cut| (chunked, cut, head, example.len()))
    });
    let cuts: Vec<_> = cuts.collect();
    thread::scope(|scope| {
        for some in cuts.chunks(cuts.len().div_ceil(SENDERS)) {
            let address = gateway.ingest();
            scope.spawn(move || {
                for &(chunked, cut, _, length) in some {
                    let bytes = |how: &str| request(&format!("{how}{chunked:.1}-{cut:03}"), chunked).0;
                    assert_eq!(finish(address, &bytes("fin")[..cut]), cut == length, "{cut} of {length} bytes");
                    reset(address, &bytes("rst")[..cut]);
                }
            });
        }
    });
    let number = |of: fn(usize, usize, usize) -> bool| {
        let such = cuts.iter().filter(|(_, cut, head, length)| of(*cut, *head, *length)).count();
        f64::from(u32::try_from(such).expect("a small count"))
    };
    let (whole_heads, whole) = (number(|cut, head, _| cut >= head), number(|cut, _, length| cut == length));
    // Whole requests whose client does not wait: written or not, but with one outcome.
    for turn in 0..40 {
        reset(gateway.ingest(), &request(&format!("gone-{turn:03}"), turn % 2 == 0).0);
    }
    soon("no connection is left", async || {
        (gateway.metrics().await.sum("klamm_connections", &[]) == 0.0).then_some(())
    })
    .await;
    let counts = settled(&gateway, "shop", TOPIC).await;
    let found = check_counts(Kafka::shared(), TOPIC, counts);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    for chunked in [false, true] {
        let last = request("0000-000", chunked).0.len();
        assert!(found.contains_key(&format!("fin{chunked:.1}-{last:03}")));
        let cut = |id: &String| id[5..].parse::<usize>().is_ok_and(|cut| cut < last);
        let half = found.keys().find(|id| id[3..].starts_with(&format!("{chunked:.1}-")) && cut(id));
        assert_eq!(half, None, "half a request was written");
    }
    let metrics = gateway.metrics().await;
    let requests = metrics.sum("klamm_requests_total", &[("client", "shop")]);
    // Those that ended by FIN are all counted; those that were reset may have gone before their head was read.
    assert!(whole_heads <= requests && requests <= 2.0 * whole_heads + 40.0, "{requests} of {whole_heads} twice");
    assert!(whole <= counts.received && counts.received <= 2.0 * whole + 40.0, "{counts:?}");
}
