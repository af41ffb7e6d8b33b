//! `klamm top`, in a terminal of 80 by 24.

use std::fs;

use super::Again;
use crate::live::{TOPICS, admin_key, load, post, start};
use crate::support::gateway::{Gateway, binary};
use crate::support::keys;
use crate::support::metrics::Metrics;
use crate::support::mock::Mock;
use crate::support::tmux::Terminal;

/// Starts it in `terminal`, in such a way that its exit code is shown behind it.
fn begin(terminal: &Terminal, admin: &str) {
    terminal.line("stty -g > before; echo was here");
    terminal.wait_for_words("\nwas here\n");
    terminal.line(&format!("clear; echo was there; '{}' top --admin {admin}; echo exit=$?", binary()));
    terminal.wait_for_words("── clients ");
    assert_eq!((terminal.state("alternate_on"), terminal.state("cursor_flag")), ("1".into(), "0".into()));
}

/// The terminal is as it was: what stood there, the cursor, and every setting of the line.
fn assert_restored(terminal: &Terminal, code: u8) {
    terminal.wait_for_words(&format!("\nexit={code}\n"));
    assert!(terminal.shown().starts_with("was there\n"), "{}", terminal.shown());
    assert_eq!((terminal.state("alternate_on"), terminal.state("cursor_flag")), ("0".into(), "1".into()));
    terminal.line("clear; stty -g > after; echo set");
    terminal.wait_for("an empty screen", |shown| shown.starts_with("set\n").then_some(()));
    let read = |name: &str| fs::read_to_string(terminal.dir.path().join(name)).expect("what stty said");
    assert_eq!(read("before"), read("after"));
}

/// The rows of the table with this title: the first word of each, and the last one.
fn rows(shown: &str, title: &str) -> Vec<(String, String)> {
    let rows = shown.lines().skip_while(|line| !line.starts_with(&format!("── {title} "))).skip(2);
    let rows = rows.take_while(|line| !line.is_empty() && !line.starts_with('─'));
    let words = rows.map(|line| line.trim_start_matches('›').split_whitespace().collect::<Vec<_>>());
    words.map(|words| (words[0].to_owned(), words[words.len() - 1].to_owned())).collect()
}

fn names(shown: &str, title: &str) -> Vec<String> {
    rows(shown, title).into_iter().map(|(name, _)| name).collect()
}

/// Events received of each client or topic, as `/metrics` has them.
fn counted(scrape: &Metrics, kind: &str, names: &[&str]) -> Vec<(String, String)> {
    let of = |name: &str| scrape.sum("klamm_events_received_total", &[(kind, name)]).to_string();
    names.iter().map(|name| ((*name).to_owned(), of(name))).collect()
}

/// Whether any text has a colour but the terminal's own.
fn is_coloured(painted: &str) -> bool {
    let sequences = painted.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m'));
    let parts = sequences.flat_map(|(parts, _)| parts.split(';').collect::<Vec<_>>());
    parts.filter_map(|part| part.parse::<u8>().ok()).any(|code| matches!(code, 30..=38 | 40..=48 | 90..=107))
}

async fn loaded(mock: &Mock) -> Gateway {
    let gateway = start(mock, "", "");
    gateway.ready().await;
    load(&gateway).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_equal_the_scrape_and_keys_sort_filter_open_and_go_back() {
    let mock = Mock::start(&TOPICS);
    let gateway = loaded(&mock).await;
    let terminal = Terminal::start(&[]);
    begin(&terminal, &format!("http://{}", gateway.admin()));
    terminal.wait_for_words(&format!("klamm {} · ", env!("CARGO_PKG_VERSION")));
    // The rates of five seconds are over, so that only what was counted tells the rows apart.
    terminal.wait_for("a second without requests", |shown| {
        (shown.contains("── refusals 3 ") && shown.contains("events 0/s")).then_some(())
    });
    // By events, the sixth column behind the name; then by name.
    terminal.keys(&["s", "s", "s", "s", "s"]);
    terminal.wait_for_words("EVENTS▼");
    let shown = terminal.shown();
    let scrape = gateway.metrics().await;
    assert_eq!(rows(&shown, "clients"), counted(&scrape, "client", &["tiny", "shop", "till"]), "{shown}");
    let mut topics = rows(&shown, "topics");
    topics.sort();
    assert_eq!(topics, counted(&scrape, "topic", &["live-a", "live-b"]), "{shown}");
    assert_eq!(
        rows(&shown, "clients"),
        [("tiny", "4"), ("shop", "3"), ("till", "1")].map(|(a, b)| (a.into(), b.into()))
    );
    for (code, line) in [("event_too_large", "1 shop 1"), ("malformed_body", "1 till 1"), ("rate_limited", "2 tiny 2")]
    {
        let found = shown.lines().any(|shown| shown.trim_start().starts_with(code) && shown.ends_with(line));
        assert!(found, "{code} {line} in\n{shown}");
    }
    terminal.keys(&["r"]);
    terminal.wait_for("the other order", |shown| (names(shown, "clients") == ["till", "shop", "tiny"]).then_some(()));

    terminal.keys(&["/", "T", "I"]);
    terminal.wait_for("what has ti in it", |shown| (names(shown, "clients") == ["till", "tiny"]).then_some(()));
    terminal.keys(&["n", "Enter"]);
    terminal.wait_for_words("── clients 1 of 3 /TIn ");

    terminal.keys(&["Enter"]);
    terminal.wait_for_words("overview › client tiny");
    terminal.wait_for("its six requests", |shown| {
        let refused = shown.matches("429 rate_limited").count();
        (shown.contains("── last requests 6 ") && refused == 2).then_some(())
    });
    terminal.keys(&["Tab", "Enter"]);
    terminal.wait_for_words("rate_limited, the latest answer, at ");
    terminal.wait_for_words("\"status\": 429");
    terminal.keys(&["Escape"]);
    terminal.wait_for("it is closed", |shown| (!shown.contains("the latest answer, at")).then_some(()));
    terminal.keys(&["BTab", "Enter"]);
    terminal.wait_for_words("overview › client tiny › topic live-");
    terminal.wait_for_words("── partitions 2 ");
    terminal.keys(&["Escape"]);
    terminal.wait_for_words("── last requests 6 ");
    terminal.keys(&["Escape"]);
    terminal.wait_for_words("── clients 1 of 3 /TIn ");

    // What comes now is seen without a key.
    assert_eq!(post(&gateway, "shop", "live-b", "8").await, 200);
    terminal.keys(&["Escape"]);
    terminal
        .wait_for("the new event", |shown| rows(shown, "clients").contains(&("shop".into(), "4".into())).then_some(()));

    terminal.resize(120, 40);
    terminal.wait_for_words("UNWRITTEN");
    terminal.resize(40, 10);
    terminal.wait_for_words("klamm top needs 60x16: this is 40x10");
    terminal.resize(80, 24);
    terminal.wait_for_words("── refusals 3 ");
    assert!(is_coloured(&terminal.painted()), "{}", terminal.painted());
    terminal.keys(&["q"]);
    assert_restored(&terminal, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_when_klamm_does_and_says_so() {
    let again = Again::new();
    let mut gateway = again.start().await;
    for n in 0..3 {
        assert_eq!(post(&gateway, "shop", "live-a", &n.to_string()).await, 200);
    }
    let terminal = Terminal::start(&[("NO_COLOR", "1")]);
    begin(&terminal, &again.admin());
    terminal.wait_for("three events", |shown| (rows(shown, "clients") == [("shop".into(), "3".into())]).then_some(()));
    assert!(!is_coloured(&terminal.painted()), "{}", terminal.painted());
    assert_eq!(gateway.terminate(), 0);
    terminal.wait_for_words("✕ no word from klamm for ");
    terminal.wait_for_words("trying again");
    assert_eq!(rows(&terminal.shown(), "clients"), [("shop".into(), "3".into())], "what was known stays");
    let gateway = again.start().await;
    terminal.wait_for_words("✓ klamm was restarted, all counts begin anew");
    assert_eq!(post(&gateway, "shop", "live-b", "1").await, 200);
    terminal.wait_for("one event", |shown| (rows(shown, "clients") == [("shop".into(), "1".into())]).then_some(()));
    terminal.keys(&["C-c"]);
    assert_restored(&terminal, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_panics_give_the_terminal_back() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    let terminal = Terminal::start(&[("KLAMM_FAILPOINT_PANIC", "1")]);
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        begin(&terminal, gateway.admin());
        let pid = terminal.state("pane_pid");
        // The shell's child.
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("the shell's children");
        let kill = std::process::Command::new("kill").args([&format!("-{signal}"), children.trim()]).status();
        assert!(kill.expect("kill runs").success());
        assert_restored(&terminal, code);
    }
    #[cfg(feature = "failpoints")]
    {
        begin(&terminal, gateway.admin());
        terminal.keys(&["!"]);
        terminal.wait_for_words("failpoint: a planted panic");
        assert_restored(&terminal, 101);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_away_ends_it_with_the_reason() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, &admin_key("ops"), "");
    let terminal = Terminal::start(&[("KLAMM_ADMIN_KEY", &keys::fixed("ops").text)]);
    begin(&terminal, gateway.admin());
    let text = fs::read_to_string(gateway.config()).expect("the config");
    gateway.rewrite(&text.replace(&keys::fixed("ops").sha256, &keys::fixed("other").sha256));
    terminal.wait_for_words("answers 401: the key in KLAMM_ADMIN_KEY");
    assert_restored(&terminal, 1);
}
