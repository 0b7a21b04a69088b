//! Real servers as child processes, each with ports and a directory of its own.
#![allow(dead_code, reason = "each server needs another part of it")]

use std::fs::File;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use meshprobe::expectation::Expectation;
use meshprobe::failure::{Phase, Reason};
use meshprobe::outcome::Outcome;
use meshprobe::probe::{Environment, Probe};
use meshprobe::spec::{Module, ModuleKind, Timeouts};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a server may take to get ready on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a server may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Longer than any answer of a live server on a busy machine.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(15);

/// Between two looks at whether something came true.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The program `name`: a pinned one of `make tools`, or Debian's.
///
/// Panics when it is missing: a test that needs a server never passes without it.
pub(crate) fn tool(name: &str) -> PathBuf {
    let pinned = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin");
    let found = [pinned, "/usr/sbin", "/usr/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: run `make tools`"))
}

/// A port that nobody has, for TCP and UDP on 127.0.0.1 and `[::1]`.
///
/// Below the kernel's ephemeral range, so that no client takes it before the server does.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another test process begins elsewhere.
    let offset = (std::process::id() % u32::from(COUNT / 100)) as u16 * 100;
    for _ in 0..COUNT {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (offset + next) % COUNT;
        let (v4, v6) = ((Ipv4Addr::LOCALHOST, port), (Ipv6Addr::LOCALHOST, port));
        let free = TcpListener::bind(v4).is_ok()
            && TcpListener::bind(v6).is_ok()
            && UdpSocket::bind(v4).is_ok()
            && UdpSocket::bind(v6).is_ok();
        if free {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// A directory that goes away with its handle.
pub(crate) fn temp_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("meshprobe-real-")
        .tempdir()
        .expect("the temporary directory is writable")
}

/// Writes `text` as `name` in `dir` and gives its path.
pub(crate) fn write_file(dir: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a fresh directory is writable");
    path
}

/// A server process; ended and reaped on drop.
///
/// What it wrote is shown when it does not get ready and when the test panics.
pub(crate) struct Daemon {
    child: Child,
    name: String,
    output: TempDir,
}

impl Daemon {
    /// Starts `command`, which must stay in the foreground, and waits until `address` accepts.
    pub(crate) async fn start(command: Command, address: SocketAddr) -> Self {
        Self::start_when(command, || async move {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        })
        .await
    }

    /// Starts `command`, which must stay in the foreground, and waits until `ready` says so.
    pub(crate) async fn start_when<F, Fut>(mut command: Command, mut ready: F) -> Self
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = temp_dir();
        let log = File::create(output.path().join("log")).expect("a fresh directory is writable");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a free file descriptor"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut daemon = Self { child, name, output };
        let limit = Instant::now() + START_LIMIT;
        loop {
            // Asked first: whoever answers at the address of a dead child is somebody else.
            if let Some(status) = daemon.child.try_wait().expect("our own child") {
                panic!("{} ended with {status} instead of serving", daemon.name);
            }
            if ready().await {
                return daemon;
            }
            assert!(Instant::now() < limit, "{} is not ready after {START_LIMIT:?}", daemon.name);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Stops every thread of the server, and returns when the last of them stands still: a signal
    /// is only queued by kill(2), and a busy machine lets another thread answer before it is seen.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let limit = Instant::now() + STOP_LIMIT;
        while !self.stands_still() {
            assert!(Instant::now() < limit, "{} does not stop", self.name);
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether each thread is in state `T` (proc(5): the state follows the name in brackets).
    fn stands_still(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("procfs");
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Sends the server a signal, e.g. `HUP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let _ = Command::new("/bin/sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the server has written to stdout and stderr so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.output.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Daemon {
    #[allow(clippy::print_stderr, reason = "the test harness shows it on failure")]
    fn drop(&mut self) {
        // SIGTERM first: a SIGKILL to the parent of worker processes leaves them behind.
        self.signal("TERM");
        let limit = Instant::now() + STOP_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < limit {
            std::thread::sleep(LOOK_AGAIN);
        }
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} wrote:\n{}---", self.name, self.log());
        }
    }
}

/// Asks `probe` again and again until it gives something; panics with `what` after `limit`.
pub(crate) async fn eventually<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not come true in {limit:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Status and body of a GET; `None` when there is no whole response.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = meshprobe::net::connect(address).await.ok()?;
    // HTTP/1.0: no chunks, and the connection ends with the body.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.ok()?;
    let response = String::from_utf8(response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Aims `kind` at `address` and executes it once, with a deadline that no live server meets.
pub(crate) async fn attempt(kind: ModuleKind, expect: Expectation, address: &str) -> Outcome {
    attempt_within(ATTEMPT_LIMIT, kind, expect, address).await
}

/// Aims `kind` at `address` and executes it once.
pub(crate) async fn attempt_within(
    limit: Duration,
    kind: ModuleKind,
    expect: Expectation,
    address: &str,
) -> Outcome {
    let module = Module { kind, timeouts: Timeouts::total(limit), expect };
    let spec = module.aim(address).expect("a good address");
    let environment = Environment::default();
    let probe = Probe::prepare(&spec, &environment).expect("good files");
    probe.attempt().await
}

#[track_caller]
pub(crate) fn assert_failed(outcome: &Outcome, phase: Phase, reason: Reason) {
    let failure = outcome.failure.as_ref().expect("the attempt must fail");
    assert_eq!((failure.phase, failure.reason), (phase, reason), "{failure}");
}

#[tokio::test]
#[should_panic(expected = "instead of serving")]
async fn a_server_that_ends_at_once_is_not_taken_for_ready() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    Daemon::start(Command::new("/bin/false"), address).await;
}

#[test]
#[should_panic(expected = "run `make tools`")]
fn a_missing_tool_fails_and_is_not_skipped() {
    tool("no-such-server");
}
