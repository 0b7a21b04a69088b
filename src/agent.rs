//! `meshprobe agent`: the long-running role. Probes its targets, answers peers, tells metrics.
//!
//! An order of effects: configuration, probes, servers, slots. A configuration that is bad at the
//! start ends the agent; a bad one later leaves the old one running.

mod admin;
mod blackbox;
mod books;
mod directions;
mod flows;
mod following;
mod membership;
mod plans;
mod reload;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::Attempt;
use crate::config::{Config, Mistake};
use crate::flow::NodeFlows;
use crate::identity;
use crate::metrics::{Metrics, Settings};
use crate::net::Resolver;
use crate::plan;
use crate::probe::Environment;
use crate::responder::Responder;
use crate::runner::Runner;
use crate::tls::Mesh;
use crate::window::Window;
use admin::{Admin, Questions};
use books::{Books, Follower};
use directions::Directions;
use flows::Flows;
use membership::Membership;
use plans::Plans;

pub use directions::Offer;
pub use reload::run;

const HOSTS: &str = "/etc/hosts";
/// Attempts that wait for a follower; a slow one loses further attempts, never delays them.
const FOLLOWED: usize = 4096;

/// A running agent. Dropped without [`Agent::stop`] it goes on until its runtime ends.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    runner: Runner<Books>,
    admin: Arc<Admin>,
    admin_addr: SocketAddr,
    responder_addrs: Vec<SocketAddr>,
    follower: Follower,
    /// Nothing when a resolver stands in.
    resolving: Option<Resolving>,
    environment: Environment,
    /// Nothing when the agent takes no part in the mesh.
    membership: Membership,
    window: Arc<Window>,
    flows: Arc<Flows>,
    plans: Plans,
    /// Nothing when no plans are to be followed.
    directions: Option<Directions>,
    servers: CancellationToken,
    tasks: TaskTracker,
}

impl Agent {
    /// Starts the agent that `config` describes, with the plan that it followed last if that was
    /// kept. `resolver` stands in for resolv.conf and hosts.
    pub async fn start(config: Config, resolver: Option<Resolver>) -> anyhow::Result<Self> {
        let resolving = resolver.is_none().then(|| Resolving::look(&config.resolv_conf));
        let environment = environment(&config, resolver, Arc::default())?;
        let mut plans = Plans::default();
        plans.set_own(plan::prepare(&config, &environment, &[]).map_err(told)?);
        check_modules(&config, &environment).map_err(told)?;
        let metrics = Arc::new(Metrics::new(&settings(&config)));
        metrics.reloaded(true);
        let membership = Membership::begin(config.mesh.as_ref(), &environment, &metrics)?;
        let follower = Follower::default();
        let (books, window, flows) = books(&config, &metrics, &follower);
        let runner = Runner::new(&config.identity, config.limits, books);

        let listen = config.admin.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("the admin server cannot listen on {listen}"))?;
        let admin_addr = listener.local_addr()?;
        let (servers, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut responder_addrs = Vec::new();
        let mut responder_stats = None;
        if let Some(config_) = &config.responder {
            let responder = Responder::bind(config_, &config.identity)?;
            responder_addrs = responder.local_addrs();
            responder_stats = Some(responder.stats());
            tasks.spawn(responder.serve(servers.clone().cancelled_owned()));
        }
        let admin = Arc::new(Admin::new(
            &config.admin,
            Questions { modules: config.modules.clone(), environment: environment.clone() },
            metrics,
            (Arc::clone(&window), Arc::clone(&flows)),
            runner.in_flight_count(),
            responder_stats,
        ));
        tasks.spawn(admin::serve(
            listener,
            config.admin.max_connections,
            Arc::clone(&admin),
            servers.clone(),
            tasks.clone(),
        ));
        let mut agent = Self {
            config,
            runner,
            admin,
            admin_addr,
            responder_addrs,
            follower,
            resolving,
            environment,
            membership,
            window,
            flows,
            plans,
            directions: None,
            servers,
            tasks,
        };
        agent.look_for_plans().await?;
        agent.probe_all().await;
        agent.admin.set_ready(true);
        Ok(agent)
    }

    /// Where the admin server listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Where the responder listens; empty without one.
    pub fn responder_addrs(&self) -> &[SocketAddr] {
        &self.responder_addrs
    }

    /// How the agent stands in the mesh, and whenever that changes; `None` when it takes no part.
    pub fn identity(&self) -> Option<watch::Receiver<identity::Status>> {
        self.membership.status()
    }

    /// What this node's ztunnel counted, as on `/v1/flows`.
    pub fn flows(&self) -> NodeFlows {
        self.flows.told()
    }

    /// Every attempt from now on, as it is judged. A second follower gets nothing.
    ///
    /// A slow follower loses attempts and never delays them.
    pub fn follow(&mut self) -> mpsc::Receiver<Attempt> {
        let (follower, attempts) = mpsc::channel(FOLLOWED);
        let _ = self.follower.set(follower);
        attempts
    }

    /// Runs by `config` from now on; targets that are configured as before, with the same in
    /// their files, go on undisturbed.
    ///
    /// On mistakes nothing changes. Identity, listeners, limits and buckets stay as they were
    /// until a restart; which of them would have changed is told.
    pub async fn apply(&mut self, config: Config) -> Result<Vec<&'static str>, Vec<Mistake>> {
        let resolving = self.resolving.is_some().then(|| Resolving::look(&config.resolv_conf));
        let resolves_as_before = resolving == self.resolving;
        // Without a mesh nothing of the old one is to be left.
        let left = config.mesh.is_none() && self.config.mesh.is_some();
        let same = resolves_as_before && !left;
        let mut environment = if resolves_as_before {
            self.environment.clone()
        } else {
            environment(&config, None, Arc::clone(&self.environment.mesh))
                .map_err(|error| vec![Mistake::of_text(format!("{error:#}"), "mend resolv_conf")])?
        };
        if left {
            environment.mesh = Arc::default();
        }
        let previous = if same { self.plans.own() } else { &[] };
        let targets = plan::prepare(&config, &environment, previous)?;
        check_modules(&config, &environment)?;
        let joins_anew = !resolves_as_before || config.mesh != self.config.mesh;
        let new_membership = joins_anew
            .then(|| self.membership.again(config.mesh.as_ref(), &environment))
            .transpose()
            .map_err(|error| vec![Mistake::of_text(format!("{error:#}"), "mend mesh")])?;
        let fixed = [
            ("node, zone, vantage", config.identity != self.config.identity),
            ("admin", config.admin != self.config.admin),
            ("responder", config.responder != self.config.responder),
            ("limits", config.limits != self.config.limits),
            ("buckets, or a threshold of an SLO", config.bounds() != self.config.bounds()),
        ];
        let elsewhere = !resolves_as_before
            || config.controllers != self.config.controllers
            || config.identity != self.config.identity;
        let questions = Questions { modules: config.modules.clone(), environment };
        self.environment = questions.environment.clone();
        if let Some(new) = new_membership {
            std::mem::replace(&mut self.membership, new).end().await;
        }
        self.resolving = resolving;
        self.admin.ask(questions);
        self.config = config;
        self.plans.set_own(targets);
        self.renew_plans(same, elsewhere).await;
        self.probe_all().await;
        Ok(fixed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect())
    }

    /// Ends: not ready any more, attempts under way cancelled, servers closed; `grace` at most.
    pub async fn stop(mut self, grace: Duration) {
        self.admin.set_ready(false);
        self.runner.stop(grace).await;
        self.membership.end().await;
        if let Some(directions) = self.directions {
            directions.end().await;
        }
        self.servers.cancel();
        self.tasks.close();
        let deadline = tokio::time::Instant::now() + grace;
        let _ = tokio::time::timeout_at(deadline, self.tasks.wait()).await;
    }
}

/// Where attempts are written down, and what is told of them.
fn books(
    config: &Config,
    metrics: &Arc<Metrics>,
    follower: &Follower,
) -> (Books, Arc<Window>, Arc<Flows>) {
    let window = Arc::new(Window::new(&config.identity.node, config.identity.vantage));
    let pod = config.mesh.as_ref().and_then(|mesh| mesh.pod.as_ref());
    let namespace = pod.map(|pod| pod.namespace.as_str());
    let flows = Arc::new(Flows::new(&config.identity.node, namespace));
    let (metrics, follower) = (Arc::clone(metrics), Arc::clone(follower));
    (Books::new(metrics, Arc::clone(&window), Arc::clone(&flows), follower), window, flows)
}

/// What names are resolved by: while it is the same, so are the answers of a resolver.
#[derive(Debug, PartialEq)]
struct Resolving {
    resolv_conf: Option<Vec<u8>>,
    hosts: Option<Vec<u8>>,
}

impl Resolving {
    fn look(resolv_conf: &Path) -> Self {
        let read = |path: &Path| std::fs::read(path).ok();
        Self { resolv_conf: read(resolv_conf), hosts: read(Path::new(HOSTS)) }
    }
}

fn environment(
    config: &Config,
    resolver: Option<Resolver>,
    mesh: Arc<Mesh>,
) -> anyhow::Result<Environment> {
    let resolver = match resolver {
        Some(resolver) => resolver,
        None => Resolver::load(&config.resolv_conf, Path::new(HOSTS))
            .with_context(|| format!("resolv_conf {}", config.resolv_conf.display()))?,
    };
    Ok(Environment { resolver: Arc::new(resolver), mesh })
}

/// Modules that no target uses are asked by `/probe`: their files must be usable too.
fn check_modules(config: &Config, environment: &Environment) -> Result<(), Vec<Mistake>> {
    let mistakes = plan::check_modules(config, environment);
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
}

fn settings(config: &Config) -> Settings {
    Settings {
        node: config.identity.node.clone(),
        zone: config.identity.zone.clone(),
        vantage: config.identity.vantage,
        buckets: config.bounds(),
    }
}

fn told(mistakes: Vec<Mistake>) -> anyhow::Error {
    lines(mistakes.iter().map(ToString::to_string))
}

/// All mistakes as one error, a line each.
fn lines(mistakes: impl Iterator<Item = String>) -> anyhow::Error {
    anyhow::anyhow!("{}", mistakes.collect::<Vec<_>>().join("\n"))
}

/// The environment variables that a configuration may take its identity from.
pub type Variables = BTreeMap<String, String>;
