//! `klamm serve`: the gateway.

use std::hint::black_box;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tracing::warn;

use super::{BAD_CONFIG, ConfigArgs};
use crate::boot::{self, Error, Notify, Sockets, Start};
use crate::config::live::Live;
use crate::config::{self, LogFormat};
use crate::librdkafka;
use crate::shutdown::Signals;
use crate::telemetry::{LogStyle, access, logs};

/// Run the gateway
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,

    /// Write the bound addresses as JSON to this file once both listeners are bound
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// The largest batch, the memory that it is compressed into, and room to spare.
const BLOCK: usize = 8 << 20;

impl Serve {
    pub(super) fn run(self) -> io::Result<ExitCode> {
        let mut source = self.config.source(config::environment());
        // Where sockets are passed, they are where klamm listens, whatever else is said.
        let sockets = match Sockets::from_environment().and_then(|sockets| Ok((sockets.keys()?, sockets))) {
            Ok((keys, sockets)) => {
                source.flags.extend(keys);
                sockets
            }
            Err(message) => {
                eprintln!("klamm: {message}");
                return Ok(ExitCode::from(BAD_CONFIG));
            }
        };
        let (live, warnings) = match Live::open(source) {
            Ok(opened) => opened,
            Err(faults) => {
                eprintln!("{faults}");
                return Ok(ExitCode::from(BAD_CONFIG));
            }
        };
        let log = live.current().log.clone();
        let logs = logs::init(&log.level, style(log.format)).map_err(io::Error::other)?;
        for warning in warnings {
            warn!("config: {warning}");
        }
        let (live, ready_file, notify) = (Arc::new(live), self.ready_file, Notify::from_environment());
        let start =
            Start { live, logs, access: access::Style::Log, example: None, create: None, ready_file, sockets, notify };
        gateway(start, async |_| {})
    }
}

pub(super) fn style(format: LogFormat) -> LogStyle {
    match format {
        LogFormat::Pretty => LogStyle::Pretty,
        LogFormat::Json => LogStyle::Json,
        LogFormat::Auto if io::stderr().is_terminal() => LogStyle::Pretty,
        LogFormat::Auto => LogStyle::Json,
    }
}

/// Runs a gateway to its end; `began` is told once it serves.
pub(super) fn gateway(start: Start, began: impl AsyncFnOnce(&boot::Running)) -> io::Result<ExitCode> {
    keep_memory_between_batches();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("klamm-http").build()?;
    let stopped = runtime.block_on(async {
        let signals = Signals::new().map_err(Error::Signals)?;
        let running = boot::start(start)?;
        began(&running).await;
        Ok::<bool, Error>(running.until_stopped(signals).await)
    });
    // What still blocks (a question to a broker that does not answer) holds nothing that matters.
    runtime.shutdown_background();
    let clean = stopped.map_err(io::Error::other)?;
    // stderr has no buffer; nobody may be left to read stdout.
    let _ = io::stdout().flush();
    librdkafka::exit(u8::from(!clean))
}

/// Has glibc keep the memory of one batch for the next. It gives back what is free at the end of a heap where that is more
/// than twice the largest block that was ever freed (mallopt(3), `M_MMAP_THRESHOLD`): a producer's thread would give back
/// 3 MB after every batch and have them cleared again for the next. Other allocators take no notice.
fn keep_memory_between_batches() {
    drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
}
