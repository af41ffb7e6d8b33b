//! Thousands of clients that take their time.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{Bystanders, Growth, MIB, ORDERS, gone, serve};
use crate::support::gateway::Gateway;
use crate::support::mock::{Mock, bearer};
use crate::support::soon;

/// How slow clients are slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The head comes byte by byte.
    Head,
    /// The body does.
    Body,
    /// No answer is read.
    Answers,
}

const TIMERS: &str = "header_timeout: 4s, body_idle: 3s, body_timeout: 5s, keep_alive: 4s, write_timeout: 3s,";
/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(1500);

/// How many files this process may have open, as many as it may ask for.
fn files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)).unwrap_or(usize::MAX)
}

/// Is slow until klamm closes; what it answered.
async fn dawdle(address: std::net::SocketAddr, way: Way, opening: Arc<Semaphore>, cut: Arc<Semaphore>) -> Vec<u8> {
    let socket = TcpSocket::new_v4().expect("a socket");
    if way == Way::Answers {
        socket.set_recv_buffer_size(4096).expect("a socket takes a buffer size");
    }
    let place = opening.acquire().await.expect("open");
    let mut stream = socket.connect(address).await.expect("a connection");
    let head = format!(
        "POST {ORDERS} HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\nContent-Type: application/json\r\n",
        bearer("bad")
    );
    let begin = match way {
        Way::Head => String::from("P"),
        Way::Body => format!("{head}Content-Length: 1000\r\n\r\n"),
        Way::Answers => "GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n".repeat(400),
    };
    stream.write_all(begin.as_bytes()).await.expect("the begin is taken");
    drop(place);
    let mut answer = Vec::new();
    if way == Way::Answers {
        let _cut = cut.acquire().await.expect("open");
        let _ = stream.read_to_end(&mut answer).await;
        return answer;
    }
    let more = match way {
        Way::Head => head.into_bytes(),
        Way::Body | Way::Answers => vec![b' '; 1000],
    };
    for byte in more.iter().skip(1) {
        match timeout(PAUSE, stream.read_buf(&mut answer)).await {
            Ok(Ok(count)) if count > 0 => {}
            Ok(_) => return answer,
            Err(_) => {}
        }
        let _ = stream.write_all(&[*byte]).await;
    }
    panic!("klamm took all of it");
}

async fn cut(gateway: &Gateway, kind: &str) -> f64 {
    gateway.metrics().await.sum("klamm_connection_events_total", &[("kind", kind)])
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_slow_clients_are_cut_in_time_and_a_good_one_does_not_notice() {
    let count = files().saturating_sub(1500).min(5000);
    if count < 5000 {
        eprintln!("only {count} slow clients: the limit of open files does not allow more");
    }
    let mock = Mock::start(&["orders"]);
    let gateway = serve(&mock, TIMERS, "").await;
    let bystanders = Bystanders::start(&mock, &gateway).await;
    let growth = Growth::start(&gateway);
    let (opening, address) = (Arc::new(Semaphore::new(100)), gateway.ingest().parse().expect("an address"));
    let ways = |at: usize| match at % 100 {
        0 => Way::Answers,
        1..50 => Way::Head,
        _ => Way::Body,
    };
    let (start, all_cut) = (Instant::now(), Arc::new(Semaphore::new(0)));
    let clients: Vec<_> = (0..count)
        .map(|at| (ways(at), tokio::spawn(dawdle(address, ways(at), Arc::clone(&opening), Arc::clone(&all_cut)))))
        .collect();
    let number = |way| clients.iter().filter(|(of, _)| *of == way).count() as f64;
    let (heads, bodies, answers) = (number(Way::Head), number(Way::Body), number(Way::Answers));
    soon("those who read nothing are cut", async || (cut(&gateway, "write_timeout").await == answers).then_some(()))
        .await;
    all_cut.add_permits(count);
    for (way, client) in clients {
        let answer = timeout(Duration::from_secs(60), client).await.unwrap_or_else(|_| panic!("{way:?}: not closed"));
        let answer = answer.expect("klamm closes");
        let expected: &[u8] = if way == Way::Head {
            b""
        } else if way == Way::Body {
            b"HTTP/1.1 408 "
        } else {
            b"HTTP/1.1 200 "
        };
        assert!(
            answer.starts_with(expected),
            "{way:?}: {:?}",
            String::from_utf8_lossy(&answer[..answer.len().min(200)])
        );
    }
    let peak = growth.peak();
    println!("{count} slow clients: {:?}, {} MiB", start.elapsed(), peak / MIB);
    bystanders.stop().await;
    assert!(peak < 48 * 1024 * count as u64, "{peak} bytes");
    gone(&gateway).await;
    assert_eq!(cut(&gateway, "head_timeout").await, heads);
    let labels = [("client", "bad"), ("code", "body_timeout")];
    assert_eq!(gateway.metrics().await.sum("klamm_refusals_total", &labels), bodies);
}
