//! An agent reads from the stand-in who calls in plaintext, through a death of it.

use std::collections::BTreeMap;
use std::time::Duration;

use meshprobe::agent::Agent;
use meshprobe::config;
use meshprobe::flow::{Flow, FlowSecurity, NodeFlows, ZtunnelHealth};
use meshprobe::lab::ztunnel::Condition;
use meshprobe::net::Resolver;
use tokio::time::Instant;

use super::support::{Bench, Captured, LIMIT, PERMISSIVE, STRICT, Seen, ask};

async fn agent(bench: &Bench) -> Agent {
    let yaml = format!(
        "node: node-2\nvantage: plain\nadmin: {{ listen: '127.0.0.1:0' }}\n\
         targets: [{{ name: ztunnel, address: '{}', interval: 20ms, ztunnel: {{}} }}]\n",
        bench.own()
    );
    let config = config::parse(&yaml, &BTreeMap::new()).expect("a good configuration");
    Agent::start(config, Some(Resolver::default())).await.expect("a free port")
}

/// What the agent tells once `holds` is true of it.
async fn until(agent: &Agent, what: &str, holds: impl Fn(&NodeFlows) -> bool) -> NodeFlows {
    let deadline = Instant::now() + LIMIT;
    loop {
        let told = agent.flows();
        if holds(&told) {
            return told;
        }
        assert!(Instant::now() < deadline, "{what} did not come: {told:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn of(told: &NodeFlows, security: FlowSecurity) -> Vec<&Flow> {
    told.flows.iter().filter(|flow| flow.security == security).collect()
}

/// Calls of all plaintext flows since the first look.
fn opened(told: &NodeFlows) -> u64 {
    of(told, FlowSecurity::Plaintext).iter().map(|flow| flow.opened).sum()
}

fn health(told: &NodeFlows, holds: impl Fn(&ZtunnelHealth) -> bool) -> bool {
    told.ztunnel.as_ref().is_some_and(holds)
}

#[tokio::test]
async fn callers_are_counted_once_through_a_restart() {
    let bench = Bench::start().await;
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    let agent = agent(&bench).await;
    until(&agent, "a look", |told| health(told, |it| it.scrapes > 0)).await;
    for _ in 0..3 {
        assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
        assert_eq!(ask(bench.ambient(Captured::Service)).await, Seen::Reply);
    }
    ask(bench.plain(STRICT)).await.assert_denied();
    let denied = |told: &NodeFlows| told.flows.iter().any(|flow| flow.denied == 1);
    let told = until(&agent, "the calls", |told| opened(told) == 4 && denied(told)).await;
    let plaintext: u64 = of(&told, FlowSecurity::Plaintext).iter().map(|it| it.opened_before).sum();
    assert_eq!(plaintext, 1, "before the first look");
    for flow in of(&told, FlowSecurity::Plaintext) {
        assert_eq!(flow.source.to_string(), "ingress/plain");
        assert_eq!(flow.destination.to_string(), "default/web");
    }
    let mutual_tls = |told: &NodeFlows| {
        of(told, FlowSecurity::MutualTls).iter().map(|flow| flow.opened).sum::<u64>() == 3
    };
    let told = until(&agent, "mTLS", mutual_tls).await;
    assert!(of(&told, FlowSecurity::MutualTls).iter().all(|flow| flow.source.is_unknown()));

    bench.break_there(Condition { dead: true, ..Condition::default() }).await;
    until(&agent, "its death", |told| health(told, |it| it.scrape_failures > 0)).await;
    bench.break_there(Condition::default()).await;
    let told = until(&agent, "its return", |told| health(told, |it| it.restarts == 1)).await;
    assert_eq!(opened(&told), 4, "what was seen stays");
    assert_eq!(ask(bench.plain(PERMISSIVE)).await, Seen::Reply);
    let told = until(&agent, "the next call", |told| opened(told) > 4).await;
    assert_eq!(opened(&told), 5);
    assert!(health(&told, |it| it.ready == Some(true) && it.version.as_deref() == Some("lab")));
    agent.stop(LIMIT).await;
}
