//! `meshprobe lab`: a small mesh on loopback, and an agent that probes it. No cluster, no
//! privileges: demo, test fixture, benchmark target.
//!
//! Each node is an address of its own in 127/8 with a responder; a DNS server holds their names.
//! The agent is the real one, with its admin server, on a plan made here.

mod dns;
mod plan;
mod screen;
mod table;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::attempt::Attempt;
use crate::config::{Identity, ResponderConfig};
use crate::net::Resolver;
use crate::net::dns::SearchList;
use crate::responder::Responder;
use crate::target::Vantage;
use screen::Screen;
use table::Table;

/// How often the live table is drawn again.
const FRAME: Duration = Duration::from_millis(250);
/// How long the agent may take to end its attempts.
const GRACE: Duration = Duration::from_secs(3);

/// What the lab is asked to be.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Nodes, each with a responder.
    pub nodes: u16,
    /// Time between two attempts of one target.
    pub interval: Duration,
    /// Ends by itself after this long.
    pub duration: Option<Duration>,
    /// Columns and lines of the terminal; plain lines without one.
    pub terminal: Option<(usize, usize)>,
}

/// Attempts over the whole life of a lab: met, violated, inconclusive.
pub type Totals = [u64; 3];

/// Runs a lab until its duration is over or `stop` is cancelled, then prints a summary.
pub async fn run(
    options: Options,
    stop: CancellationToken,
    out: &mut dyn Write,
) -> anyhow::Result<Totals> {
    let tasks = TaskTracker::new();
    let servers = CancellationToken::new();
    let nodes = start_nodes(options.nodes, &tasks, &servers).await?;
    let zone = Arc::new(plan::zone(&nodes));
    let dns = dns::serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), zone, &tasks, &servers)
        .await
        .context("the lab's DNS server")?;
    let config = plan::config(&nodes, dns, options.interval)?;
    let order = config.targets.iter().map(|target| target.name.clone()).collect();
    let resolver = Resolver::with_nameservers(vec![dns], SearchList::default());
    let mut agent = Agent::start(config, Some(resolver)).await?;
    let mut attempts = agent.follow();
    let mut screen = Screen::new(options.terminal);
    screen.open(&opening(&nodes, dns, agent.admin_addr()), out)?;
    let mut table = Table::new(order);
    let ended = watch(&options, &stop, &mut attempts, &mut table, &mut screen, out).await;
    agent.stop(GRACE).await;
    servers.cancel();
    tasks.close();
    tasks.wait().await;
    ended?;
    screen.close(&table, out)?;
    Ok(table.totals())
}

/// A node of the lab: its responders by vantage.
#[derive(Debug, Clone)]
struct Node {
    name: String,
    responder: SocketAddr,
}

async fn start_nodes(
    count: u16,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for n in 1..=count {
        let name = format!("node-{n}");
        let identity = Identity { node: name.clone(), zone: None, vantage: Some(Vantage::Plain) };
        let address = SocketAddr::from((Ipv4Addr::new(127, 77, (n >> 8) as u8, n as u8), 0));
        let config = ResponderConfig {
            listen: vec![address],
            max_connections: 256,
            max_body: 64 * 1024,
            max_requests_per_second: 1000,
            idle_timeout: Duration::from_secs(300),
        };
        let responder = Responder::bind(&config, &identity)?;
        let bound = responder.local_addrs()[0];
        nodes.push(Node { name, responder: bound });
        tasks.spawn(responder.serve(stop.clone().cancelled_owned()));
    }
    Ok(nodes)
}

fn opening(nodes: &[Node], dns: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "A lab of {} nodes on loopback; DNS on {dns}, metrics on http://{admin}/metrics. Ctrl-C ends it.",
        nodes.len()
    )
}

async fn watch(
    options: &Options,
    stop: &CancellationToken,
    attempts: &mut mpsc::Receiver<Attempt>,
    table: &mut Table,
    screen: &mut Screen,
    out: &mut dyn Write,
) -> io::Result<()> {
    let end = options.duration.map(|duration| Instant::now() + duration);
    let over = async {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = &mut over => return Ok(()),
            () = stop.cancelled() => return Ok(()),
            Some(attempt) = attempts.recv() => {
                let change = table.note(&attempt);
                screen.note(&attempt, change, out)?;
            }
            _ = frames.tick() => screen.draw(table, out)?,
        }
    }
}
