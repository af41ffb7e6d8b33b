//! A bare axum server: takes the body as `Bytes`, looks at nothing, answers 120 bytes of JSON. What HTTP alone costs.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpListener;

use super::{Ready, until_stdin_ends};
use crate::load::Stop;

/// As long as klamm's answer to one event.
const ANSWER: &str = concat!(
    r#"{"topic":"bench","accepted":1,"request_id":"01890a5d-ac96-774b-bcce-b302099a8057","#,
    r#""receipts":[{"index":0,"offset":123}]}"#
);

/// How it serves.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Threads of the runtime; as klamm's without it: one a core, or `TOKIO_WORKER_THREADS`
    #[arg(long)]
    pub workers: Option<usize>,
}

/// Serves until standard input ends.
///
/// # Errors
/// If the address cannot be bound.
pub fn run(options: &Options, stop: &Stop) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = options.workers {
        runtime.worker_threads(workers);
    }
    let runtime = runtime.enable_all().thread_name("echo-http").build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        Ready::tell(&listener.local_addr()?)?;
        tokio::spawn(serve(listener));
        anyhow::Ok(())
    })?;
    // Out here, not by tokio's stdin: the runtime is the one that is measured.
    until_stdin_ends(stop);
    Ok(())
}

/// Answers every POST, whatever its path.
async fn serve(listener: TcpListener) -> Result<()> {
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let router = Router::new().route("/{*path}", post(answer));
    Ok(axum::serve(listener, router).await?)
}

async fn answer(body: Bytes) -> ([(axum::http::HeaderName, &'static str); 1], &'static str) {
    drop(body);
    ([(CONTENT_TYPE, "application/json")], ANSWER)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_answer_is_120_bytes_of_json() {
        assert_eq!(ANSWER.len(), 120);
        serde_json::from_str::<serde_json::Value>(ANSWER).unwrap();
    }

    #[test]
    fn it_answers_a_post_to_a_topic_and_keeps_the_connection() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener));
        let mut stream = TcpStream::connect(address).unwrap();
        for _ in 0..2 {
            let request = "POST /v1/topics/bench/events HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(request.as_bytes()).unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(ANSWER.as_bytes()) {
                let mut part = [0; 1024];
                let count = stream.read(&mut part).unwrap();
                assert_ne!(count, 0, "the connection ended");
                seen.extend_from_slice(&part[..count]);
            }
            assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    }
}
