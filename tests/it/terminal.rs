//! What people run in a terminal: `klamm top` in a real one, `klamm tail` in pipes; the real binary against a gateway.

mod tail;
mod top;

use std::fs;
use std::process::{Command, Output};

use tail::Tail;
use tempfile::TempDir;

use crate::live::{TOPICS, admin_key, start};
use crate::support::gateway::{Gateway, binary};
use crate::support::mock::{Mock, client};
use crate::support::{keys, scratch};

/// A gateway whose admin listener is a unix socket, so that the next one is found where this one was.
struct Again {
    mock: Mock,
    dir: TempDir,
}

impl Again {
    fn new() -> Self {
        Self { mock: Mock::start(&TOPICS), dir: scratch::dir("again") }
    }

    fn admin(&self) -> String {
        format!("unix:{}", self.dir.path().join("admin.sock").display())
    }

    async fn start(&self) -> Gateway {
        let rest =
            format!("clients:\n{}topics: {{ live-a: {{}}, live-b: {{}} }}", client("shop", "[\"live-*\"]", "{}"));
        let yaml = self.mock.config("", "", &rest);
        let admin = format!("admin: {{ listen: \"{}\" }}", self.admin());
        let gateway = Gateway::start(&yaml.replacen("admin: { listen: \"127.0.0.1:0\" }", &admin, 1));
        crate::support::soon("it is ready", async || run(&["probe", "--admin", &self.admin()]).0.then_some(())).await;
        gateway
    }
}

/// Whether `klamm` with these arguments succeeds, and what it writes. It has no terminal.
fn run(args: &[&str]) -> (bool, String, String) {
    said(Command::new(binary()).args(args).env_remove("KLAMM_ADMIN_KEY"))
}

fn said(command: &mut Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    (status.success(), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_says_whether_the_key_is_missing_or_which_one_is_wrong() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, &admin_key("ops"), "");
    let url = format!("http://{}", gateway.admin());
    let dir = scratch::dir("key");
    let file = dir.path().join("admin-key");
    fs::write(&file, "guess\n").expect("written");
    let path = file.display().to_string();
    let tail = |args: &[&str], variable: &str| {
        let mut command = Command::new(binary());
        said(command.args(["tail", "--admin", &url]).args(args).env("KLAMM_ADMIN_KEY", variable))
    };
    let advice = |words: &str| (false, String::new(), format!("klamm: {url} answers 401: {words}"));
    let missing = "it needs an admin key: give --key-file FILE, or set KLAMM_ADMIN_KEY";
    assert_eq!(tail(&[], ""), advice(missing));
    let wrong = "is not, or no longer, one of this klamm's admin.keys";
    assert_eq!(tail(&[], "guess"), advice(&format!("the key in KLAMM_ADMIN_KEY {wrong}")));
    let right = keys::fixed("ops").text;
    assert_eq!(tail(&["--key-file", &path], &right), advice(&format!("the key in --key-file {path} {wrong}")));

    fs::write(&file, format!("{right}\n")).expect("written");
    let tail = Tail::start(&url, &["--key-file", &path]);
    tail.is_watching(&gateway).await;
    assert_eq!(tail.read("notes"), "");
}

#[test]
fn what_cannot_work_says_why() {
    let nobody = ["--admin", "http://127.0.0.1:1"];
    let (good, _, words) = run(&[&["tail"][..], &nobody].concat());
    let expected = "klamm: http://127.0.0.1:1: nobody listens there; is klamm running, and is that its admin listener?";
    assert_eq!((good, words.as_str()), (false, expected));
    let (good, _, words) = run(&[&["top"][..], &nobody].concat());
    let expected = "klamm: klamm top needs a terminal; for pipes there is `klamm tail --json`, and /admin/stream";
    assert_eq!((good, words.as_str()), (false, expected));
    let (good, _, words) = run(&["tail", "--key-file", "/nowhere/key"]);
    assert!(!good && words.starts_with("klamm: --key-file /nowhere/key: No such file"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ingest_listener_is_no_admin_listener() {
    let mock = Mock::start(&TOPICS);
    let gateway = start(&mock, "", "");
    let (good, _, words) = run(&["tail", "--admin", gateway.ingest()]);
    assert!(!good && words.contains("answers 404: is this klamm's admin listener?"), "{words}");
}
