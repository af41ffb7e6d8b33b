//! Log lines on stderr: pretty for people, JSON for machines, the level changes live.
//!
//! Records of the `log` crate (librdkafka's among them, target `librdkafka`) come out here too. Colours only on a
//! terminal that wants them. Escape sequences in values are made harmless by the formatters.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why logging is not as asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not valid.
    #[error(
        "`{0}` is no level (error, warn, info, debug, trace, off) and no filter such as `info,klamm::stages::produce=debug`"
    )]
    Filter(String, #[source] Option<ParseError>),
    /// Something else in this process has set up logging.
    #[error("logging is set up already")]
    AlreadySet,
    /// The subscriber of the handle is gone.
    #[error("logging has ended")]
    Gone,
}

/// Changes the level of a running gateway.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogHandle {
    /// From now on logs what `level` lets through.
    ///
    /// # Errors
    ///
    /// When it is no level and no filter; then nothing changes.
    pub fn set_level(&self, level: &str) -> Result<(), Error> {
        self.filter.reload(parse(level)?).map_err(|_| Error::Gone)
    }
}

/// Whether `level` is a level or a filter.
///
/// # Errors
///
/// When it is not.
pub fn check(level: &str) -> Result<(), Error> {
    parse(level).map(drop)
}

/// Sets up logging for the whole process; once.
///
/// # Errors
///
/// When `level` is not valid, or logging is set up already.
pub fn init(level: &str, style: LogStyle) -> Result<LogHandle, Error> {
    let (subscriber, handle) = subscriber(level, style, colours(), std::io::stderr)?;
    subscriber.try_init().map_err(|_| Error::AlreadySet)?;
    Ok(handle)
}

// https://no-color.org
fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The subscriber that [`init`] installs, over any writer.
pub(super) fn subscriber<W>(
    level: &str,
    style: LogStyle,
    colours: bool,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, LogHandle), Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let lines = fmt::layer().with_writer(writer).with_ansi(colours);
    let registry = tracing_subscriber::registry().with(filter);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match style {
        LogStyle::Pretty => Box::new(registry.with(lines)),
        LogStyle::Json => {
            Box::new(registry.with(lines.json().flatten_event(true).with_current_span(false).with_span_list(false)))
        }
    };
    Ok((subscriber, LogHandle { filter: handle }))
}

fn parse(level: &str) -> Result<EnvFilter, Error> {
    // `EnvFilter` takes a bare word that is no level for a target, so that a typing error would silence everything;
    // `LevelFilter` takes nothing for `error`.
    let bare = |part: &str| !part.contains(['=', '[', ']', '{', '}']);
    let typo = |part: &str| bare(part) && (part.trim().is_empty() || part.trim().parse::<LevelFilter>().is_err());
    if level.split(',').any(typo) {
        return Err(Error::Filter(level.to_owned(), None));
    }
    EnvFilter::try_new(level).map_err(|source| Error::Filter(level.to_owned(), Some(source)))
}

#[cfg(test)]
mod tests {
    use rdkafka::client::{ClientContext, DefaultClientContext};
    use rdkafka::config::RDKafkaLogLevel;

    use super::super::tests::Sink;
    use super::*;

    #[test]
    fn a_level_or_a_filter_is_taken_and_a_typing_error_is_not() {
        for level in
            ["info", "WARN", "off", "info,klamm::stages::produce=debug", "warn,librdkafka=info,klamm[{id}]=trace"]
        {
            assert!(check(level).is_ok(), "{level}");
        }
        for level in ["inof", "", "info,", "info,klamm", "klamm=loud"] {
            assert!(check(level).is_err(), "{level}");
        }
    }

    #[test]
    fn the_level_changes_live_and_a_wrong_one_changes_nothing() {
        let sink = Sink::default();
        let (subscriber, handle) = subscriber("info", LogStyle::Pretty, false, sink.clone()).unwrap();
        let _guard = subscriber.set_default();
        tracing::debug!("one");
        handle.set_level("debug").unwrap();
        tracing::debug!("two");
        assert!(handle.set_level("loud").is_err());
        tracing::debug!("three");
        handle.set_level("error").unwrap();
        tracing::info!("four");
        let text = sink.text();
        assert!(!text.contains("one") && text.contains("two") && text.contains("three") && !text.contains("four"));
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn what_librdkafka_says_comes_out_under_its_own_target() {
        let sink = Sink::default();
        let (subscriber, _handle) = subscriber("info", LogStyle::Json, false, sink.clone()).unwrap();
        let _guard = subscriber.set_default();
        DefaultClientContext.log(RDKafkaLogLevel::Error, "FAIL", "no broker");
        let line: serde_json::Value = serde_json::from_str(&sink.text()).unwrap();
        assert_eq!((&line["target"], &line["level"]), (&"librdkafka".into(), &"ERROR".into()));
        assert_eq!(line["message"], "librdkafka: FAIL no broker");
    }

    #[test]
    fn a_json_line_is_one_flat_object() {
        let sink = Sink::default();
        let (subscriber, _handle) = subscriber("info", LogStyle::Json, false, sink.clone()).unwrap();
        let _guard = subscriber.set_default();
        tracing::warn!(client = "sh\"op\n\x1b[31m", wait_ms = 4, "held back");
        let line: serde_json::Value = serde_json::from_str(&sink.text()).unwrap();
        assert_eq!(line["message"], "held back");
        assert_eq!((&line["client"], &line["wait_ms"]), (&"sh\"op\n\x1b[31m".into(), &4.into()));
        assert_eq!((&line["level"], sink.text().lines().count()), (&"WARN".into(), 1));
    }
}
