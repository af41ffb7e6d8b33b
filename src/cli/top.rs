//! `klamm top`: a running klamm in a terminal, from the same stream as the live page.
//!
//! [`model`] is what klamm has told, [`view`] what is looked at and what keys do, [`draw`] the picture of both: all three
//! are pure. Here is the loop that brings them together. Nothing is asked of klamm but one stream; it is read by a thread
//! of its own, so that keys never wait for the network.

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use clap::Args;

use super::admin::feed::{Feed, News};
use super::admin::{Admin, Target, query};

mod draw;
mod grid;
mod ink;
mod model;
mod screen;
mod tables;
#[cfg(test)]
mod tests;
mod verdict;
mod view;
mod wire;

use ink::Ink;
use model::{Model, Subject};
use screen::{Input, Screen};
use view::{View, Wish};

/// While klamm says nothing, time goes on.
const IDLE: Duration = Duration::from_secs(1);

/// Watch a running klamm in the terminal: clients, topics, refusals
#[derive(Debug, Args)]
#[command(after_help = "\
Keys: arrows choose a row, Tab another table, Enter opens a client or topic, Esc goes back, s sorts by the next column, r \
turns the order round, / filters, ? lists all keys, q quits. Colours are left out with NO_COLOR=1.")]
pub(super) struct Top {
    #[command(flatten)]
    target: Target,
}

/// What the loop waits for.
enum Message {
    Input(Input),
    /// Of the stream with this number.
    News(u64, News),
}

impl From<Input> for Message {
    fn from(input: Input) -> Self {
        Message::Input(input)
    }
}

impl Top {
    pub(super) fn run(&self) -> io::Result<ExitCode> {
        screen::is_there()?;
        let (tell, told) = mpsc::channel();
        let lines = Lines { admin: self.target.open()?, tell, number: 0 };
        let mut watch = Watch::new(lines)?;
        // What is wrong from the beginning is said before the screen is taken.
        while !watch.model.is_told() {
            match told.recv().map_err(io::Error::other)? {
                Message::News(_, News::Lost(why)) => return Err(self.target.unreachable(&why)),
                Message::News(_, News::Busy(why)) => return Err(io::Error::other(why)),
                message => drop(watch.hear(message)?),
            }
        }
        screen::listen(&watch.lines.tell)?;
        let mut screen = Screen::take()?;
        watch.run(&mut screen, &told)
    }
}

/// Opens streams.
struct Lines {
    admin: Admin,
    tell: Sender<Message>,
    /// Of the latest.
    number: u64,
}

impl Lines {
    /// A stream that tells of `subject` too; the one before is to be dropped.
    fn open(&mut self, subject: &Subject, last_id: Option<String>) -> io::Result<Feed> {
        let (client, topic) = match subject {
            Subject::All => (None, None),
            Subject::Client(id) => (Some(id.as_str()), None),
            Subject::Topic(id) => (None, Some(id.as_str())),
        };
        self.number += 1;
        let (number, tell) = (self.number, self.tell.clone());
        let path = format!("/admin/stream{}", query(&[("client", client), ("topic", topic)]));
        Feed::follow(&self.admin, path, last_id, move |news| tell.send(Message::News(number, news)).is_ok())
    }
}

/// Everything that changes while it runs.
struct Watch {
    lines: Lines,
    feed: Feed,
    model: Model,
    view: View,
    ink: Ink,
}

impl Watch {
    fn new(mut lines: Lines) -> io::Result<Self> {
        let feed = lines.open(&Subject::All, None)?;
        let ink = Ink::new(std::env::var_os("NO_COLOR").as_ref());
        Ok(Self { lines, feed, model: Model::default(), view: View::default(), ink })
    }

    fn run(&mut self, screen: &mut Screen, told: &Receiver<Message>) -> io::Result<ExitCode> {
        loop {
            let (view, model, ink) = (&self.view, &self.model, self.ink);
            screen.draw(|frame| draw::draw(frame, view, model, ink, Instant::now()))?;
            let first = match told.recv_timeout(IDLE) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(ExitCode::SUCCESS),
            };
            // What has come together is drawn together.
            for message in first.into_iter().chain(std::iter::from_fn(|| told.try_recv().ok())) {
                if let Some(code) = self.hear(message)? {
                    return Ok(code);
                }
            }
        }
    }

    /// Takes a message; the exit code if it is the end.
    fn hear(&mut self, message: Message) -> io::Result<Option<ExitCode>> {
        let now = Instant::now();
        match message {
            // What a stream told before it was left is as true as ever.
            Message::News(_, News::Event(event)) => self.model.apply(&event, now).map_err(io::Error::other)?,
            Message::News(number, _) if number != self.lines.number => {}
            Message::News(_, News::Open) => {}
            Message::News(_, News::Lost(why) | News::Busy(why)) => self.model.lose(why, now),
            Message::News(_, News::Refused(why)) => return Err(io::Error::other(why)),
            #[cfg(feature = "failpoints")]
            Message::Input(Input::Key(key)) if screen::is_planted_panic(key) => panic!("failpoint: a planted panic"),
            Message::Input(Input::Key(key)) => match self.view.press(key, &self.model) {
                Wish::Nothing => {}
                Wish::Quit => return Ok(Some(ExitCode::SUCCESS)),
                Wish::Follow(subject) => self.feed = self.lines.open(&subject, self.feed.last_id())?,
            },
            Message::Input(Input::Resized) => {}
            Message::Input(Input::Signal(number)) => return Ok(Some(ExitCode::from(128 + number))),
            Message::Input(Input::Gone) => return Ok(Some(ExitCode::FAILURE)),
        }
        Ok(None)
    }
}
