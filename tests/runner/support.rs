//! A runner whose every word is heard, and servers that count who is connected.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meshprobe::attempt::Attempt;
use meshprobe::config::{self, Config};
use meshprobe::failure::Reason;
use meshprobe::plan::{self, Target};
use meshprobe::probe::Environment;
use meshprobe::runner::{Missed, Runner, Sink};
use meshprobe::target::TargetName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a runner told its sink.
#[derive(Debug)]
pub(crate) enum Event {
    Joined(String),
    Left(HashSet<TargetName>),
    Attempt(Box<Attempt>),
    Missed(String, Missed, u64),
}

#[derive(Debug)]
pub(crate) struct Ear(mpsc::UnboundedSender<Event>);

impl Ear {
    fn hear(&self, event: Event) {
        // The test may have heard enough.
        let _ = self.0.send(event);
    }
}

impl Sink for Ear {
    fn joined(&self, target: &Target) {
        self.hear(Event::Joined(target.spec.name.to_string()));
    }

    fn left(&self, targets: &HashSet<TargetName>) {
        self.hear(Event::Left(targets.clone()));
    }

    fn attempt(&self, attempt: &Attempt) {
        self.hear(Event::Attempt(Box::new(attempt.clone())));
    }

    fn missed(&self, target: &TargetName, cause: Missed, slots: u64) {
        self.hear(Event::Missed(target.to_string(), cause, slots));
    }
}

/// A runner, its configuration, and what it tells.
pub(crate) struct Bench {
    pub(crate) runner: Runner<Ear>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
}

impl Bench {
    /// A runner that probes the targets of `yaml` from now on.
    pub(crate) async fn start(yaml: &str) -> Self {
        let config = config(yaml);
        let (ear, events) = mpsc::unbounded_channel();
        let runner = Runner::new(&config.identity, config.limits, Ear(ear));
        let mut bench = Self { runner, events };
        bench.reload(yaml).await;
        bench
    }

    /// Probes the targets of `yaml` instead.
    pub(crate) async fn reload(&mut self, yaml: &str) {
        let targets = plan::prepare(&config(yaml), &environment(), self.runner.targets());
        self.runner.apply(targets.expect("good files")).await;
    }

    pub(crate) async fn next(&mut self) -> Event {
        self.events.recv().await.expect("the runner has the other end")
    }

    /// The next attempt of `target`; what else is told before is dropped.
    pub(crate) async fn attempt(&mut self, target: &str) -> Attempt {
        loop {
            if let Event::Attempt(attempt) = self.next().await
                && attempt.target.as_str() == target
            {
                return *attempt;
            }
        }
    }

    /// What was told until now.
    pub(crate) fn told(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

pub(crate) fn config(yaml: &str) -> Config {
    match config::parse(yaml, &BTreeMap::new()) {
        Ok(config) => config,
        Err(mistakes) => panic!("{mistakes:#?}"),
    }
}

pub(crate) fn environment() -> Environment {
    Environment::default()
}

/// The targets of `yaml`, ready to be executed.
///
/// A control elsewhere than what it controls is a mistake; what it proves is tested all the same.
pub(crate) fn targets(yaml: &str) -> Vec<Arc<Target>> {
    let (config, mistakes) = config::examine(yaml, &BTreeMap::new());
    assert!(mistakes.iter().all(|mistake| mistake.path.ends_with(".control")), "{mistakes:#?}");
    plan::prepare(&config.expect("readable"), &environment(), &[]).expect("good files")
}

/// A server on loopback, and how many connections it has and had.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    open: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Server {
    /// Gives each connection to `serve`; ends with the test's runtime.
    pub(crate) async fn start<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let server = Self {
            address: listener.local_addr().expect("bound"),
            open: Arc::default(),
            all: Arc::default(),
            most: Arc::default(),
        };
        let counts = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counts.all.fetch_add(1, Ordering::Relaxed);
                let now = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
                counts.most.fetch_max(now, Ordering::Relaxed);
                let (served, open) = (serve(stream), Arc::clone(&counts.open));
                tokio::spawn(async move {
                    served.await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        server
    }

    /// Accepts and never answers; notices when the client goes.
    pub(crate) async fn silent() -> Self {
        Self::start(
            |mut stream| async move { while let Ok(1..) = stream.read(&mut [0; 64]).await {} },
        )
        .await
    }

    /// Answers every connection with a word.
    pub(crate) async fn answering() -> Self {
        Self::start(|mut stream| async move {
            let _ = stream.write_all(b"hello\n").await;
            let _ = stream.read(&mut [0; 64]).await;
        })
        .await
    }

    /// Answers HTTP/1.1 requests with `status` and keeps the connection.
    pub(crate) async fn http(status: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
            while let Ok(1..) = stream.read(&mut [0; 4096]).await {
                if stream.write_all(reply.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections there ever were.
    pub(crate) fn all(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// The most connections that were open at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Waits until `count` connections are open.
    pub(crate) async fn until_open(&self, count: usize) {
        while self.open() != count {
            tokio::task::yield_now().await;
        }
    }
}

/// The reason that an attempt failed for.
pub(crate) fn reason(attempt: &Attempt) -> Option<Reason> {
    attempt.failure.as_ref().map(|failure| failure.reason)
}
