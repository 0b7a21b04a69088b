//! Headless Chromium, driven by the DevTools protocol, with one tab.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use meshprobe::net;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::real::support::{temp_dir, tool};

/// Longer than any command takes on a busy machine.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at whether something came true.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A browser that ends with its test.
pub(super) struct Browser {
    pub(super) tab: Tab,
    process: Child,
    _profile: TempDir,
}

/// A tab, and what it complained of.
pub(super) struct Tab {
    socket: WebSocketStream<net::Stream>,
    session: String,
    last: u64,
    complaints: Vec<String>,
}

impl Browser {
    pub(super) async fn start() -> Self {
        let profile = temp_dir();
        let mut process = Command::new(tool("chromium"))
            // Tests run as root and in containers, where its sandbox cannot be made.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--hide-scrollbars"])
            .args(["--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("chromium");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let found = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let url = found.expect("it says where");
        let tab = Tab::open_in(&url).await;
        Self { tab, process, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Tab {
    async fn open_in(url: &str) -> Self {
        let address = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        let stream = net::connect(address.expect("a URL of a socket")).await;
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tokio_tungstenite::client_async_with_config(
            url,
            stream.expect("it listens"),
            Some(config),
        )
        .await
        .expect("a web socket");
        let mut tab = Self { socket, session: String::new(), last: 0, complaints: Vec::new() };
        let target = tab.say("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = tab.say("Target.attachToTarget", attach).await;
        tab.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            tab.say(&format!("{domain}.enable"), json!({})).await;
        }
        tab
    }

    /// The result of a command.
    async fn say(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        let sent = self.socket.send(Message::text(command.to_string())).await;
        sent.expect("the browser is there");
        let answer = async {
            loop {
                let message = self.socket.next().await.expect("not closed").expect("no error");
                let Message::Text(text) = message else { continue };
                let told: Value = serde_json::from_str(&text).expect("JSON");
                if told["id"] == id {
                    assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                    return told["result"].clone();
                }
                self.complaints.extend(complaint(&told));
            }
        };
        let deadline = tokio::time::Instant::now() + COMMAND_LIMIT;
        tokio::time::timeout_at(deadline, answer).await.expect(method)
    }

    /// Goes to `url` in a window of that size.
    pub(super) async fn open(&mut self, url: &str, (width, height): (u32, u32)) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.say("Emulation.setDeviceMetricsOverride", size).await;
        let gone = self.say("Page.navigate", json!({"url": url})).await;
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
        let path = url.split('?').next().expect("split yields one part");
        let there =
            format!("document.readyState === 'complete' && location.href.startsWith({path:?})");
        self.until(&there, COMMAND_LIMIT).await;
    }

    /// What an expression is.
    pub(super) async fn run(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let told = self.say("Runtime.evaluate", asked).await;
        assert!(told["exceptionDetails"].is_null(), "{expression}: {}", told["exceptionDetails"]);
        told["result"]["value"].clone()
    }

    /// The same as text.
    pub(super) async fn text(&mut self, expression: &str) -> String {
        self.run(&format!("String({expression})")).await.as_str().expect("text").to_owned()
    }

    /// Whether it holds.
    pub(super) async fn holds(&mut self, condition: &str) -> bool {
        self.run(condition).await == true
    }

    /// Waits until it holds.
    pub(super) async fn until(&mut self, condition: &str, limit: Duration) {
        let end = Instant::now() + limit;
        // While a page is left for another one there may be no document.
        let guarded =
            format!("(() => {{ try {{ return {condition} }} catch {{ return false }} }})()");
        while !self.holds(&guarded).await {
            if Instant::now() > end {
                let shown = self.text("document.body.innerText").await;
                panic!("not within {limit:?}: {condition}; shown is:\n{shown}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Presses Enter on what has the focus.
    pub(super) async fn press_enter(&mut self) {
        let key =
            json!({"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"});
        for kind in ["keyDown", "keyUp"] {
            let mut press = key.clone();
            press["type"] = kind.into();
            self.say("Input.dispatchKeyEvent", press).await;
        }
    }

    /// Prefers that colour scheme from now on.
    pub(super) async fn prefer(&mut self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.say("Emulation.setEmulatedMedia", json!({"media": "", "features": features})).await;
    }

    /// Shows what would be printed, for who prefers the dark, until [`Tab::prefer`].
    pub(super) async fn print(&mut self) {
        let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        let media = json!({"media": "print", "features": features});
        self.say("Emulation.setEmulatedMedia", media).await;
    }

    /// What axe has to say against the page, a line each.
    pub(super) async fn axe(&mut self) -> Vec<String> {
        if !self.holds("typeof window.axe === 'object'").await {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/axe/axe.min.js");
            let text = std::fs::read_to_string(file);
            let text = text.unwrap_or_else(|_| panic!("{file} is missing: run `make tools`"));
            self.run(&format!("{text}; 0")).await;
        }
        let told = self.run("axe.run(document)").await;
        assert!(told["passes"].as_array().is_some_and(|passes| passes.len() > 10), "it looked");
        let violations = told["violations"].as_array().expect("a list").clone();
        violations.iter().map(|it| format!("{}: {}", it["id"], it["nodes"])).collect()
    }

    /// Writes a picture of the whole page.
    pub(super) async fn shoot(&mut self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("writable");
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let told = self.say("Page.captureScreenshot", asked).await;
        let picture = decoded(told["data"].as_str().expect("a picture"));
        assert!(picture.starts_with(b"\x89PNG"), "a picture");
        let path: PathBuf = folder.join(format!("{name}.png"));
        std::fs::write(path, picture).expect("writable");
    }

    /// Panics when anything was written to the console as an error, or thrown.
    #[track_caller]
    pub(super) fn assert_quiet(&self) {
        assert_eq!(self.complaints, [""; 0]);
    }
}

/// What an event complains of: an error in the console, a refusal of the policy, an exception.
fn complaint(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    let bad = match event["method"].as_str()? {
        "Runtime.exceptionThrown" => true,
        "Runtime.consoleAPICalled" => parameters["type"] == "error",
        "Log.entryAdded" => parameters["entry"]["level"] == "error",
        _ => false,
    };
    bad.then(|| parameters.to_string())
}

/// Base 64 (RFC 4648).
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bits: Vec<u8> = text.bytes().filter_map(value).collect();
    let group = |group: &[u8]| {
        let sum = group.iter().fold(0u32, |sum, bits| sum << 6 | u32::from(*bits));
        let sum = sum << (6 * (4 - group.len()));
        sum.to_be_bytes()[1..group.len()].to_vec()
    };
    bits.chunks(4).flat_map(group).collect()
}

#[test]
fn base_64_is_read_as_the_rfc_has_it() {
    for (text, read) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")] {
        assert_eq!(decoded(text), read.as_bytes());
    }
}
