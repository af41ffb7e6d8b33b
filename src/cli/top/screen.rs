//! The terminal while `klamm top` has it, and everything that comes from there: keys, sizes, signals.
//!
//! Promises: however it ends (by a key, an error, a signal, a panic), the terminal is as it was before.

use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};

/// What comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// A key.
    Key(KeyEvent),
    /// The terminal has another size, or must be drawn anew.
    Resized,
    /// The signal of this number: the end.
    Signal(u8),
    /// There is no terminal any more.
    Gone,
}

/// Whether there is a terminal to draw on.
///
/// # Errors
/// There is not, and what to do then.
pub(super) fn is_there() -> io::Result<()> {
    let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    if io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb {
        return Ok(());
    }
    Err(io::Error::other("klamm top needs a terminal; for pipes there is `klamm tail --json`, and /admin/stream"))
}

/// The terminal, taken; given back when dropped.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal. From here on a panic gives it back before it says anything.
    ///
    /// # Errors
    /// What the terminal refuses.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self(ratatui::try_init()?))
    }

    /// Draws.
    ///
    /// # Errors
    /// A terminal that is gone.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.0.draw(picture).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has given it back already; a second time would put the cursor on top of what it said.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}

/// Sends all input to `tell` until nobody hears it. Both threads end with the process.
///
/// # Errors
/// No thread, or no right to hear of signals.
pub(super) fn listen<M: From<Input> + Send + 'static>(tell: &mpsc::Sender<M>) -> io::Result<()> {
    let keys = tell.clone();
    thread::Builder::new().name("keys".into()).spawn(move || read_keys(&keys))?;
    let signals = tell.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let heard = runtime.block_on(first_signal()).map_or(Input::Gone, Input::Signal);
        // Whoever does not hear it has ended already.
        let _ = signals.send(heard.into());
    })?;
    Ok(())
}

/// Whether this key is to be a panic, so that a test can see what becomes of the terminal.
#[cfg(feature = "failpoints")]
pub(super) fn is_planted_panic(key: KeyEvent) -> bool {
    key.code == event::KeyCode::Char('!') && std::env::var_os("KLAMM_FAILPOINT_PANIC").is_some()
}

fn read_keys<M: From<Input>>(tell: &mpsc::Sender<M>) {
    loop {
        let input = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Input::Key(key),
            Ok(Event::Resize(..)) => Input::Resized,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Input::Gone,
        };
        if tell.send(input.into()).is_err() || input == Input::Gone {
            return;
        }
    }
}

/// The first signal that asks for the end.
async fn first_signal() -> io::Result<u8> {
    let (mut hangup, mut interrupt) = (signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?);
    let (mut terminate, mut quit) = (signal(SignalKind::terminate())?, signal(SignalKind::quit())?);
    Ok(tokio::select! {
        _ = hangup.recv() => 1,
        _ = interrupt.recv() => 2,
        _ = quit.recv() => 3,
        _ = terminate.recv() => 15,
    })
}
