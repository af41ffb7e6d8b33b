//! The command line: one file a subcommand. Parses, runs, maps errors to exit codes; holds no logic of the gateway.
//!
//! Exit codes: 0 ok, 1 failure, 2 wrong usage, 75 (`EX_TEMPFAIL` of sysexits.h) a spool that is not empty yet, 78 (`EX_CONFIG` of sysexits.h) faulty configuration.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::load::Source;

mod check;
mod completions;
mod config;
mod dev;
pub mod keys;
mod man;
mod probe;
mod serve;
mod spool;
mod version;

/// HTTP ingest gateway for Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "klamm", version, about, arg_required_else_help = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  klamm dev                                 try it: a gateway with a Kafka of its own
  klamm serve --config klamm.yaml           run the gateway
  klamm config init > klamm.yaml            a file with every key, its default and its meaning
  klamm keys new --client shop              a key for a client, and the lines for the file
  klamm check --config klamm.yaml           all faults at once, without Kafka
  klamm probe --ready                       whether the one on this machine can serve

Exit codes: 0 ok, 1 failure, 2 wrong usage, 75 a spool is not empty yet, 78 faulty configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Dev(dev::Dev),
    Check(check::Check),
    Config(config::Config),
    Keys(keys::Keys),
    Probe(probe::Probe),
    Spool(spool::Spool),
    Version(version::Version),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Where the configuration comes from; shared by all commands that read it.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The file, or a directory whose *.yaml are merged in the order of their names
    #[arg(long, short, value_name = "FILE", env = "KLAMM_CONFIG")]
    config: Option<PathBuf>,

    /// Override one key, e.g. --set ingest.wait=5s; goes over file and environment (KLAMM__INGEST__WAIT)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// The source they name, with `env` between file and flags.
    pub fn source(&self, env: Vec<(String, String)>) -> Source {
        Source { file: self.config.clone(), env, flags: self.set.clone() }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The exit code for a faulty configuration.
pub const BAD_CONFIG: u8 = 78;

/// Reads the command line and does what it says. The only place that looks at the process's arguments.
pub fn run() -> ExitCode {
    match Cli::parse().command.run(&mut io::stdout()) {
        Ok(code) => code,
        // `klamm config init | head` is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("klamm: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(self, out: &mut dyn Write) -> io::Result<ExitCode> {
        match self {
            Command::Serve(serve) => serve.run(),
            Command::Dev(dev) => dev.run(),
            Command::Check(check) => check.run(out),
            Command::Config(config) => config.run(out),
            Command::Keys(keys) => keys.run(out),
            Command::Probe(probe) => probe.run(out),
            Command::Spool(spool) => spool.run(out),
            Command::Version(version) => version.run(out),
            Command::Completions(completions) => completions.run(out),
            Command::Man(man) => man.run(out),
        }
    }
}

/// The command line's definition, for completions and tests.
fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn flags_override_in_the_order_given() {
        let cli = Cli::try_parse_from(["klamm", "check", "-c", "a.yaml", "--set", "a.b=c=d", "--set", "e="]).unwrap();
        let Command::Check(check) = cli.command else { panic!("not check") };
        let source = check.args().source(Vec::new());
        assert_eq!(source.file, Some("a.yaml".into()));
        assert_eq!(source.flags, [("a.b".into(), "c=d".into()), ("e".into(), String::new())]);
        assert!(Cli::try_parse_from(["klamm", "check", "--set", "novalue"]).is_err());
    }

    /// Runs a command line; its exit code and output.
    fn run(line: &[&str]) -> (ExitCode, String) {
        let mut out = Vec::new();
        let code = Cli::try_parse_from(line).unwrap().command.run(&mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn check_says_ok_or_exits_with_78() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("klamm.yaml");
        let (code, template) = run(&["klamm", "config", "init"]);
        assert_eq!((code, template.as_str()), (ExitCode::SUCCESS, crate::config::TEMPLATE));
        std::fs::write(&file, template).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(run(&["klamm", "check", "-c", file]), (ExitCode::SUCCESS, "ok\n".into()));
        for command in [&["klamm", "check"][..], &["klamm", "config", "show"][..]] {
            let faulty = [command, &["-c", file, "--set", "caps.depth=0"]].concat();
            assert_eq!(run(&faulty), (ExitCode::from(BAD_CONFIG), String::new()));
        }
    }

    #[test]
    fn what_is_shown_is_the_effective_configuration() {
        let flags =
            ["--set", "kafka.default.bootstrap=[k:1]", "--set", "kafka.default.properties.sasl.password=hunter2"];
        let (code, yaml) = run(&[&["klamm", "config", "show"][..], &flags].concat());
        assert!(code == ExitCode::SUCCESS && yaml.contains("sasl.password: \"***\""), "{yaml}");
        let (_, json) = run(&[&["klamm", "config", "show", "--json"][..], &flags].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["kafka"]["default"]["bootstrap"][0], &json["ingest"]["wait"]),
            (&"k:1".into(), &"10s".into())
        );
    }

    #[test]
    fn versions_and_completions_are_printed() {
        let (_, version) = run(&["klamm", "version", "--json"]);
        let version: serde_json::Value = serde_json::from_str(&version).unwrap();
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert!(version["librdkafka"].as_str().unwrap().starts_with("2."), "{version}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(run(&["klamm", "completions", shell]).1.contains("klamm"), "{shell}");
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let (code, page) = run(&["klamm", "man"]);
        assert!(code == ExitCode::SUCCESS && page.contains(".TH klamm 1"), "{page}");
        let directory = tempfile::tempdir().unwrap();
        run(&["klamm", "man", "--dir", directory.path().to_str().unwrap()]);
        let has = |name: &str| directory.path().join(name).exists();
        assert_eq!(std::fs::read_to_string(directory.path().join("klamm.1")).unwrap(), page);
        for command in definition().get_subcommands() {
            assert!(has(&format!("klamm-{}.1", command.get_name())), "{command}");
        }
        assert!(has("klamm-spool-ls.1") && !has("klamm-help.1"));
    }

    #[test]
    fn whether_a_broker_is_named_is_told_whatever_else_is_wrong() {
        let named = |set: &[&str]| {
            let flags = set.iter().flat_map(|set| ["--set", set]);
            run(&["klamm", "check", "--broker"].into_iter().chain(flags).collect::<Vec<_>>()).0
        };
        assert_eq!(named(&["kafka.default.bootstrap=[k:1]"]), ExitCode::SUCCESS);
        assert_eq!(named(&["kafka.default.bootstrap=[k]", "caps.depth=0"]), ExitCode::SUCCESS);
        assert_eq!(named(&["kafka.default.bootstrap=[]"]), ExitCode::FAILURE);
        assert_eq!(named(&["caps.depth=0"]), ExitCode::FAILURE);
    }

    #[test]
    fn a_spool_that_holds_nothing_is_told_by_the_exit_code() {
        let directory = tempfile::tempdir().unwrap();
        let ls = |extra: &[&str]| {
            let line = ["klamm", "spool", "ls", "--dir", directory.path().to_str().unwrap()];
            run(&[&line[..], extra].concat()).0
        };
        assert_eq!(ls(&["--exit-code"]), ExitCode::SUCCESS);
        std::fs::write(directory.path().join("0000000000000001-0-00000000.bad"), "x").unwrap();
        assert_eq!(ls(&["--exit-code"]), ExitCode::from(spool::NOT_YET));
        assert_eq!(ls(&[]), ExitCode::SUCCESS);
    }
}
