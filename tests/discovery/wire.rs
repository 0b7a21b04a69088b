//! What an API server can do to a watch, by a server that does it on purpose.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use meshprobe::cluster::FindingReason;
use meshprobe::discovery::watched::Standing;
use meshprobe::discovery::{Following, Limits, Settings, follow};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::support::client_of;

/// Answers that last longer than [`meshprobe::discovery::watched::REFUSED_FOR`], half a second apart
/// at least.
const TIMES_GONE: usize = 24;
const POLICIES: &str = "/apis/security.istio.io/v1/peerauthentications";

/// An answer to one request.
enum Answer {
    /// A status and an object.
    Object(u16, Value),
    /// These lines, then the end.
    Lines(Vec<String>),
    /// These lines, then nothing more for ever.
    Open(Vec<String>),
    /// These lines once the token is cancelled, then the end.
    After(CancellationToken, Vec<String>),
}

/// An API server with no objects but those that the script for one path tells of. Watches of
/// other paths stay open; the last answer of the script, too, is given for ever.
struct Server {
    asked: Arc<Mutex<Vec<String>>>,
    following: Following,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

fn list(version: u64, names: &[&str], next: Option<&str>) -> Answer {
    Answer::Object(200, listed(version, names, next))
}

fn listed(version: u64, names: &[&str], next: Option<&str>) -> Value {
    let items: Vec<Value> = names.iter().map(|name| node(name, version)).collect();
    json!({
        "apiVersion": "v1", "kind": "List",
        "metadata": { "resourceVersion": version.to_string(), "continue": next },
        "items": items,
    })
}

fn node(name: &str, version: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "resourceVersion": version.to_string() },
    })
}

fn event(kind: &str, object: Value) -> String {
    json!({ "type": kind, "object": object }).to_string()
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": reason, "message": format!("{reason} for a test"),
    })
}

impl Server {
    async fn start(path: &'static str, script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it listens");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                let service = hyper::service::service_fn(move |request| {
                    let response = answer(path, &request, &log, &script);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        let (client, dir) = client_of(address).await;
        let limits = Limits { page: 2, retry: Duration::from_millis(500), ..Limits::default() };
        let stop = CancellationToken::new();
        let settings = Settings { limits, ..Settings::default() };
        let following = follow(&client, settings, stop.clone());
        Self { asked, following, _stop: stop.drop_guard(), _dir: dir }
    }

    /// Waits until the nodes are these.
    async fn nodes(&mut self, names: &[&str]) {
        let known = self
            .following
            .snapshots
            .wait_for(|snapshot| snapshot.synced && snapshot.cluster.nodes.keys().eq(names))
            .await;
        known.expect("discovery runs");
    }

    /// What was asked of the scripted path: the parameters that matter, in order.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn answer(
    path: &str,
    request: &Request<hyper::body::Incoming>,
    log: &Mutex<Vec<String>>,
    script: &Mutex<VecDeque<Answer>>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let query = request.uri().query().unwrap_or_default();
    let watch = query.contains("watch=true");
    if request.uri().path() == path {
        let word = |pair: &&str| {
            ["watch=", "continue=", "resourceVersion="].iter().any(|key| pair.starts_with(key))
        };
        let words: Vec<&str> = query.split('&').filter(word).collect();
        log.lock().expect("no panic").push(words.join(" "));
        let mut script = script.lock().expect("no panic");
        if let Some(answer) = script.pop_front() {
            return response(answer);
        }
    } else if request.uri().path() == POLICIES {
        return response(Answer::Object(404, status(404, "NotFound")));
    }
    response(if watch { Answer::Open(vec![]) } else { list(1, &[], None) })
}

fn response(answer: Answer) -> Response<BoxBody<Bytes, Infallible>> {
    let never = CancellationToken::new();
    let now = CancellationToken::new();
    now.cancel();
    // When the lines are sent, and when the body ends.
    let (code, lines, begin, end) = match answer {
        Answer::Object(code, object) => (code, vec![object.to_string()], now.clone(), now),
        Answer::Lines(lines) => (200, lines, now.clone(), now),
        Answer::Open(lines) => (200, lines, now, never),
        Answer::After(token, lines) => (200, lines, token, now),
    };
    let wait = |token: CancellationToken| {
        futures_util::stream::once(async move { token.cancelled().await })
            .filter_map(async |()| None)
    };
    let frames = futures_util::stream::iter(lines)
        .map(|line| Ok(Frame::data(Bytes::from(format!("{line}\n")))));
    let body = BodyExt::boxed(StreamBody::new(wait(begin).chain(frames).chain(wait(end))));
    let builder = Response::builder().status(code).header("content-type", "application/json");
    builder.body(body).expect("a good response")
}

const NODES: &str = "/api/v1/nodes";

#[tokio::test]
async fn a_list_of_several_pages_is_one_list() {
    let script = vec![list(5, &["a", "b"], Some("more")), list(5, &["c"], None)];
    let mut server = Server::start(NODES, script).await;
    server.nodes(&["a", "b", "c"]).await;
    assert_eq!(server.asked()[..2], ["", "continue=more"]);
}

#[tokio::test]
async fn a_page_that_expired_begins_the_list_anew() {
    let script = vec![
        list(5, &["a", "b"], Some("more")),
        Answer::Object(410, status(410, "Expired")),
        list(6, &["c"], None),
    ];
    let mut server = Server::start(NODES, script).await;
    server.nodes(&["c"]).await;
    assert_eq!(server.asked()[..3], ["", "continue=more", ""]);
}

#[tokio::test]
async fn changes_are_applied_and_the_next_watch_begins_at_the_bookmark() {
    let script = vec![
        list(5, &["a", "b"], None),
        Answer::Lines(vec![
            event("ADDED", node("c", 6)),
            event("DELETED", node("a", 7)),
            event(
                "BOOKMARK",
                json!({
                    "apiVersion": "v1", "kind": "Node", "metadata": { "resourceVersion": "99" },
                }),
            ),
        ]),
        Answer::Open(vec![event("ADDED", node("d", 100))]),
    ];
    let mut server = Server::start(NODES, script).await;
    server.nodes(&["b", "c", "d"]).await;
    let asked = server.asked();
    assert_eq!(asked[..3], ["", "watch=true resourceVersion=5", "watch=true resourceVersion=99"]);
}

#[tokio::test]
async fn a_watch_that_expired_lists_anew_and_forgets_what_is_gone() {
    let expired = || event("ERROR", status(410, "Expired"));
    let script = vec![
        list(5, &["a", "b"], None),
        Answer::Lines(vec![event("ADDED", node("c", 6)), expired()]),
        list(50, &["b", "d"], None),
        Answer::Object(410, status(410, "Expired")),
        list(60, &["e"], None),
    ];
    let mut server = Server::start(NODES, script).await;
    server.nodes(&["e"]).await;
    let asked = server.asked();
    let expected = ["", "watch=true resourceVersion=5", "", "watch=true resourceVersion=50", ""];
    assert_eq!(asked[..5], expected);
}

#[tokio::test]
async fn an_event_that_is_no_object_lists_anew() {
    let script = vec![
        list(5, &["a"], None),
        Answer::Open(vec!["{\"type\":\"ADDED\",\"object\":17}".to_owned()]),
        list(6, &["b"], None),
    ];
    let mut server = Server::start(NODES, script).await;
    server.nodes(&["b"]).await;
}

#[tokio::test]
async fn a_server_in_trouble_keeps_what_was_known_and_is_asked_for_changes_only() {
    let trouble = || Answer::Object(503, status(503, "ServiceUnavailable"));
    let script = vec![
        list(5, &["a"], None),
        trouble(),
        trouble(),
        Answer::Open(vec![event("ADDED", node("b", 6))]),
    ];
    let mut server = Server::start(NODES, script).await;
    server.nodes(&["a", "b"]).await;
    let watch = "watch=true resourceVersion=5";
    assert_eq!(server.asked()[..4], ["", watch, watch, watch]);
    let reports = server.following.watches.report();
    let nodes = reports.iter().find(|report| report.name.resource == "nodes").expect("watched");
    assert_eq!((nodes.health.failures, nodes.health.lists), (2, 1));
    assert_eq!(nodes.health.failing, None);
    assert_eq!(nodes.objects, 2);
    assert!(server.following.watches.oldest_contact().is_some());
}

#[tokio::test]
async fn what_is_forbidden_is_a_finding_and_the_rest_goes_on() {
    let forbidden = || Answer::Object(403, status(403, "Forbidden"));
    let granted = CancellationToken::new();
    let later = Answer::After(granted.clone(), vec![listed(5, &["a"], None).to_string()]);
    let script = vec![forbidden(), forbidden(), later];
    let mut server = Server::start(NODES, script).await;
    let snapshots = &mut server.following.snapshots;
    let snapshot = snapshots.wait_for(|snapshot| snapshot.synced).await.expect("runs").clone();
    let findings: Vec<_> = snapshot.cluster.findings.iter().collect();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(finding.reason, FindingReason::Forbidden);
    assert_eq!(finding.object.kind, "nodes");
    granted.cancel();
    server.nodes(&["a"]).await;
    assert_eq!(server.following.snapshots.borrow().cluster.findings, []);
}

#[tokio::test]
async fn policies_are_unknown_until_their_kind_appears_and_again_when_it_goes() {
    let absent = || Answer::Object(404, status(404, "NotFound"));
    let [made, gone, again] = [(); 3].map(|()| CancellationToken::new());
    let after = |token: &CancellationToken, version| {
        Answer::After(token.clone(), vec![listed(version, &[], None).to_string()])
    };
    let watch = Answer::After(gone.clone(), vec![]);
    // That a kind is gone is believed when it lasts.
    let mut script = vec![absent(), after(&made, 5), watch];
    script.extend((0..TIMES_GONE).map(|_| absent()));
    script.push(after(&again, 9));
    let mut server = Server::start(POLICIES, script).await;
    let snapshots = &mut server.following.snapshots;
    for (known, next) in [(false, made), (true, gone), (false, again.clone()), (true, again)] {
        let is = |snapshot: &Arc<meshprobe::discovery::Snapshot>| {
            snapshot.synced && snapshot.cluster.peer_authentications.is_some() == known
        };
        let snapshot = snapshots.wait_for(is).await.expect("discovery runs").clone();
        assert_eq!(snapshot.cluster.findings, []);
        next.cancel();
    }
    // The watch of before is not resumed: what it knew is gone.
    let watch = "watch=true resourceVersion=5";
    assert_eq!(server.asked()[..5], ["", "", watch, watch, ""]);
}

#[tokio::test]
async fn nothing_is_synced_while_no_server_answers_and_everything_ends_when_told() {
    let trouble = (0..100).map(|_| Answer::Object(500, status(500, "InternalError")));
    let mut server = Server::start(NODES, trouble.collect()).await;
    let snapshots = &mut server.following.snapshots;
    let last = |snapshot: &Arc<meshprobe::discovery::Snapshot>| snapshot.waiting.len() == 1;
    let snapshot = snapshots.wait_for(last).await.expect("discovery runs").clone();
    assert!(!snapshot.synced);
    assert_eq!(snapshot.waiting[0].resource, "nodes");
    let reports = server.following.watches.report();
    let listed = reports.iter().filter(|is| is.health.standing == Standing::Listed).count();
    assert_eq!(listed, reports.len() - 2, "all but the nodes and the absent policies");
    assert_eq!(server.following.watches.oldest_contact(), None);
    drop(server._stop);
    server.following.task.await.expect("an orderly end");
}
