//! A real terminal: a pseudo-terminal of 80 by 24 that tmux holds, with a shell in it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::child::{self, Process};
use super::{eventually, scratch};

/// How long anything may take to be seen.
const LIMIT: Duration = Duration::from_secs(30);

/// A running tmux; it and what runs in it end when this is dropped.
pub(crate) struct Terminal {
    _server: Process,
    socket: PathBuf,
    /// Where the shell is.
    pub(crate) dir: TempDir,
}

impl Terminal {
    /// Starts one, with these variables in its environment.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let dir = scratch::dir("tmux");
        // Paths of sockets are short, and those under target may not be.
        let socket = std::env::temp_dir().join(format!("klamm-tmux-{}-{}", std::process::id(), serial()));
        let mut command = child::command("tmux");
        // In the foreground, so that it dies with the tests. No config, whatever the user has.
        command.args(["-D", "-u", "-f", "/dev/null", "-S"]).arg(&socket);
        command.env("LC_ALL", "C.UTF-8").env("RUST_BACKTRACE", "0").env_remove("TMUX").env_remove("NO_COLOR");
        command.envs(variables.iter().copied());
        let home = dir.path().display().to_string();
        let terminal = Self { _server: Process::start(command), socket, dir };
        eventually("tmux listens", LIMIT, || terminal.socket.exists().then_some(()));
        eventually("tmux opens a session", LIMIT, || {
            terminal.ask(&["new-session", "-d", "-c", &home, "-x", "80", "-y", "24", "sh"]).map(drop)
        });
        terminal
    }

    fn ask(&self, words: &[&str]) -> Option<String> {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(words).output().expect("tmux runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Types a line for the shell, as soon as it asks for one: what the line before writes must have been seen.
    pub(crate) fn line(&self, text: &str) {
        let asks = |shown: &str| shown.trim_end().lines().last().is_some_and(|line| ["$", "#"].contains(&line.trim()));
        self.wait_for("the prompt", |shown| asks(shown).then_some(()));
        self.ask(&["send-keys", "-l", text]).expect("typed");
        self.keys(&["Enter"]);
    }

    /// Presses keys, by tmux's names (`Enter`, `Escape`, `Down`, `q`).
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat()).expect("pressed");
    }

    /// What is shown.
    pub(crate) fn shown(&self) -> String {
        self.ask(&["capture-pane", "-p"]).expect("a session")
    }

    /// The same with its colours, as escape sequences.
    pub(crate) fn painted(&self) -> String {
        self.ask(&["capture-pane", "-p", "-e"]).expect("a session")
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.ask(&["resize-window", "-x", &width, "-y", &height]).expect("resized");
    }

    /// A variable of tmux, such as `alternate_on`.
    pub(crate) fn state(&self, name: &str) -> String {
        let text = self.ask(&["display-message", "-p", &format!("#{{{name}}}")]).expect("a session");
        text.trim_end().to_owned()
    }

    /// Looks until `seen` finds something in what is shown. Panics with it otherwise, naming `what`.
    pub(crate) fn wait_for<T>(&self, what: &str, mut seen: impl FnMut(&str) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let shown = self.shown();
            if let Some(found) = seen(&shown) {
                return found;
            }
            assert!(start.elapsed() < LIMIT, "{what} is not seen within {LIMIT:?}; what is:\n{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Looks until `words` are shown.
    pub(crate) fn wait_for_words(&self, words: &str) {
        self.wait_for(words, |shown| shown.contains(words).then_some(()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.ask(&["kill-server"]);
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn serial() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Relaxed)
}
