//! `klamm keys`: makes API keys and the digests by which the configuration knows them.
//!
//! A key is `klamm_`, 256 random bits and a checksum, so that secret scanners find it without false alarms:
//! 43 characters of base62, then the CRC-32 of those as 6 more. The gateway takes any other token as well: it looks up
//! digests and never checks the form. A key is printed once and kept nowhere; it is never taken from the command line,
//! where other users of the machine could see it.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// Make an API key, or the digest of one
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  klamm keys new --client shop --label 2026-11
  klamm keys hash < token.txt")]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A new key on the first line, then the lines for the configuration; it is kept nowhere
    New {
        /// What people call it; default: the year and month
        #[arg(long)]
        label: Option<String>,
        /// The client that it is for
        #[arg(long, default_value = "shop")]
        client: String,
    },
    /// The SHA-256 of a key on standard input, for the configuration
    Hash,
}

impl Keys {
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<ExitCode> {
        match &self.command {
            Command::New { label, client } => {
                let mut random = [0; 32];
                getrandom::fill(&mut random).map_err(io::Error::other)?;
                let today = OffsetDateTime::now_utc();
                let month = || format!("{}-{:02}", today.year(), u8::from(today.month()));
                let key = mint(random);
                writeln!(out, "{key}")?;
                out.write_all(snippet(&key, client, &label.clone().unwrap_or_else(month)).as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Hash => {
                if io::stdin().is_terminal() {
                    eprintln!("type or paste the key, then Enter and Ctrl-D:");
                }
                let mut text = String::new();
                io::stdin().lock().read_to_string(&mut text)?;
                hash(&text, out)
            }
        }
    }
}

fn hash(text: &str, out: &mut dyn Write) -> io::Result<ExitCode> {
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() || key.contains(char::is_whitespace) {
        eprintln!("klamm: expected one key on standard input");
        return Ok(ExitCode::FAILURE);
    }
    if key.starts_with(PREFIX) && !verify(key) {
        eprintln!("warning: the checksum of this key is wrong: was it copied whole?");
    }
    writeln!(out, "{}", digest(key))?;
    Ok(ExitCode::SUCCESS)
}

const PREFIX: &str = "klamm_";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const SECRET_DIGITS: usize = 43;
/// 62^6 > 2^32.
const CHECK_DIGITS: usize = 6;

/// The key of 256 random bits.
pub fn mint(random: [u8; 32]) -> String {
    let secret = base62(&random, SECRET_DIGITS);
    let check = checksum(&secret);
    format!("{PREFIX}{secret}{check}")
}

/// Whether `key` has the form that [`mint`] gives, with the right checksum. Says nothing on whether it is in use.
pub fn verify(key: &str) -> bool {
    let Some(rest) = key.strip_prefix(PREFIX) else { return false };
    if rest.len() != SECRET_DIGITS + CHECK_DIGITS || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (secret, check) = rest.split_at(SECRET_DIGITS);
    checksum(secret) == check
}

/// SHA-256 of the whole key, 64 hexadecimal digits: what the configuration holds.
pub fn digest(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

fn checksum(secret: &str) -> String {
    base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), CHECK_DIGITS)
}

/// A big-endian number in `digits` digits of base 62, leading zeros included.
fn base62(number: &[u8], digits: usize) -> String {
    let mut number = number.to_vec();
    let mut text: Vec<char> = (0..digits).map(|_| digit(divide(&mut number))).collect();
    text.reverse();
    text.into_iter().collect()
}

/// Divides a big-endian number by 62 in place; the rest.
fn divide(number: &mut [u8]) -> usize {
    let mut rest = 0usize;
    for byte in number {
        let value = rest * 256 + usize::from(*byte);
        // Below 256, as the rest before was below 62.
        *byte = (value / 62) as u8;
        rest = value % 62;
    }
    rest
}

fn digit(value: usize) -> char {
    BASE62.get(value).copied().map_or('0', char::from)
}

/// What to put into the configuration.
fn snippet(key: &str, client: &str, label: &str) -> String {
    let (client, label, digest) = (Value::from(client), Value::from(label), digest(key));
    format!(
        "\n# Shown this once. In the configuration:\n\
         clients:\n  {client}:\n    keys:\n      - label: {label}\n        sha256: {digest}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_carries_256_bits_and_a_checksum() {
        assert_eq!(mint([0; 32]), "klamm_00000000000000000000000000000000000000000002CZclj");
        let largest = mint([0xff; 32]);
        assert!(largest.len() == 6 + 43 + 6 && verify(&largest), "{largest}");
        let mut one = [0; 32];
        one[31] = 63;
        assert!(mint(one).starts_with("klamm_000000000000000000000000000000000000000001"), "{}", mint(one));
        assert_ne!(mint([1; 32]), mint([2; 32]));
    }

    #[test]
    fn a_changed_or_foreign_key_does_not_verify() {
        let key = mint([7; 32]);
        assert!(verify(&key));
        for (position, _) in key.char_indices() {
            let mut other = key.clone();
            let new = if key[position..].starts_with('x') { "y" } else { "x" };
            other.replace_range(position..=position, new);
            assert!(!verify(&other), "{other}");
        }
        for other in ["", "klamm_", "dev", &key[..key.len() - 1], &format!("{key}0"), &"klamm_ä".repeat(9)] {
            assert!(!verify(other), "{other}");
        }
    }

    #[test]
    fn hash_prints_what_the_configuration_holds() {
        let mut out = Vec::new();
        hash("abc\n", &mut out).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
        assert_eq!(String::from_utf8(out).unwrap(), abc);
        for nothing in ["", "\n", "two words"] {
            let mut out = Vec::new();
            assert_eq!(hash(nothing, &mut out).unwrap(), ExitCode::FAILURE);
            assert!(out.is_empty());
        }
    }

    #[test]
    fn the_snippet_loads_as_a_client_with_that_key() {
        let key = mint([9; 32]);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.yaml"), snippet(&key, "eu.shop", "2026-11: first")).unwrap();
        let flags = vec![("kafka.default.bootstrap".into(), "[k:9092]".into())];
        let source = crate::config::load::Source { file: Some(directory.path().into()), flags, ..Default::default() };
        let config = crate::config::load::load(&source).unwrap().config;
        assert_eq!(config.clients["eu.shop"].keys[0].label, "2026-11: first");
        assert_eq!(config.clients["eu.shop"].keys[0].sha256, digest(&key));
    }
}
