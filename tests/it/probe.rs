//! `klamm probe`: one line and an exit code, whatever is at the other end.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::gateway::{Gateway, binary};
use crate::support::mock::{Mock, client};
use crate::support::scratch;

/// Its exit code and its one line.
fn probe(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary()).arg("probe").args(args).output().expect("it runs");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    (output.status.code(), text.trim_end().to_owned())
}

fn said(code: i32, line: &str) -> (Option<i32>, String) {
    (Some(code), line.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_asked_by_tcp_and_by_a_unix_socket() {
    let mock = Mock::start(&["orders"]);
    let dir = scratch::dir("probe");
    let socket = format!("unix:{}", dir.path().join("admin.sock").display());
    let rest = format!("topics: {{ orders: {{}} }}\nclients:\n{}", client("shop", "[orders]", "{}"));
    let config = mock.config("", "", &rest);
    let unix = config.replacen("admin: { listen: \"127.0.0.1:0\" }", &format!("admin: {{ listen: \"{socket}\" }}"), 1);

    let gateway = Gateway::start(&config);
    gateway.ready().await;
    let url = format!("http://{}", gateway.admin());
    for (args, line) in [(&[][..], "/readyz: ready"), (&["--ready"], "/readyz: ready"), (&["--live"], "/livez: ok")] {
        assert_eq!(probe(&[args, &["--admin", &url]].concat()), said(0, line));
    }
    drop(gateway);
    let (code, line) = probe(&["--live", "--admin", &url]);
    assert!(code == Some(1) && line.starts_with("/livez: Connection refused"), "{line}");

    // No broker answers there: it lives, and is not ready.
    let _alone = Gateway::start(&unix.replace(mock.bootstrap(), "127.0.0.1:1"));
    assert_eq!(probe(&["--startup", "--admin", &socket]), said(0, "/startupz: ok"));
    assert_eq!(probe(&["--ready", "--admin", &socket]), said(1, "/readyz: 503 not ready"));
    let (code, line) = probe(&["--admin", "unix:/nowhere/admin.sock"]);
    assert!(code == Some(1) && line.contains("No such file"), "{line}");
}

#[test]
fn who_does_not_answer_in_time_is_not_well() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = silent.local_addr().expect("bound").to_string();
    let began = Instant::now();
    assert_eq!(probe(&["--admin", &at, "--timeout", "300ms"]), said(1, "/readyz: no answer within 300ms"));
    assert!(began.elapsed() < Duration::from_secs(5));

    // One that keeps talking, so that no single read takes long.
    thread::spawn(move || {
        for stream in silent.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                while stream.write_all(b"HTTP/1.1 200 OK\r\n").is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    assert_eq!(probe(&["--admin", &at, "--timeout", "300ms"]), said(1, "/readyz: no answer within 300ms"));
}

#[test]
fn what_cannot_be_meant_is_wrong_usage() {
    for args in [&["--admin", "https://x:1"][..], &["--timeout", "soon"], &["--live", "--ready"]] {
        let output = Command::new(binary()).arg("probe").args(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
