//! What a fleet costs one controller's listener: memory and CPU at rest, a new plan for all, the
//! windows of all.
//!
//! `cargo bench --bench channel [-- AGENTS]`, 10,000 by default. Two processes on loopback, so that
//! the figures are the listener's own: this one is the agents, and runs itself again as the
//! listener. Everything is bounded in time; it takes about a minute and a half.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use meshprobe::channel::{Bounds, Dialer, Key, Listener, Peer, Peers};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

const AGENTS: usize = 10_000;
/// Agents that share a socket: each has its own in a cluster, and here the buffer of one that many
/// share would overflow when all are sent a plan at once.
const SHARE: usize = 16;
/// Handshakes and windows at once.
const AT_ONCE: usize = 256;
/// A plan of some 40 targets.
const PLAN: usize = 8 * 1024;
/// A window of some 40 targets.
const WINDOW: usize = 64 * 1024;
const REST: Duration = Duration::from_secs(50);
const WAIT: Duration = Duration::from_secs(25);
const PATIENCE: Duration = Duration::from_secs(300);
/// Clock ticks a second in /proc, on every Linux that there is.
const TICKS: f64 = 100.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let [_, role, key] = arguments.as_slice()
        && role == "listen"
    {
        return runtime.block_on(listen(key));
    }
    let agents = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(AGENTS);
    runtime.block_on(fleet(agents));
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

// The listener: does what it is told on its standard input, a line each.

async fn listen(key: &str) {
    let key = Key::load(key.as_ref()).expect("a key");
    let bounds = Bounds { max_connections: 100_000, ..Bounds::default() };
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(loopback, Some(&key), bounds).expect("loopback has ports");
    println!("{}", listener.local_addr().expect("bound"));
    let peers = listener.peers();
    let (revision, plans) = watch::channel(1u64);
    let plan = Bytes::from(vec![b'p'; PLAN]);
    let service = move |_: Peer, request: Request<Bytes>| {
        let (plans, plan) = (plans.clone(), plan.clone());
        async move { current(plans, plan, &request).await }
    };
    let stop = CancellationToken::new();
    tokio::spawn(listener.run(service, stop.clone()));
    let (lines, mut told) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = lines.blocking_send(line);
        }
    });
    while let Some(line) = told.recv().await {
        match line.as_str() {
            "usage" => println!("{} {} {}", resident(), ticks(), peers.len()),
            "publish" => {
                revision.send_modify(|revision| *revision += 1);
                println!("published");
            }
            "windows" => {
                let began = Instant::now();
                let (good, bytes) = windows(&peers).await;
                println!("{} {good} {bytes}", began.elapsed().as_secs_f64());
            }
            _ => break,
        }
    }
    stop.cancel();
}

/// The plan when it is another one than the asker has; else waits for it.
async fn current(
    mut plans: watch::Receiver<u64>,
    plan: Bytes,
    request: &Request<Bytes>,
) -> Response<Bytes> {
    let known = request.headers().get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let another = |revision: &u64| Some(format!("\"{revision}\"").as_str()) != known;
    let changed = timeout_at(Instant::now() + WAIT, plans.wait_for(another)).await;
    let revision = changed.ok().map(|revision| *revision.expect("the listener runs"));
    let mut response = Response::new(if revision.is_some() { plan } else { Bytes::new() });
    if revision.is_none() {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    if let Some(revision) = revision {
        let tag = HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits");
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// How many windows could be pulled, and their bytes.
async fn windows(peers: &Peers) -> (usize, usize) {
    let asks = peers.all().into_iter().map(|peer| async move {
        let request = Request::get("/v1/window").body(Bytes::new()).expect("a request");
        peer.ask(request, soon(), 2 * WINDOW).await.map(|response| response.body().len())
    });
    let answers: Vec<_> = stream::iter(asks).buffer_unordered(AT_ONCE).collect().await;
    let good = answers.iter().flatten();
    (good.clone().count(), good.sum())
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process has one");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// CPU time of this process, clock ticks.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a process has one");
    let (_, rest) = stat.rsplit_once(')').expect("the name is in parentheses");
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().expect("a number")).sum()
}

// The agents.

struct Controller {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Controller {
    fn start(key: &std::path::Path) -> (Self, SocketAddr) {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("listen")
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut controller = Self { child, input, output };
        let address = controller.line().parse().expect("an address");
        (controller, address)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it speaks");
        line.trim().to_owned()
    }

    fn tell(&mut self, word: &str) -> String {
        writeln!(self.input, "{word}").expect("it listens");
        self.line()
    }

    /// Bytes resident, ticks of CPU, connections.
    fn usage(&mut self) -> (u64, u64, u64) {
        let line = self.tell("usage");
        let numbers: Vec<u64> = line.split(' ').map(|n| n.parse().expect("a number")).collect();
        (numbers[0], numbers[1], numbers[2])
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = writeln!(self.input, "end");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn fleet(agents: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("key");
    let secret = format!("{:?}", std::time::SystemTime::now()).repeat(2);
    std::fs::write(&path, secret).expect("writable");
    let key = Key::load(&path).expect("a key");
    let (mut controller, address) = Controller::start(&path);
    let (before, busy, _) = controller.usage();

    let (have, mut having) = watch::channel(0usize);
    let window = Bytes::from(vec![b'w'; WINDOW]);
    let (lost, again) = Default::default();
    let common = Arc::new(Common { address, key, window, have, lost, again });
    let began = Instant::now();
    let dialers: Vec<_> =
        (0..agents.div_ceil(SHARE)).map(|_| Dialer::new().expect("a socket")).collect();
    let joined: Vec<(Peer, Dialer)> = stream::iter(0..agents)
        .map(|n| {
            let (dialer, common) = (dialers[n / SHARE].clone(), Arc::clone(&common));
            async move { (persist(&dialer, &common).await, dialer) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let seconds = began.elapsed().as_secs_f64();
    let again = common.again.load(Ordering::Relaxed);
    for (peer, dialer) in joined {
        tokio::spawn(agent(peer, dialer, Arc::clone(&common)));
    }
    reached(&mut having, agents).await;
    let (_, connected, open) = controller.usage();
    println!("agents                        {open}");
    println!("connecting all                {seconds:.1} s, {again} dialled again");
    let per = (connected - busy) as f64 / TICKS / agents as f64;
    println!("CPU per connection made       {:.2} ms", per * 1e3);

    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, from, _) = controller.usage();
    tokio::time::sleep(REST).await;
    let (memory, to, _) = controller.usage();
    println!("memory before                 {:.1} MiB", before as f64 / 1048576.0);
    println!("memory at rest                {:.1} MiB", memory as f64 / 1048576.0);
    let per = (memory - before) as f64 / agents as f64 / 1024.0;
    println!("memory per connection         {per:.1} KiB, a poll waiting on it");
    let share = (to - from) as f64 / TICKS / REST.as_secs_f64();
    println!("CPU at rest                   {share:.3} s per second");

    let (_, from, _) = controller.usage();
    let began = Instant::now();
    controller.tell("publish");
    reached(&mut having, 2 * agents).await;
    let seconds = began.elapsed().as_secs_f64();
    let (_, to, _) = controller.usage();
    let cpu = (to - from) as f64 / TICKS;
    println!("a new plan of 8 KiB for all   {seconds:.2} s, {cpu:.2} s of CPU");

    let (_, from, _) = controller.usage();
    let told = controller.tell("windows");
    let (memory, to, _) = controller.usage();
    let cpu = (to - from) as f64 / TICKS;
    println!("windows of 64 KiB of all      {told} (seconds, windows, bytes), {cpu:.2} s of CPU");
    println!("memory after that             {:.1} MiB", memory as f64 / 1048576.0);
    println!("connections lost meanwhile    {}", common.lost.load(Ordering::Relaxed));
}

/// Dials until it is let in, as agents do: each time for five seconds, more and more seldom.
async fn persist(dialer: &Dialer, common: &Common) -> Peer {
    let last = soon();
    let mut pause = Duration::from_millis(250);
    loop {
        let deadline = Instant::now() + Duration::from_secs(5);
        match dialer.dial(common.address, Some(&common.key), deadline).await {
            Ok(peer) => return peer,
            Err(fault) => assert!(Instant::now() < last, "{fault}"),
        }
        common.again.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(16));
    }
}

async fn reached(having: &mut watch::Receiver<usize>, count: usize) {
    let all = having.wait_for(|have| *have >= count);
    let reached = timeout_at(soon(), all).await.map(|all| all.is_ok());
    let have = *having.borrow();
    assert_eq!(reached, Ok(true), "{have} of {count} plans were got in time");
}

/// Who an agent dials, and what is counted of all.
struct Common {
    address: SocketAddr,
    key: Key,
    window: Bytes,
    /// Plans that were got, each once by each agent.
    have: watch::Sender<usize>,
    /// Connections that ended by themselves.
    lost: AtomicUsize,
    again: AtomicUsize,
}

/// Answers windows and polls, on one connection after another.
async fn agent(mut peer: Peer, dialer: Dialer, common: Arc<Common>) {
    let mut tag: Option<HeaderValue> = None;
    loop {
        let (answering, window) = (peer.clone(), common.window.clone());
        tokio::spawn(async move {
            let service =
                move |_: Peer, _: Request<Bytes>| std::future::ready(Response::new(window.clone()));
            answering.serve(service, CancellationToken::new()).await
        });
        loop {
            let mut request = Request::get("/v1/plan").body(Bytes::new()).expect("a request");
            if let Some(tag) = &tag {
                request.headers_mut().insert(IF_NONE_MATCH, tag.clone());
            }
            let deadline = Instant::now() + WAIT + Duration::from_secs(15);
            let Ok(response) = peer.ask(request, deadline, 2 * PLAN).await else { break };
            if response.status() == StatusCode::OK {
                tag = response.headers().get(ETAG).cloned();
                common.have.send_modify(|have| *have += 1);
            }
        }
        common.lost.fetch_add(1, Ordering::Relaxed);
        peer.close("again");
        peer = persist(&dialer, &common).await;
    }
}
