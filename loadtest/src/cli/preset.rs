//! The flags of a load with the defaults of a command that sends many, and without those that it sets itself.

use std::fmt;
use std::marker::PhantomData;

use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use crate::load::Options;

/// What a command changes about [`Options`]. Flags are named as the fields are.
pub(super) trait Preset {
    /// Flag, default.
    const DEFAULTS: &'static [(&'static str, &'static str)];
    /// Flags that the command sets itself.
    const OWN: &'static [&'static str];
}

/// Capacity and overload: short steps, their rate found.
#[derive(Debug, Clone)]
pub(super) struct Stepped;

impl Preset for Stepped {
    const DEFAULTS: &'static [(&'static str, &'static str)] = &[("warm_up", "1"), ("duration", "4")];
    const OWN: &'static [&'static str] = &["rate", "requests"];
}

/// More connections than a target at its limit answers: what is offered must reach it, not wait in the tool.
#[derive(Debug, Clone)]
pub(super) struct Flooding;

impl Preset for Flooding {
    const DEFAULTS: &'static [(&'static str, &'static str)] =
        &[("warm_up", "1"), ("duration", "4"), ("connections", "512")];
    const OWN: &'static [&'static str] = &["rate", "requests"];
}

/// The sweep: batches, so that what is set about the producer is what limits, not HTTP; target and times its own.
#[derive(Debug, Clone)]
pub(super) struct Batched;

impl Preset for Batched {
    const DEFAULTS: &'static [(&'static str, &'static str)] =
        &[("warm_up", "0.5"), ("events", "500"), ("connections", "16")];
    const OWN: &'static [&'static str] =
        &["url", "topics", "headers", "keys", "rate", "requests", "duration", "pid", "metrics", "template"];
}

/// Both targets of a comparison have their own.
#[derive(Debug, Clone)]
pub(super) struct Paired;

impl Preset for Paired {
    const DEFAULTS: &'static [(&'static str, &'static str)] = &[];
    const OWN: &'static [&'static str] = &["url", "requests", "pid", "metrics"];
}

/// Verification: as fast as it goes, batches, a load that ends by its count.
#[derive(Debug, Clone)]
pub(super) struct Counted;

impl Preset for Counted {
    const DEFAULTS: &'static [(&'static str, &'static str)] =
        &[("warm_up", "0"), ("duration", "86400"), ("events", "500"), ("connections", "16")];
    const OWN: &'static [&'static str] = &["requests", "corpus", "template", "gzip"];
}

/// The flags with the preset's defaults.
pub(super) struct Load<P> {
    options: Options,
    given: Vec<&'static str>,
    preset: PhantomData<P>,
}

impl<P: Preset> Load<P> {
    /// What to send.
    ///
    /// # Errors
    /// If a flag was given that the command sets itself.
    pub(super) fn options(&self, command: &str) -> Result<Options> {
        if let Some(flag) = self.given.first() {
            bail!("{command} sets this itself: leave out --{}", long(flag));
        }
        Ok(self.options.clone())
    }
}

fn long(field: &str) -> String {
    if field == "headers" { "header".to_owned() } else { field.replace('_', "-") }
}

impl<P> fmt::Debug for Load<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl<P: Preset> Args for Load<P> {
    fn augment_args(command: Command) -> Command {
        let mut command = Options::augment_args(command);
        for (flag, value) in P::DEFAULTS {
            command = command.mut_arg(flag, |arg| arg.default_value(*value));
        }
        for flag in P::OWN {
            command = command.mut_arg(flag, |arg| arg.hide(true));
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<P: Preset> FromArgMatches for Load<P> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let by_hand = |flag: &&&'static str| {
            matches.value_source(flag).is_some_and(|source| source != clap::parser::ValueSource::DefaultValue)
        };
        let given = P::OWN.iter().filter(by_hand).copied().collect();
        Ok(Self { options: Options::from_arg_matches(matches)?, given, preset: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line<P: Preset> {
        #[command(flatten)]
        load: Load<P>,
    }

    fn parse<P: Preset + fmt::Debug>(line: &[&str]) -> Result<Options> {
        let all = std::iter::once(&"klamm-load").chain(line);
        Line::<P>::try_parse_from(all)?.load.options("it")
    }

    #[test]
    fn a_command_has_defaults_of_its_own_which_flags_still_change() {
        let options = parse::<Batched>(&["--size", "1000"]).unwrap();
        assert_eq!((options.events, options.connections, options.size), (500, 16, 1000));
        assert_eq!(parse::<Stepped>(&[]).unwrap().duration, Duration::from_secs(4));
        assert_eq!(parse::<Stepped>(&["--duration", "9"]).unwrap().duration, Duration::from_secs(9));
    }

    #[test]
    fn what_a_command_sets_itself_is_refused_not_ignored() {
        let fault = parse::<Stepped>(&["--rate", "5"]).unwrap_err().to_string();
        assert_eq!(fault, "it sets this itself: leave out --rate");
        let fault = parse::<Batched>(&["--header", "a: b"]).unwrap_err().to_string();
        assert!(fault.ends_with("--header"), "{fault}");
        assert!(parse::<Counted>(&["--gzip"]).is_err());
        assert!(parse::<Paired>(&["--rate", "5"]).is_ok());
    }
}
