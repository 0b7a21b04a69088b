//! What `meshprobe gate strict` prints, and how it ends, for answers that come over HTTP.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use meshprobe::cli::{self, Exit, World};
use meshprobe::cluster::mtls::Mode;
use meshprobe::gate::Report;
use meshprobe::gate::answer::json;
use meshprobe::gate::change::History;
use meshprobe::net::http::serve;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::support::{Fleet, at, flows, plaintext, policy};

/// Runs the command against a server that answers `answer`; how it ended, and what it wrote.
async fn run(answer: String, arguments: &[&str]) -> (Exit, String, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let respond = move |request: Request<Incoming>| {
        assert!(request.uri().path().starts_with("/v1/gate/strict"), "{}", request.uri());
        let body = Full::new(Bytes::from(answer.clone()));
        std::future::ready(Response::new(body))
    };
    let server = tokio::spawn(serve(listener, 8, respond, stop.clone(), TaskTracker::new()));
    let server_flag = format!("http://{address}");
    let words = ["meshprobe", "gate", "strict", "--server", &server_flag];
    let arguments = words.iter().chain(arguments).map(OsString::from).collect();
    let world = World { arguments, environment: BTreeMap::new(), terminal: None };
    let ended = tokio::task::spawn_blocking(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = cli::run(world, &mut out, &mut err);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (exit, text(out), text(err))
    })
    .await;
    stop.cancel();
    server.await.expect("no panic");
    ended.expect("no panic")
}

fn breaking() -> Report {
    let mut fleet = Fleet::ready();
    fleet.flows = Some(flows(vec![plaintext(Some("ingress"), Some("cloudflared"))]));
    fleet.judge()
}

#[tokio::test]
async fn the_exit_code_says_the_result() {
    let mut lacks = Fleet::ready();
    lacks.flows = None;
    for (report, exit) in [
        (Fleet::ready().judge(), Exit::Met),
        (breaking(), Exit::Violated),
        (lacks.judge(), Exit::Inconclusive),
    ] {
        for output in ["table", "json", "markdown"] {
            let answer = json(&Ok(report.clone()));
            let (ended, shown, err) = run(answer, &["-n", "default", "-o", output]).await;
            assert_eq!((ended, err.as_str()), (exit, ""), "{shown}");
        }
    }
    let problem = json(&Err("the controller has not read the cluster yet".to_owned()));
    let (ended, shown, err) = run(problem, &[]).await;
    assert_eq!((ended, shown.as_str()), (Exit::CouldNotRun, ""));
    assert_eq!(err, "error: the controller has not read the cluster yet\n");
    let (ended, ..) = run(String::new(), &["-n", "a", "--mesh"]).await;
    assert_eq!(ended, Exit::Usage);
}

#[tokio::test]
async fn the_first_line_is_the_answer_and_commands_can_be_pasted() {
    let report = breaking();
    let commands = report.commands.clone().expect("policies are known");
    let (_, shown, _) = run(json(&Ok(report)), &["-n", "default"]).await;
    let first = shown.lines().next().expect("a line");
    assert_eq!(
        first,
        "NOT READY for STRICT in default: 1 of 9 checks fails: plaintext from ingress/cloudflared \
         to default/mirai-frontend, 0.25/s, last seen 3 s ago: ingress is not enrolled"
    );
    for line in [
        "× plaintext: nobody would break: no plaintext callers",
        "√ canary: the STRICT canary answers the mesh and denies plaintext",
        "Apply STRICT, once the checks above are mended:",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}\n{shown}");
    }
    assert!(shown.contains(&format!("\n{}\n", commands.apply)), "{shown}");
    assert!(shown.contains(&format!("\n{}\n", commands.revert)), "{shown}");
}

#[tokio::test]
async fn words_of_others_move_no_cursor_and_make_no_table() {
    let mut fleet = Fleet::ready();
    fleet.flows = Some(flows(vec![plaintext(Some("in\u{1b}[2J|gress"), Some("a\nb"))]));
    let answer = json(&Ok(fleet.judge()));
    let (_, shown, _) = run(answer.clone(), &["-n", "default"]).await;
    assert!(!shown.contains('\u{1b}') && shown.contains("in\\u{1b}[2J|gress/a\\nb"), "{shown}");
    let (_, shown, _) = run(answer, &["-n", "default", "-o", "markdown"]).await;
    let row = shown.lines().find(|line| line.starts_with("| × | plaintext |")).expect("a row");
    assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
}

#[tokio::test]
async fn watching_ends_as_soon_as_a_revert_is_recommended() {
    let mut fleet = Fleet::ready();
    let mut history = History::default();
    for (second, strict) in [(-700, false), (-600, true)] {
        if strict {
            let policies = fleet.cluster.peer_authentications.as_mut().expect("policies");
            policies.push(policy("default", "default", Mode::Strict));
        }
        let Fleet { cluster, tally, .. } = &mut fleet;
        history.observe(cluster, "istio-system", "meshprobe-ambient", None, tally, at(second));
    }
    let mut denied = plaintext(Some("ingress"), Some("cloudflared"));
    denied.denied = 5;
    fleet.flows = Some(flows(vec![denied]));
    let change = history.change(&fleet.evidence());
    let report = Report { change, ..fleet.judge() };
    let watch = ["-n", "default", "--watch", "--for", "10m"];
    let (ended, shown, _) = run(json(&Ok(report)), &watch).await;
    assert_eq!(ended, Exit::Violated, "{shown}");
    let told = "REVERT STRICT in default: 5 connections from ingress/cloudflared to \
                default/mirai-frontend denied since";
    assert!(shown.lines().next().expect("a line").ends_with(told), "{shown}");
    let revert = "kubectl -n default delete peerauthentications.security.istio.io default";
    assert!(shown.lines().any(|line| line == revert), "{shown}");

    // The time since the change is over, and nothing was counted since: it cannot tell.
    fleet.flows = None;
    let change = history.change(&fleet.evidence());
    let report = Report { change, ..fleet.judge() };
    let (ended, shown, _) = run(json(&Ok(report)), &watch).await;
    assert_eq!(ended, Exit::Inconclusive, "{shown}");
    assert!(shown.contains("WAIT: too few attempts since STRICT in default"), "{shown}");
}
