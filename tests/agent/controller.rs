//! A controller that gives the plan it is told to give, over a real listener.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use meshprobe::channel::{Bounds, Key, Listener, Peer, Peers};
use meshprobe::config::CONTROLLERS_HEADER;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    plan: Arc<watch::Sender<(String, String)>>,
    named: Arc<watch::Sender<Option<SocketAddr>>>,
    /// What was asked last.
    pub(crate) asked: watch::Receiver<Option<String>>,
    peers: Peers,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Controller {
    /// Gives the plan `revision`, whose text is `plan`, until it is told another one.
    pub(crate) fn start(address: Option<SocketAddr>, key: Option<&Path>, plan: &Plan) -> Self {
        let key = key.map(|path| Key::load(path).expect("a key"));
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let at = address.unwrap_or(free);
        let listener = Listener::bind(at, key.as_ref(), Bounds::default()).expect("it is free");
        let address = listener.local_addr().expect("bound");
        let (plan, _) = watch::channel(plan.sent());
        let plan = Arc::new(plan);
        let named = Arc::<watch::Sender<Option<SocketAddr>>>::default();
        let naming = Arc::clone(&named);
        let (asking, asked) = watch::channel(None);
        let (peers, stop) = (listener.peers(), CancellationToken::new());
        let (plans, asking) = (Arc::clone(&plan), Arc::new(asking));
        let service = move |_: Peer, request: Request<Bytes>| {
            let (plans, asking) = (plans.subscribe(), Arc::clone(&asking));
            let naming = naming.subscribe();
            async move {
                asking.send_replace(Some(request.uri().to_string()));
                tokio::select! {
                    plan = answer(plans, &request) => plan,
                    unchanged = naming_only(naming) => unchanged,
                }
            }
        };
        let running = tokio::spawn(listener.run(service, stop.clone()));
        Self { address, plan, named, asked, peers, stop, running }
    }

    pub(crate) fn give(&self, plan: &Plan) {
        self.plan.send_replace(plan.sent());
    }

    /// Tells that another controller is at `address`, without another plan.
    pub(crate) fn name(&self, address: SocketAddr) {
        self.named.send_replace(Some(address));
    }

    pub(crate) async fn asks(&self, path: &str) -> Response<Bytes> {
        let peer = loop {
            match self.peers.all().into_iter().next() {
                Some(peer) => break peer,
                None => tokio::task::yield_now().await,
            }
        };
        let request = Request::get(path).body(Bytes::new()).expect("a request");
        let deadline = Instant::now() + Duration::from_secs(20);
        peer.ask(request, deadline, 1 << 20).await.expect("an answer")
    }

    /// Ends, and frees its address.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no panic");
    }
}

/// Waits for another plan than the one that the other side has.
async fn answer(
    mut plans: watch::Receiver<(String, String)>,
    request: &Request<Bytes>,
) -> Response<Bytes> {
    let known = request.headers().get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let another = |plan: &(String, String)| Some(plan.0.as_str()) != known;
    let (tag, text) = plans.wait_for(another).await.expect("the test is not over").clone();
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(ETAG, HeaderValue::from_str(&tag).expect("a tag"));
    response
}

/// That there is no other plan, and where controllers are once that was told.
async fn naming_only(mut named: watch::Receiver<Option<SocketAddr>>) -> Response<Bytes> {
    let named = named.wait_for(Option::is_some).await.expect("the test is not over");
    let address = named.expect("waited for").to_string();
    let response = Response::builder().status(StatusCode::NOT_MODIFIED);
    response.header(CONTROLLERS_HEADER, address).body(Bytes::new()).expect("a response")
}

/// The plan of node-1, plain.
pub(crate) struct Plan {
    pub(crate) revision: &'static str,
    pub(crate) grace: u64,
    pub(crate) controllers: Vec<SocketAddr>,
    pub(crate) targets: serde_json::Value,
}

impl Plan {
    pub(crate) fn new(revision: &'static str, targets: serde_json::Value) -> Self {
        Self { revision, grace: 0, controllers: Vec::new(), targets }
    }

    pub(crate) fn text(&self) -> String {
        serde_json::json!({
            "version": 1,
            "revision": self.revision,
            "node": "node-1",
            "vantage": "plain",
            "pod": "meshprobe-agent-x7k2p",
            "grace_seconds": self.grace,
            "controllers": self.controllers,
            "config": {
                "defaults": { "interval": "20ms", "timeout": "2s" },
                "modules": { "up": { "tcp": { "send": "PING" } } },
                "targets": self.targets,
            },
        })
        .to_string()
    }

    /// Tag and text.
    fn sent(&self) -> (String, String) {
        (format!("\"{}\"", self.revision), self.text())
    }
}
