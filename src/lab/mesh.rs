//! The lab put together: pods, what stands in for the mesh around them, and the agents.

mod built;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::config::{Identity, ResponderConfig};
use crate::flow::FleetFlows;
use crate::lab::address::Addresses;
use crate::lab::ca::Authority;
use crate::lab::cell::{Cell, From, Node, Row};
use crate::lab::conditions;
use crate::lab::fault::Fault;
use crate::lab::istiod::{Istiod, Setup, Tokens};
use crate::lab::names::{Names, istiod_name};
use crate::lab::plan::{
    self, BRIEF, CANARY, Captured, Experiment, Open, PERMISSIVE, SERVICE, Seat,
};
use crate::lab::port::{Gate, Port};
use crate::lab::signature::Layout;
use crate::lab::world::Pod;
use crate::lab::ztunnel::{Condition, Timing, Ztunnel};
use crate::lab::{Event, Options};
use crate::net::Resolver;
use crate::net::dns::SearchList;
use crate::responder::Responder;
use crate::target::Vantage;
pub(super) use built::Built;

/// How long an agent may take to end its attempts.
const GRACE: Duration = Duration::from_secs(3);
/// A little more than the longest that a real ztunnel lets a caller wait: a frozen peer.
const LONGEST: Duration = Duration::from_secs(32);
/// Attempts per second that a lab keeps to when it may choose its pace.
const PACE: usize = 150;
/// Each node's way to istiod.
const ISTIOD_PORT: u16 = 15012;
/// The node whose agents are left to others when asked.
const EXPORTED: Node = Node(1);
/// A port that nobody listens on.
const NOBODY_PORT: u16 = 10054;

/// A running lab.
pub(super) struct Mesh {
    built: Built,
    other: Arc<Authority>,
    ztunnels: Vec<Ztunnel>,
    istiod: Istiod,
    names: Names,
    agents: Vec<Agent>,
    cells: Vec<Cell>,
    began: Instant,
    longest: Duration,
    interval: Duration,
    tasks: TaskTracker,
    servers: CancellationToken,
    /// Packets to here vanish.
    _decoy: Port,
    /// The claim on them.
    _addresses: Addresses,
    _files: TempDir,
}

/// What the agents are started with.
struct Start<'a> {
    options: &'a Options,
    built: &'a Built,
    addresses: &'a Addresses,
    ztunnels: &'a [Ztunnel],
    istiod: &'a Istiod,
    names: &'a Names,
    ca: PathBuf,
    files: &'a TempDir,
    decoy: SocketAddr,
    longest: Duration,
}

/// An agent that is to be, with what it asks.
struct Place<'a> {
    node: Node,
    from: From,
    /// The pod it runs in.
    pod: &'a str,
    /// What resolv.conf names in that pod.
    resolver: SocketAddr,
    istiod: SocketAddr,
    experiments: Vec<Experiment>,
}

impl Mesh {
    /// Starts every part, the agents last.
    pub(super) async fn start(
        options: &Options,
        events: mpsc::Sender<Event>,
    ) -> anyhow::Result<Self> {
        crate::net::raise_file_limit();
        let addresses = Addresses::claim().context("no part of 127/8 is free")?;
        let built = built::build(&addresses, options.nodes, options.enrolled);
        let authority = Arc::new(Authority::new("cluster.local")?);
        let (tasks, servers) = (TaskTracker::new(), CancellationToken::new());
        for service in [&built.frontend, &built.monitoring] {
            serve(built.pod(service), &tasks, &servers)?;
        }
        let ztunnels = start_ztunnels(&built, &authority, options.time_scale).await?;
        let istiod = start_istiod(&built, &authority).await?;
        let names = Names::start(&addresses, &built).await?;
        let mut decoy = Port::bind(SocketAddr::from((addresses.next(), SERVICE))).await?;
        decoy.set(Gate::Dropped).await?;
        let files = tempfile::tempdir()?;
        let ca = files.path().join("root-cert.pem");
        std::fs::write(&ca, authority.root_pem())?;
        let longest = LONGEST.div_f64(options.time_scale).max(BRIEF);
        let start = Start {
            options,
            built: &built,
            addresses: &addresses,
            ztunnels: &ztunnels,
            istiod: &istiod,
            names: &names,
            ca,
            files: &files,
            decoy: decoy.address(),
            longest,
        };
        let plans = start.plans().await?;
        let interval = plans.1;
        let (mut agents, mut cells) = (Vec::new(), Vec::new());
        let began = Instant::now();
        for plan in run_here(plans.0, options.export.as_deref())? {
            cells.extend(plan.cells.values().copied());
            agents.push(start_agent(plan, &events, &tasks).await?);
        }
        cells.sort_unstable();
        let other = Arc::new(Authority::new("cluster.local, before the rotation")?);
        let _files = files;
        Ok(Self {
            built,
            other,
            ztunnels,
            istiod,
            names,
            agents,
            cells,
            began,
            longest,
            interval,
            tasks,
            servers,
            _decoy: decoy,
            _addresses: addresses,
            _files,
        })
    }

    /// Every cell of the truth table.
    pub(super) fn cells(&self) -> Vec<Cell> {
        self.cells.clone()
    }

    /// Where the services' pods are.
    pub(super) fn layout(&self) -> Layout {
        self.built.layout
    }

    /// When the first agent was started.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// How long an attempt may take.
    pub(super) fn longest_attempt(&self) -> Duration {
        self.longest
    }

    /// Who calls whom, as the plain agents read it from their ztunnels.
    pub(super) fn flows(&self) -> FleetFlows {
        let told: Vec<_> = self.agents.iter().map(Agent::flows).collect();
        let read = told.iter().filter(|told| told.ztunnel.is_some());
        FleetFlows::of(read.map(|told| (told, Duration::ZERO)))
    }

    /// What it was built of.
    pub(super) fn built(&self) -> &Built {
        &self.built
    }

    /// Where what serves runs.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Where agents serve their metrics.
    pub(super) fn admins(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(Agent::admin_addr).collect()
    }

    /// The namespaces of probers.
    pub(super) fn own_namespaces(&self) -> BTreeSet<String> {
        let names = self.built.ambient.iter().chain(&self.built.plain);
        names.map(|name| self.built.pod(name).namespace.clone()).collect()
    }

    /// The first line on the screen; `exported` is where configurations were written.
    pub(super) fn opening(&self, exported: Option<&Path>) -> String {
        let exported = exported.map(|directory| {
            format!(" {EXPORTED}'s agents are yours to run: {}/*.yaml.", directory.display())
        });
        let metrics = self.agents.first().map(|agent| agent.admin_addr().to_string());
        format!(
            "A mesh of {} nodes on loopback: {} agents, {} cells of the truth table, asked every \
             {:.1?}.{} Metrics of the first on http://{}/metrics. Ctrl-C ends it.",
            self.ztunnels.len(),
            self.agents.len(),
            self.cells.len(),
            self.interval,
            exported.unwrap_or_default(),
            metrics.unwrap_or_default(),
        )
    }

    /// Breaks exactly what `faults` say, and heals the rest.
    pub(super) async fn break_with(&self, faults: &[Fault]) -> anyhow::Result<()> {
        let world = &self.built.world;
        for (index, node) in self.built.nodes().enumerate() {
            let condition = conditions::ztunnel(node, faults, world, &self.other);
            if condition.capture_lost {
                // A reboot: nothing that was established outlives it.
                let dead = Condition { dead: true, ..Condition::default() };
                self.ztunnels[index].set(dead);
                self.ztunnels[index].settled().await;
            }
            self.ztunnels[index].set(condition);
            let condition = conditions::istiod(node, faults, world);
            self.istiod.set_at(index, Some(condition)).await?;
        }
        self.names.break_with(faults).await
    }

    /// Ends everything, the agents first.
    pub(super) async fn stop(self) {
        for agent in self.agents {
            agent.stop(GRACE).await;
        }
        self.servers.cancel();
        for ztunnel in self.ztunnels {
            ztunnel.stop().await;
        }
        drop((self.istiod, self.names));
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Start<'_> {
    /// The plans of all agents, and the pace that they have.
    async fn plans(&self) -> anyhow::Result<(Vec<plan::Plan>, Duration)> {
        let mut seats = Vec::new();
        for node in self.built.nodes() {
            seats.push(self.ambient(node).await?);
            seats.push(self.plain(node));
        }
        let frontend = SocketAddr::new(self.built.pod(&self.built.frontend).ip, SERVICE);
        let node = self.built.layout.frontend;
        let daemon = self.built.pod(&self.built.daemon);
        let frontend = match daemon.ambient {
            true => self.capture(node, daemon, frontend).await?,
            false => frontend,
        };
        let experiments = plan::ingress(node, frontend);
        seats.push(Place {
            node,
            from: From::Ingress,
            pod: &self.built.daemon,
            resolver: self.names.service(),
            istiod: self.istiod_of(node),
            experiments,
        });
        let targets: usize = seats.iter().map(|place| place.experiments.len()).sum();
        let light = Duration::from_secs_f64(targets as f64 / PACE as f64);
        let interval = self.options.interval.unwrap_or(light.max(Duration::from_secs(1)));
        let plans = seats.iter().map(|place| self.plan(place, interval));
        Ok((plans.collect::<anyhow::Result<_>>()?, interval))
    }

    fn plan(&self, place: &Place<'_>, interval: Duration) -> anyhow::Result<plan::Plan> {
        let Place { node, from, resolver, istiod, .. } = *place;
        let pod = self.built.pod(place.pod);
        let token = self.files.path().join(format!("{}-token", pod.ip));
        std::fs::write(&token, self.istiod.mint(pod))?;
        let applications = pod.ports.iter().filter_map(|port| port.application);
        let seat = Seat {
            node,
            from,
            layout: self.built.layout,
            pod,
            responder: applications.collect(),
            resolver,
            istiod,
            ca: &self.ca,
            token: &token,
            interval,
            timeout: if from == From::Ambient { self.longest } else { BRIEF },
        };
        plan::plan(&seat, &place.experiments)
    }

    /// The ambient agent of `node`: every way leads through its ztunnel.
    async fn ambient(&self, node: Node) -> anyhow::Result<Place<'_>> {
        let name = &self.built.ambient[self.index(node)];
        let pod = self.built.pod(name);
        let mut peers = Vec::new();
        for peer in self.peers(node) {
            let ambient = self.built.pod(&self.built.ambient[self.index(peer)]).ip;
            let plain = self.built.pod(&self.built.plain[self.index(peer)]).ip;
            let ways = [(ambient, PERMISSIVE), (ambient, CANARY), (plain, PERMISSIVE)];
            let mut led = Vec::new();
            for (ip, port) in ways {
                led.push(self.capture(node, pod, SocketAddr::new(ip, port)).await?);
            }
            peers.push((peer, [led[0], led[1], led[2]]));
        }
        let service = |ip| SocketAddr::new(ip, SERVICE);
        let frontend = self.capture(node, pod, service(self.built.frontend_ip)).await?;
        let monitoring = self.capture(node, pod, service(self.built.monitoring_ip)).await?;
        let nowhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 53), SERVICE));
        let istiod = self.capture(node, pod, self.istiod_of(node)).await?;
        let at = (self.index(node), node);
        let (names, nobody) = self.names.capture(at, frontend.ip(), istiod.ip()).await?;
        let captured = Captured {
            peers,
            frontend,
            monitoring,
            names,
            nobody,
            decoy: self.capture(node, pod, nowhere).await?,
            istiod,
            istiod_name: istiod_name(node),
        };
        let experiments = plan::ambient(node, pod, &self.built.frontend_name, &captured);
        Ok(Place { node, from: From::Ambient, pod: name, resolver: names, istiod, experiments })
    }

    /// The plain agent of `node`.
    fn plain(&self, node: Node) -> Place<'_> {
        let peer = |peer| {
            let index = self.index(peer);
            let plain = self.built.pod(&self.built.plain[index]).ip;
            let ambient = self.built.pod(&self.built.ambient[index]);
            (peer, ambient, SocketAddr::new(plain, PERMISSIVE))
        };
        let name = &self.built.plain[self.index(node)];
        let istiod = self.istiod_of(node);
        let open = Open {
            peers: self.peers(node).into_iter().map(peer).collect(),
            frontend: self.built.pod(&self.built.frontend).ip,
            monitoring: self.built.pod(&self.built.monitoring).ip,
            replicas: self.names.replicas(),
            nobody: SocketAddr::new(self.built.pod(name).ip, NOBODY_PORT),
            decoy: self.decoy,
            istiod,
            istiod_name: istiod_name(node),
            ztunnel: IpAddr::V4(self.built.ztunnels[self.index(node)]),
        };
        let named = (self.built.frontend_name.as_str(), self.built.frontend_ip);
        let experiments = plan::plain(node, named, &open);
        let resolver = self.names.service();
        Place { node, from: From::Plain, pod: name, resolver, istiod, experiments }
    }

    /// Where `pod`'s connections to `destination` are captured.
    async fn capture(
        &self,
        node: Node,
        pod: &Pod,
        destination: SocketAddr,
    ) -> anyhow::Result<SocketAddr> {
        let alias = IpAddr::V4(self.addresses.next());
        self.ztunnels[self.index(node)].capture(pod.ip, destination, alias).await?;
        Ok(SocketAddr::new(alias, destination.port()))
    }

    /// The nodes after `node`, in a ring.
    fn peers(&self, node: Node) -> Vec<Node> {
        let count = self.options.nodes;
        let peers = self.options.peers.min(count - 1);
        (1..=peers).map(|step| Node((node.0 - 1 + step) % count + 1)).collect()
    }

    fn istiod_of(&self, node: Node) -> SocketAddr {
        self.istiod.addresses()[self.index(node)]
    }

    fn index(&self, node: Node) -> usize {
        usize::from(node.0) - 1
    }
}

/// A ztunnel for each node.
async fn start_ztunnels(
    built: &Built,
    authority: &Arc<Authority>,
    time_scale: f64,
) -> anyhow::Result<Vec<Ztunnel>> {
    let mut ztunnels = Vec::new();
    for (node, own_ip) in built.nodes().zip(&built.ztunnels) {
        let (name, own_ip) = (node.to_string(), IpAddr::V4(*own_ip));
        let (world, authority) = (Arc::clone(&built.world), Arc::clone(authority));
        let started = Ztunnel::start(&name, own_ip, world, authority, Timing::scaled(time_scale));
        ztunnels.push(started.await.with_context(|| format!("the ztunnel of {node}"))?);
    }
    Ok(ztunnels)
}

/// Those of `plans` that are not left to others; with a directory, the rest is written there.
fn run_here(plans: Vec<plan::Plan>, exported: Option<&Path>) -> anyhow::Result<Vec<plan::Plan>> {
    let Some(directory) = exported else { return Ok(plans) };
    let left = |plan: &plan::Plan| plan.node == EXPORTED && plan.from != From::Ingress;
    let (left, here): (Vec<_>, Vec<_>) = plans.into_iter().partition(left);
    left.iter().try_for_each(|plan| export(directory, plan))?;
    Ok(here)
}

/// Writes `plan` as the configuration of an agent outside this process, without the row that asks
/// istiod by name: such an agent has the resolv.conf of this machine, which knows no lab.
fn export(directory: &Path, plan: &plan::Plan) -> anyhow::Result<()> {
    let path = directory.join(format!("{}-{}.yaml", plan.node, plan.from));
    let by_name = format!("  - {{ name: {},", Row::PlainIstiodName.target());
    let lines = plan.yaml.lines().filter(|line| !line.starts_with(&by_name));
    let yaml: String = lines.flat_map(|line| [line, "\n"]).collect();
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, yaml))
        .with_context(|| format!("--export: {}", path.display()))
}

/// One istiod with an address for each node.
async fn start_istiod(built: &Built, authority: &Arc<Authority>) -> anyhow::Result<Istiod> {
    let listen = built.istiods.iter().map(|ip| SocketAddr::from((*ip, ISTIOD_PORT))).collect();
    let setup = Setup { listen, monitoring: None };
    let tokens = Arc::new(Tokens::default());
    let (world, signer) = (Arc::clone(&built.world), Arc::clone(authority));
    Istiod::start(setup, world, signer, tokens).await
}

/// An agent that runs `plan`, and whose attempts become `events`.
async fn start_agent(
    plan: plan::Plan,
    events: &mpsc::Sender<Event>,
    tasks: &TaskTracker,
) -> anyhow::Result<Agent> {
    let resolver = Resolver::with_nameservers(vec![plan.resolver], SearchList::default());
    let mut agent = Agent::start(plan.config, Some(resolver)).await?;
    let (mut attempts, events, cells) = (agent.follow(), events.clone(), plan.cells);
    tasks.spawn(async move {
        while let Some(attempt) = attempts.recv().await {
            let Some(cell) = cells.get(&attempt.target).copied() else { continue };
            let at = Instant::now();
            // Its control came after it, so its own duration does not reach back to its start.
            let took = attempt.started_at.elapsed().unwrap_or(attempt.duration);
            if events.send(Event { cell, attempt, at, took }).await.is_err() {
                break;
            }
        }
    });
    Ok(agent)
}

/// Serves the application of `pod`.
fn serve(pod: &Pod, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let config = ResponderConfig {
        listen: pod.ports.iter().filter_map(|port| port.application).collect(),
        max_connections: 1024,
        max_body: 1024 * 1024,
        max_requests_per_second: 10_000,
        idle_timeout: Duration::from_secs(300),
    };
    let vantage = Some(if pod.ambient { Vantage::Ambient } else { Vantage::Plain });
    let identity = Identity { node: pod.node.clone(), zone: None, vantage };
    let responder = Responder::bind(&config, &identity)?;
    tasks.spawn(responder.serve(stop.clone().cancelled_owned()));
    Ok(())
}
