//! A stream of the admin listener, read by a thread of its own that comes back whenever the stream ends.
//!
//! Promises: a stream that stays silent for longer than klamm does is given up; what it saw last goes along when it comes
//! back. Ends when its [`Feed`] is dropped, when nobody hears it, and with an answer that would stay the same.

use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::sse::{Event, Parser};
use super::{Admin, Answer, Socket};

/// For the connection and the head of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// klamm sends a comment after 10 s without an event.
const SILENCE: Duration = Duration::from_secs(25);
/// Between two tries, where the server says nothing else.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Of the text of a refusal.
const DETAIL: u64 = 16 * 1024;

/// What a feed tells.
#[derive(Debug)]
pub(in crate::cli) enum News {
    /// The stream is there.
    Open,
    /// An event of it.
    Event(Event),
    /// It is not there, for this reason; another try follows.
    Lost(String),
    /// klamm has none for us at present, for this reason; another try follows.
    Busy(String),
    /// There will be none, for this reason.
    Refused(String),
}

/// A stream that is followed, until this is dropped.
#[derive(Debug)]
pub(in crate::cli) struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    // std Mutexes: held for a line, never while something is read.
    socket: Mutex<Option<Socket>>,
    last_id: Mutex<Option<String>>,
}

impl Feed {
    /// Follows `path`, after the event `last_id`. `tell` gets the news, and says whether anybody still hears them.
    ///
    /// # Errors
    /// No thread.
    pub(in crate::cli) fn follow(
        admin: &Admin,
        path: String,
        last_id: Option<String>,
        tell: impl FnMut(News) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { last_id: Mutex::new(last_id.clone()), ..Shared::default() });
        let reader = Reader {
            admin: admin.clone(),
            path,
            shared: Arc::clone(&shared),
            parser: Parser::after(last_id),
            tell: Box::new(tell),
        };
        thread::Builder::new().name("feed".into()).spawn(move || reader.run())?;
        Ok(Self(shared))
    }

    /// The id of the last event that had one.
    pub(in crate::cli) fn last_id(&self) -> Option<String> {
        self.0.last_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
        if let Some(socket) = self.0.socket.lock().unwrap_or_else(PoisonError::into_inner).take() {
            socket.end();
        }
    }
}

struct Reader {
    admin: Admin,
    path: String,
    shared: Arc<Shared>,
    parser: Parser,
    tell: Box<dyn FnMut(News) -> bool + Send>,
}

/// Why a stream is no longer read.
enum End {
    /// Come back.
    Lost(String),
    /// Come back, after this if the server said so.
    Busy(String, Option<Duration>),
    Refused(String),
    Unheard,
}

impl Reader {
    fn run(mut self) {
        while !self.shared.ended.load(Relaxed) {
            let (news, pause) = match self.stream() {
                End::Lost(why) => (News::Lost(why), None),
                End::Busy(why, wait) => (News::Busy(why), wait),
                End::Refused(why) => {
                    (self.tell)(News::Refused(why));
                    return;
                }
                End::Unheard => return,
            };
            // A stream that ends because it is to end is no news.
            if self.shared.ended.load(Relaxed) || !(self.tell)(news) {
                return;
            }
            let pause = pause.or_else(|| self.parser.retry()).unwrap_or(PAUSE);
            thread::sleep(pause.min(LONGEST_PAUSE));
        }
    }

    /// One stream, to its end.
    fn stream(&mut self) -> End {
        let lost = |error: io::Error| End::Lost(words(&error));
        let last_id = self.parser.last_id().map(str::to_owned);
        let mut answer = match self.admin.get(&self.path, last_id.as_deref(), PATIENCE) {
            Ok(answer) => answer,
            Err(error) => return lost(error),
        };
        if let Some(end) = self.refusal(&mut answer) {
            return end;
        }
        if let Err(error) = self.hold(answer.socket()) {
            return lost(error);
        }
        // What the stream before left half read is gone.
        let retry = self.parser.retry();
        self.parser = Parser::after(last_id).with_retry(retry);
        if !(self.tell)(News::Open) {
            return End::Unheard;
        }
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = match answer.read(&mut bytes) {
                Ok(0) => return End::Lost("klamm ended the stream".to_owned()),
                Ok(read) => bytes.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return lost(error),
            };
            let Ok(events) = self.parser.push(read) else { return End::Refused("an endless event".to_owned()) };
            for event in events {
                if !(self.tell)(News::Event(event)) {
                    return End::Unheard;
                }
            }
            *self.shared.last_id.lock().unwrap_or_else(PoisonError::into_inner) =
                self.parser.last_id().map(str::to_owned);
        }
    }

    /// From here on the socket ends with the [`Feed`].
    fn hold(&self, socket: &Socket) -> io::Result<()> {
        socket.limit(SILENCE)?;
        let again = socket.again()?;
        *self.shared.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(again);
        if self.shared.ended.load(Relaxed) {
            socket.end();
        }
        Ok(())
    }

    /// What an answer that is no stream means.
    fn refusal(&self, answer: &mut Answer<Socket>) -> Option<End> {
        let status = answer.status;
        let kind = answer.header("content-type").unwrap_or_default();
        if status == 200 && kind.starts_with("text/event-stream") {
            return None;
        }
        let wait = answer.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let text = answer.text(DETAIL).unwrap_or_default();
        let detail = detail(&text);
        Some(match status {
            200 => End::Refused(self.admin.advice(404, "there is no stream of events")),
            429 | 500.. => End::Busy(self.admin.advice(status, &detail), wait),
            _ => End::Refused(self.admin.advice(status, &detail)),
        })
    }
}

/// The `detail` of a problem body, else the first line.
fn detail(text: &str) -> String {
    let problem = serde_json::from_str::<serde_json::Value>(text).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    detail.or_else(|| text.lines().next()).unwrap_or_default().to_owned()
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => "the connection was cut".to_owned(),
        ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::sync::mpsc;

    use super::*;
    use crate::cli::admin::Address;

    /// Answers one connection after another with these; what was asked.
    fn server(answers: Vec<&'static str>) -> (Admin, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).unwrap();
                tell.send(String::from_utf8_lossy(&request[..read]).into_owned()).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (Admin::without_key(address), told)
    }

    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 1\n\n";

    fn follow(admin: &Admin) -> (Feed, mpsc::Receiver<String>) {
        let (tell, told) = mpsc::channel();
        let tell = move |news| {
            let words = match news {
                News::Open => "open".to_owned(),
                News::Event(event) => event.data,
                News::Lost(why) => format!("lost: {why}"),
                News::Busy(why) => format!("busy: {why}"),
                News::Refused(why) => format!("refused: {why}"),
            };
            tell.send(words).is_ok()
        };
        (Feed::follow(admin, "/s".to_owned(), None, tell).unwrap(), told)
    }

    #[test]
    fn a_stream_that_ends_is_asked_for_again_with_the_last_id() {
        let first = [STREAM, "id: 7-1\ndata: one\n\nid: 7-2\ndata: half"].concat().leak();
        let busy = "HTTP/1.1 503 x\r\nretry-after: 0\r\n\r\n{\"detail\":\"50 viewers watch already\"}";
        let second = [STREAM, "data: two\n\n"].concat().leak();
        let (admin, asked) = server(vec![first, busy, second, "HTTP/1.1 401 x\r\n\r\n"]);
        let (feed, told) = follow(&admin);
        let told: Vec<_> = told.iter().collect();
        let ended = "lost: klamm ended the stream";
        assert_eq!((&told[..3], told[4].as_str()), (&["open", "one", ended].map(str::to_owned)[..], "open"));
        assert!(
            told[3].starts_with("busy: ") && told[3].ends_with(" answers 503: 50 viewers watch already"),
            "{}",
            told[3]
        );
        assert_eq!(told[5..7], ["two", ended]);
        assert!(told[7].starts_with("refused: http://127.0.0.1:") && told[7].contains("--key-file"), "{}", told[7]);
        assert_eq!(feed.last_id().as_deref(), Some("7-1"));
        let asked: Vec<_> = asked.iter().take(4).map(|request| request.contains("Last-Event-ID: 7-1\r\n")).collect();
        assert_eq!(asked, [false, true, true, true]);
    }

    #[test]
    fn what_is_no_stream_is_said() {
        for (answer, words) in [
            (
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\nhi",
                "is this klamm's admin listener? there is no stream",
            ),
            ("HTTP/1.1 404 x\r\n\r\n{\"detail\":\"no such\"}", "answers 404: is this klamm's admin listener? no such"),
            ("HTTP/1.1 421 x\r\n\r\n{\"detail\":\"see admin.hosts\"}", "answers 421: see admin.hosts"),
        ] {
            let (admin, _asked) = server(vec![answer]);
            let told = follow(&admin).1.recv().unwrap();
            assert!(told.starts_with("refused: ") && told.contains(words), "{told}");
        }
        let (admin, _asked) = server(vec!["SSH-2.0\r\n"]);
        assert_eq!(follow(&admin).1.recv().unwrap(), "lost: what answers is no HTTP");
    }
}
