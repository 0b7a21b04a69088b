//! The control channel where TCP gets nowhere: out of a captured pod whose ztunnel is dead, and
//! into one whose ports are STRICT.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use meshprobe::agent::Agent;
use meshprobe::channel::{Bounds, Key, Listener, PORT, Peer, Peers};
use meshprobe::config;
use meshprobe::lab::ztunnel::Condition;
use meshprobe::net::Resolver;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::net::{Pod, isolated};
use crate::{ADMIN, Mesh, Timing, assert_denied, assert_fails, assert_reply, respond, set};

/// A controller in `pod` that hands out `plan`.
async fn controller(pod: &Pod, key: PathBuf, plan: String) -> Peers {
    let address = SocketAddr::from((pod.ip(), PORT));
    pod.within(move || async move {
        let key = Key::load(&key).expect("a key");
        let listener = Listener::bind(address, Some(&key), Bounds::default());
        let listener = listener.expect("the port is free");
        let peers = listener.peers();
        let plan = Bytes::from(plan);
        let service = move |_: Peer, request: Request<Bytes>| {
            let plan = plan.clone();
            async move {
                match request.uri().path() {
                    "/v1/plan" if !request.headers().contains_key("if-none-match") => {
                        let response = Response::builder().header("etag", "\"r1\"");
                        response.body(plan).expect("a response")
                    }
                    // Nothing new: the agent waits.
                    _ => std::future::pending().await,
                }
            }
        };
        tokio::spawn(listener.run(service, CancellationToken::new()));
        peers
    })
    .await
}

/// An agent in `pod`, and the names of its targets; it runs until the sender is dropped.
async fn agent(pod: &Pod, text: String) -> (watch::Receiver<Vec<String>>, oneshot::Sender<()>) {
    let (end, mut ended) = oneshot::channel::<()>();
    let (targets, probed) = watch::channel(Vec::new());
    pod.within(move || async move {
        let config = config::parse(&text, &Default::default()).expect("good");
        let agent = Agent::start(config, Some(Resolver::default())).await;
        let mut agent = agent.expect("the port is free");
        tokio::task::spawn_local(async move {
            loop {
                let offer = tokio::select! {
                    _ = &mut ended => break,
                    offer = agent.next_plan() => offer,
                };
                assert!(agent.follow_plan(offer).await);
                let names = agent.targets().iter().map(|target| target.spec.name.to_string());
                targets.send_replace(names.collect());
            }
            agent.stop(Duration::from_secs(1)).await;
        });
    })
    .await;
    (probed, end)
}

/// The window of whoever is connected, as the controller in `pod` reads it.
async fn window(pod: &Pod, peers: &Peers) -> serde_json::Value {
    let peers = peers.clone();
    let body = pod.within(move || async move {
        let request = Request::get("/v1/window").body(Bytes::new()).expect("a request");
        let deadline = Instant::now() + Duration::from_secs(20);
        let peer = peers.all().pop().expect("the agent is connected");
        peer.ask(request, deadline, 1 << 20).await.expect("an answer").into_body()
    });
    serde_json::from_slice(&body.await).expect("JSON")
}

#[test]
fn plan_and_window_travel_past_a_dead_ztunnel_and_a_strict_policy() {
    let name =
        "netns_mesh::channel::plan_and_window_travel_past_a_dead_ztunnel_and_a_strict_policy";
    isolated(name, async || {
        let mesh = Mesh::start(Timing::scaled(20.0)).await;
        respond(&mesh.daemon).await;
        let directory = tempfile::tempdir().expect("a directory");
        let key = directory.path().join("key");
        std::fs::write(&key, "k".repeat(44)).expect("writable");
        let plan = serde_json::json!({
            "version": 1, "revision": "r1", "node": "n", "vantage": "ambient",
            "config": { "targets": [
                { "name": "web", "address": format!("http://{}/", mesh.web(crate::STRICT)),
                  "http": {}, "interval": "50ms" },
            ] },
        });
        let peers = controller(&mesh.daemon, key.clone(), plan.to_string()).await;
        let admin = SocketAddr::from((mesh.client.ip(), ADMIN));
        let text = format!(
            "node: n\nvantage: ambient\nadmin: {{ listen: '{admin}' }}\n\
             controller: {{ addresses: ['{}'], key: '{}' }}\ntargets: []\n",
            mesh.daemon.ip(),
            key.display(),
        );
        set(&mesh.here, Condition { dead: true, ..Condition::default() }).await;
        let (mut probed, end) = agent(&mesh.client, text).await;

        // By TCP neither finds the other.
        let outward = SocketAddr::from((mesh.daemon.ip(), crate::PERMISSIVE));
        assert_fails(&mesh.client.get(outward).await, "connect", &["refused"]);
        let inward = format!("{admin}/livez");
        assert_fails(&mesh.daemon.get(&inward).await, "connect", &["refused"]);

        probed.wait_for(|targets| targets == &["web"]).await.expect("the agent runs");
        let refused = loop {
            let window = window(&mesh.daemon, &peers).await;
            let seen = window.as_array().expect("a list").first().cloned();
            if let Some(seen) = seen.filter(|seen| seen["attempts"] != 0) {
                break seen;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(refused["target"], "web");
        assert!(refused["reasons"]["refused"].as_u64() > Some(0), "{refused}");

        // With its ztunnel back the agent's port is denied to a plain reader, by policy.
        set(&mesh.here, Condition::default()).await;
        assert_denied(&mesh.daemon.get(&inward).await);
        assert_reply(&mesh.client.get(outward).await);
        assert!(window(&mesh.daemon, &peers).await.is_array());
        drop(end);
    });
}
