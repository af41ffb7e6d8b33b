//! `klamm tail`: a line for each request as it is answered, from the tap of a running klamm.
//!
//! Promises: each line is written out at once, notes go to standard error, and it ends quietly when nobody reads on. The
//! tap shows 20 requests a second at most; how many were left out is noted.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Deserialize;

use super::admin::feed::{Feed, News};
use super::admin::sse::Event;
use super::admin::{Target, query};
use super::figures::{bytes, clock, count, plain, took};

/// Watch requests as they are answered, a line each
#[derive(Debug, Args)]
#[command(after_help = "\
The columns: time (UTC), status, the refusal's code or `accepted`, client, topic, events, bytes, time taken, request id. At \
most 20 requests a second are shown; those left out are counted on standard error.

Examples:
  klamm tail --client shop --refused        why shop is refused
  klamm tail --json | jq .took              for programs")]
pub(super) struct Tail {
    #[command(flatten)]
    target: Target,

    /// Only requests of this client
    #[arg(long, value_name = "NAME")]
    client: Option<String>,

    /// Only requests to this topic
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,

    /// Only refused ones
    #[arg(long)]
    refused: bool,

    /// An object of JSON a line, with all that the tap tells
    #[arg(long)]
    json: bool,
}

/// What a line needs of a request; the rest is for `--json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    at: u64,
    status: u16,
    code: Option<String>,
    client: String,
    topic: String,
    events: u64,
    bytes: u64,
    took: f64,
    id: String,
    left_out: u64,
}

/// What the loop waits for.
enum Message {
    News(News),
    /// Nobody reads standard output any more.
    Deaf,
}

impl Tail {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        let code = self.refused.then_some("refused");
        let query = query(&[("client", self.client.as_deref()), ("topic", self.topic.as_deref()), ("code", code)]);
        let (tell, told) = mpsc::channel();
        let news = tell.clone();
        let told_of = move |item| news.send(Message::News(item)).is_ok();
        let _feed = Feed::follow(&self.target.open()?, format!("/admin/tap{query}"), None, told_of)?;
        thread::Builder::new().name("reader".into()).spawn(move || listen_for_the_end(&tell))?;
        self.follow(told, out, &mut io::stderr())
    }

    fn follow(
        &self,
        told: impl IntoIterator<Item = Message>,
        out: &mut dyn Write,
        notes: &mut dyn Write,
    ) -> io::Result<ExitCode> {
        let mut been_there = false;
        let mut away = false;
        for message in told {
            match message {
                Message::Deaf => return Ok(ExitCode::SUCCESS),
                Message::News(News::Open) => {
                    if away {
                        writeln!(notes, "klamm: connected again; what was answered meanwhile is not shown")?;
                    }
                    (been_there, away) = (true, false);
                }
                Message::News(News::Event(event)) => self.show(&event, out, notes)?,
                Message::News(News::Lost(why) | News::Busy(why)) if been_there => {
                    if !away {
                        writeln!(notes, "klamm: {why}; trying again until it is back")?;
                    }
                    away = true;
                }
                Message::News(News::Lost(why)) => return Err(self.target.unreachable(&why)),
                Message::News(News::Busy(why) | News::Refused(why)) => return Err(io::Error::other(why)),
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, event: &Event, out: &mut dyn Write, notes: &mut dyn Write) -> io::Result<()> {
        if event.name != "request" {
            return Ok(());
        }
        let request: Request = serde_json::from_str(&event.data).map_err(io::Error::other)?;
        if self.json {
            // One line: JSON has line feeds only between its parts.
            writeln!(out, "{}", event.data.replace('\n', " "))?;
        } else {
            writeln!(out, "{}", line(&request))?;
            if request.left_out > 0 {
                writeln!(notes, "klamm: {} requests were left out", count(request.left_out))?;
            }
        }
        out.flush()
    }
}

fn line(request: &Request) -> String {
    let Request { at, status, client, topic, events, id, .. } = request;
    let hung_up = if *status >= 400 { "hung_up" } else { "accepted" };
    let code = request.code.as_deref().unwrap_or(hung_up);
    let (size, took) = (bytes(request.bytes as f64), took(request.took));
    let what = if *events == 1 { "event " } else { "events" };
    let line = format!(
        "{}Z {status} {code:<20} {client:<12} {topic:<16} {events:>5} {what} {size:>8} {took:>8}  {id}",
        clock(*at)
    );
    plain(&line)
}

/// Waits until standard output is closed at its other end: a pipe without a writer's try would never say so.
fn listen_for_the_end(tell: &mpsc::Sender<Message>) {
    let out = io::stdout();
    let closed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    loop {
        let mut fds = [PollFd::new(&out, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds.iter().any(|fd| fd.revents().intersects(closed)) => break,
            Err(error) if io::Error::from(error).kind() != ErrorKind::Interrupted => return,
            _ => {}
        }
    }
    // Whoever does not hear it has ended already.
    let _ = tell.send(Message::Deaf);
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = r#"{"at":45296007,"id":"01a2","client":"shop","topic":"orders","status":429,
"code":"rate_limited","events":0,"bytes":1536,"took":0.00021,"left_out":1234,"content_type":"a/b"}"#;

    fn tail(json: bool, messages: Vec<Message>) -> (io::Result<ExitCode>, String, String) {
        let admin = "127.0.0.1:1".parse().unwrap();
        let target = Target::at(admin);
        let tail = Tail { target, client: None, topic: None, refused: false, json };
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let code = tail.follow(messages, &mut out, &mut notes);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
    }

    fn event(name: &str, data: &str) -> Message {
        Message::News(News::Event(Event { name: name.to_owned(), data: data.to_owned() }))
    }

    #[test]
    fn a_request_is_a_line_with_its_code_and_what_was_left_out_a_note() {
        let accepted = r#"{"at":0,"id":"01a3","client":"shop","topic":"a\u001bb","status":200,"events":1,"took":2}"#;
        let events = vec![event("hello", "{}"), event("request", REFUSED), event("request", accepted)];
        let (_, out, notes) = tail(false, events);
        insta::assert_snapshot!(out, @r"
        12:34:56.007Z 429 rate_limited         shop         orders               0 events  1.5 KiB  0.21 ms  01a2
        00:00:00.000Z 200 accepted             shop         a�b                  1 event       0 B   2.00 s  01a3
        ");
        assert_eq!(notes, "klamm: 1,234 requests were left out\n");
    }

    #[test]
    fn json_is_one_line_with_everything() {
        let (_, out, notes) = tail(true, vec![event("request", REFUSED)]);
        assert_eq!((out.lines().count(), notes.as_str()), (1, ""));
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&value["content_type"], &value["left_out"]), (&"a/b".into(), &1234.into()));
    }

    #[test]
    fn a_stream_that_is_lost_later_is_waited_for_and_one_that_never_was_is_a_failure() {
        let lost = || Message::News(News::Lost("nobody listens there".to_owned()));
        let open = || Message::News(News::Open);
        let (code, _, notes) =
            tail(false, vec![open(), lost(), lost(), open(), event("request", REFUSED), Message::Deaf]);
        assert_eq!(code.unwrap(), ExitCode::SUCCESS);
        insta::assert_snapshot!(notes, @r"
        klamm: nobody listens there; trying again until it is back
        klamm: connected again; what was answered meanwhile is not shown
        klamm: 1,234 requests were left out
        ");
        let error = tail(false, vec![lost()]).0.unwrap_err().to_string();
        assert_eq!(
            error,
            "http://127.0.0.1:1: nobody listens there; is klamm running, and is that its admin listener?"
        );
        let refused = Message::News(News::Refused("no".to_owned()));
        assert_eq!(tail(false, vec![open(), refused]).0.unwrap_err().to_string(), "no");
    }
}
