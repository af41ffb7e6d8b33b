//! Child processes that never outlive the tests.
//!
//! Each is started under `setpriv --pdeathsig KILL`, by one thread that lives as long as the process: the kernel sends
//! that signal when the starting *thread* ends, and a test's own thread ends with the test.

#[cfg(feature = "ui")]
use std::process;
use std::process::{Child, Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A running child; killed when dropped.
pub(crate) struct Process {
    child: Child,
}

/// `program`, to be started by [`Process::start`] so that it dies with the tests.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

impl Process {
    /// Starts a command made by [`command`].
    pub(crate) fn start(command: Command) -> Self {
        type Order = (Command, mpsc::Sender<io::Result<Child>>);
        static STARTER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
        let starter = STARTER.get_or_init(|| {
            let (orders, inbox) = mpsc::channel::<Order>();
            thread::spawn(move || {
                for (mut command, reply) in inbox {
                    let _ = reply.send(command.spawn());
                }
            });
            orders
        });
        let (reply, started) = mpsc::channel();
        starter.send((command, reply)).expect("the starting thread lives");
        let child = started.recv().expect("the starting thread answers").expect("setpriv (util-linux) starts");
        Self { child }
    }

    /// Its id; of `program` itself, for which setpriv makes room.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its stdin and stdout, where the command made them pipes; once.
    #[cfg(feature = "ui")]
    pub(crate) fn pipes(&mut self) -> (process::ChildStdin, process::ChildStdout) {
        let pipes = self.child.stdin.take().zip(self.child.stdout.take());
        pipes.expect("the command asked for pipes, and nobody took them")
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the child takes a signal");
    }

    /// SIGSTOP; returns when every thread stands: on a busy machine that comes some time after the signal.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        eventually("every thread of the child stands", Duration::from_secs(10), || {
            let stands = |task: io::Result<fs::DirEntry>| {
                let status = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
                // The state follows the name, which stands in brackets.
                Some(status.rsplit_once(") ")?.1.starts_with('T'))
            };
            let mut tasks = fs::read_dir(&tasks).expect("the child's threads");
            tasks.all(|task| stands(task).unwrap_or(false)).then_some(())
        });
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be waited for")
    }

    /// How it ended; `None` if it still runs after `limit`.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.ended() {
                None if start.elapsed() < limit => thread::sleep(Duration::from_millis(10)),
                ended => return ended,
            }
        }
    }

    /// SIGKILL; returns when it is gone. No harm if it is already.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
