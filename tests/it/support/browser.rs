//! A real browser: Debian's Chromium without a window, told what to do by its DevTools protocol.
//!
//! The protocol goes over two pipes (`--remote-debugging-pipe`: file descriptors 3 and 4, messages end in a zero byte), so
//! that it needs neither a port nor a WebSocket.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::child::{self, Process};
use super::scratch;

/// One page in a browser of its own; gone when dropped.
pub(crate) struct Browser {
    _process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    complaints: Vec<String>,
    _dir: TempDir,
}

/// As root, and without anything that asks the network by itself.
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe";

impl Browser {
    /// Starts one with an empty page of this size.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let dir = scratch::dir("browser");
        let mut command = child::command("sh");
        let run = format!(
            "exec chromium {FLAGS} --user-data-dir={} about:blank 3<&0 4>&1 </dev/null >/dev/null",
            dir.path().display()
        );
        command.args(["-c", &run]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(dir.path().join("log")).expect("a log file"));
        let mut process = Process::start(command);
        let (input, output) = process.pipes();
        let (session, complaints) = (None, Vec::new());
        let output = BufReader::new(output);
        let mut browser = Self { _process: process, input, output, session, last: 0, complaints, _dir: dir };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(width, height);
        browser
    }

    /// Goes to `url`.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The size of the window, in CSS pixels.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the system prefers: dark, or light.
    pub(crate) fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] }),
        );
    }

    /// Puts another tab in front: this one is hidden, as the browser itself has it.
    pub(crate) fn hide(&mut self) {
        let session = self.session.take();
        self.call("Target.createTarget", json!({ "url": "about:blank" }));
        self.session = session;
    }

    /// Puts this tab in front again.
    pub(crate) fn show(&mut self) {
        self.call("Page.bringToFront", json!({}));
    }

    /// The value of an expression of JavaScript; a promise is waited for.
    pub(crate) fn eval(&mut self, script: &str) -> Value {
        let result =
            self.call("Runtime.evaluate", json!({ "expression": script, "returnByValue": true, "awaitPromise": true }));
        assert!(result.get("exceptionDetails").is_none(), "{script}: {result:#}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression gives something that is true, for 20 s. Errors of the expression count as not yet.
    pub(crate) fn until(&mut self, what: &str, script: &str) -> Value {
        let start = Instant::now();
        let guarded = format!("(() => {{ try {{ return ({script}) || null }} catch {{ return null }} }})()");
        loop {
            let value = self.eval(&guarded);
            if !value.is_null() {
                return value;
            }
            if start.elapsed() > Duration::from_secs(20) {
                let text = self.eval("document.body.innerText");
                panic!("{what}: not within 20 s; {:?}\n{}", self.complaints, text.as_str().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses a key, as a hand does: `Tab`, `Enter`.
    pub(crate) fn press(&mut self, key: &str) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": if key == "Enter" { 13 } else { 9 } });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Takes a picture of the whole page into `target/ui`, for people.
    pub(crate) fn picture(&mut self, name: &str) -> PathBuf {
        self.call("Emulation.setScrollbarsHidden", json!({ "hidden": true }));
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        self.call("Emulation.setScrollbarsHidden", json!({ "hidden": false }));
        let data = picture["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("ui");
        fs::create_dir_all(&folder).expect("target/ui");
        let file = folder.join(format!("{name}.png"));
        fs::write(&file, bytes).expect("a picture");
        file
    }

    /// What the console, the content security policy and uncaught errors said so far.
    pub(crate) fn complaints(&mut self) -> &[String] {
        // An answer brings what came before it.
        self.eval("0");
        &self.complaints
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method });
        message["params"] = params;
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.input.write_all(format!("{message}\0").as_bytes()).expect("the browser takes orders");
        loop {
            let mut bytes = Vec::new();
            self.output.read_until(0, &mut bytes).expect("the browser answers");
            assert_eq!(bytes.pop(), Some(0), "the browser is gone");
            let mut message: Value = serde_json::from_slice(&bytes).expect("JSON");
            if message["id"] == self.last {
                assert!(message.get("error").is_none(), "{method}: {message:#}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        let said = match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(&params["exceptionDetails"]),
            Some("Runtime.consoleAPICalled")
                if ["error", "warning", "assert"].contains(&params["type"].as_str().unwrap_or_default()) =>
            {
                Some(&params["args"])
            }
            Some("Log.entryAdded") if params["entry"]["level"] != "info" && params["entry"]["level"] != "verbose" => {
                Some(&params["entry"])
            }
            _ => None,
        };
        self.complaints.extend(said.map(Value::to_string));
    }
}
