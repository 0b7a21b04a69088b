//! The book, and pulls over a real channel.

use http::Response;

use super::*;
use crate::channel::{Bounds, Dialer, Listener};
use crate::flow::{FlowDestination, FlowSource};

fn flow(node: &str, source: usize, namespace: &str, security: FlowSecurity) -> Flow {
    Flow {
        node: node.to_owned(),
        source: FlowSource { workload: Some(format!("{source:06}")), ..FlowSource::default() },
        destination: FlowDestination {
            namespace: Some(namespace.to_owned()),
            ..FlowDestination::default()
        },
        security,
        opened_before: 0,
        opened: 1,
        denied: 0,
        rate_per_second: 0.5,
        first_seen: time::OffsetDateTime::UNIX_EPOCH,
        last_seen: None,
    }
}

fn told(node: &str, flows: Vec<Flow>) -> NodeFlows {
    NodeFlows {
        node: node.to_owned(),
        ztunnel: None,
        flows,
        dropped_plaintext: 0,
        dropped_mutual_tls: 0,
    }
}

#[test]
fn the_last_telling_of_each_node_counts_and_ages() {
    let (book, now) = (Told::default(), Instant::now());
    let later = now + Duration::from_secs(40);
    let one = |node| vec![flow(node, 1, "default", FlowSecurity::Plaintext)];
    book.heard(told("a", Vec::new()), now);
    book.heard(told("a", one("a")), now);
    book.heard(told("b", one("b")), later);
    let fleet = book.fleet(None, later + Duration::from_secs(5));
    let ages: Vec<_> = fleet.nodes.iter().map(|it| (it.node.as_str(), it.age_seconds)).collect();
    assert_eq!(ages, [("a", 45.0), ("b", 5.0)]);
    assert_eq!((fleet.pairs.len(), fleet.pairs[0].rate_per_second), (1, 1.0));
    let elsewhere = book.fleet(Some("kube-system"), later);
    assert_eq!((elsewhere.nodes.len(), elsewhere.pairs.len()), (2, 0));
    book.retain(|node| node == "b");
    assert_eq!(book.fleet(None, later).nodes.len(), 1);
}

#[test]
fn more_flows_than_are_kept_are_counted_as_dropped_mtls_first() {
    let mut flows = told("a", Vec::new());
    for source in 0..3 {
        flows.flows.push(flow("a", source, "default", FlowSecurity::MutualTls));
        flows.flows.push(flow("a", source, "default", FlowSecurity::Plaintext));
    }
    cut(&mut flows, 2);
    assert_eq!((flows.dropped_plaintext, flows.dropped_mutual_tls), (1, 3));
    assert!(flows.flows.iter().all(|it| it.security == FlowSecurity::Plaintext));
}

#[test]
fn all_nodes_together_have_a_bound() {
    let (book, now) = (Told::default(), Instant::now());
    let node = |name: &str, count| {
        let flows = (0..count).map(|n| flow(name, n, "default", FlowSecurity::Plaintext));
        told(name, flows.collect())
    };
    book.heard(node("a", MOST_FLOWS - 1), now);
    book.heard(node("b", 3), now);
    book.heard(node("b", 3), now);
    let fleet = book.fleet(Some("nowhere"), now);
    let dropped: Vec<_> = fleet.nodes.iter().map(|it| it.dropped_plaintext).collect();
    assert_eq!(dropped, [0, 2]);
}

#[test]
fn an_agent_tells_of_its_own_node_only() {
    let text = |it: &NodeFlows| serde_json::to_vec(it).expect("it has a form");
    let plaintext = FlowSecurity::Plaintext;
    let own = told("a", vec![flow("a", 1, "default", plaintext)]);
    assert_eq!(read(&text(&own), "a"), Ok(own.clone()));
    assert!(read(&text(&own), "b").is_err());
    let mixed = told("a", vec![flow("b", 1, "default", plaintext)]);
    assert_eq!(read(&text(&mixed), "a"), Err("the agent of a tells of b".to_owned()));
    assert!(read(b"[]", "a").is_err());
    let mut long = own;
    long.flows[0].source.workload = Some("x".repeat(LONGEST_NAME + 1));
    assert!(read(&text(&long), "a").is_err());
}

/// Pulls from an agent that answers with `status`, `agent` and `body`.
async fn pulled(
    status: u16,
    agent: &'static str,
    body: Vec<u8>,
    known: bool,
) -> Result<Option<NodeFlows>, String> {
    let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(free, None, Bounds::default()).expect("it is free");
    let (address, peers) = (listener.local_addr().expect("bound"), listener.peers());
    let stop = CancellationToken::new();
    let nothing = |_: Peer, _: Request<Bytes>| std::future::ready(Response::new(Bytes::new()));
    let running = tokio::spawn(listener.run(nothing, stop.clone()));
    let deadline = Instant::now() + Duration::from_secs(30);
    let dialled = Dialer::new().expect("loopback").dial(address, None, deadline).await;
    let dialled = dialled.expect("it listens");
    let answering = stop.clone();
    let serving = tokio::spawn(async move {
        let answer = move |_: Peer, request: Request<Bytes>| {
            assert_eq!(request.uri().path(), "/v1/flows");
            let answer = Response::builder().status(status).header(AGENT_HEADER, agent);
            std::future::ready(answer.body(Bytes::from(body.clone())).expect("an answer"))
        };
        dialled.serve(answer, answering).await
    });
    let peer = loop {
        match peers.all().into_iter().next() {
            Some(peer) => break peer,
            None => tokio::task::yield_now().await,
        }
    };
    let found = pull(&peer, |_| known).await;
    stop.cancel();
    serving.await.expect("no panic");
    running.await.expect("no panic");
    found
}

#[tokio::test]
async fn only_plain_agents_of_the_cluster_are_heard() {
    const PLAIN: &str = "node=a&vantage=plain&pod=p";
    let flows = told("a", vec![flow("a", 1, "default", FlowSecurity::Plaintext)]);
    let body = serde_json::to_vec(&flows).expect("it has a form");
    assert_eq!(pulled(200, PLAIN, body.clone(), true).await, Ok(Some(flows)));
    let stranger = pulled(200, PLAIN, body.clone(), false).await;
    assert_eq!(stranger, Err("no agent of the cluster".to_owned()));
    let ambient = "node=a&vantage=ambient&pod=p";
    assert_eq!(pulled(200, ambient, body.clone(), true).await, Ok(None));
    assert_eq!(pulled(404, PLAIN, Vec::new(), true).await, Err("status 404".to_owned()));
    assert!(pulled(200, "", body, true).await.is_err());
    assert!(pulled(200, PLAIN, b"{".to_vec(), true).await.is_err());
}
