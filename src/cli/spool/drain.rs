//! `klamm spool drain`: sends what a spool holds, without a gateway.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::NOT_YET;
use crate::boot::{self, Error};
use crate::cli::{BAD_CONFIG, ConfigArgs};
use crate::config::{environment, load};
use crate::librdkafka;
use crate::shutdown::Signals;
use crate::telemetry::logs;
use crate::units::Span;

/// Send what the spool holds, without listeners; exit code 0 once it is empty, 75 while events are left
#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    config: ConfigArgs,

    /// Give up when nothing has moved for so long; what is left stays on disk
    #[arg(long, value_name = "TIME", default_value = "30s")]
    patience: Span,
}

impl Drain {
    pub(super) fn run(self) -> io::Result<ExitCode> {
        let loaded = match load::load(&self.config.source(environment())) {
            Ok(loaded) => loaded,
            Err(faults) => {
                eprintln!("{faults}");
                return Ok(ExitCode::from(BAD_CONFIG));
            }
        };
        let config = Arc::new(loaded.config);
        if !config.spool.is_on() {
            eprintln!("spool.dir: is empty: there is no spool to drain");
            return Ok(ExitCode::from(BAD_CONFIG));
        }
        logs::init(&config.log.level, crate::cli::serve::style(config.log.format)).map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("klamm-drain").build()?;
        let left = runtime.block_on(async {
            let signals = Signals::new().map_err(Error::Signals)?;
            boot::empty(config, self.patience.get(), signals).await
        });
        // What still blocks (a question to a broker that does not answer) holds nothing that matters.
        runtime.shutdown_background();
        let left = left.map_err(io::Error::other)?;
        librdkafka::exit(if left == 0 { 0 } else { NOT_YET })
    }
}
