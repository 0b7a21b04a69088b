//! `meshprobe controller`: the long-running role that tells agents what to probe and hears what
//! they saw.
//!
//! An order of effects: configuration, discovery, plans, the control channel, the API. Stateless:
//! every replica watches the cluster and serves plans and `/v1/nodes` by itself, and only the
//! holder of a Lease writes Events. The only role that talks to the Kubernetes API.

pub mod analyse;
mod announce;
mod api;
mod collect;
mod desk;
mod each_peer;
mod flows;
mod gate;
mod machines;
mod page;
mod planner;
mod rekey;
mod revisions;
mod roster;
mod scraped;
mod settings;
mod sighting;
pub(crate) mod slo;
pub mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::analysis::Pace;
use crate::channel::{Bounds, Key, Listener};
use crate::cluster::{Finding, ObjectRef};
use crate::config::{self, ControllerConfig, Mistake, SourceChoice};
use crate::discovery::events::{Count, Events};
use crate::discovery::lease::{self, Election};
use crate::discovery::{self, Access, Client, Snapshot, Watches};
use crate::evidence::Evidence;
use crate::metrics::ControllerMetrics;
use crate::slo::Slo;
use desk::Desk;
use planner::Planned;
use revisions::Revisions;
use roster::Roster;

/// The Lease whose holder writes Events.
const LEASE: &str = "meshprobe-controller";
/// Connections that the API holds at once.
const API_CONNECTIONS: u32 = 256;
/// How long exchanges and tasks may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// A running controller. Dropped without [`Controller::stop`] it goes on until its runtime ends.
#[derive(Debug)]
pub struct Controller {
    api: SocketAddr,
    channel: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the parts of a controller look at.
#[derive(Debug)]
struct Shared {
    /// The latest plans; nothing before the cluster was read once.
    planned: watch::Receiver<Option<Arc<Planned>>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    watches: Watches,
    roster: Arc<Roster>,
    /// What agents told in the last few minutes.
    evidence: Arc<Evidence>,
    /// How long what a Prometheus told of an agent speaks of it; `None` when agents are asked.
    patience: Option<Duration>,
    analysis: analyse::Analysis,
    announcements: announce::Announcements,
    flows: flows::Told,
    gate: gate::Gate,
    /// What is promised.
    slos: Vec<Slo>,
    revisions: Revisions,
    metrics: ControllerMetrics,
    /// Whether agents prove that they hold the shared key.
    keyed: bool,
    leads: watch::Receiver<bool>,
    events: watch::Receiver<Count>,
}

impl Controller {
    /// Starts the controller that `config` describes, reading the cluster through `client`.
    pub async fn start(config: &ControllerConfig, client: &Client) -> anyhow::Result<Self> {
        let key = config.channel.key.as_deref().map(Key::load).transpose()?;
        if key.is_none() {
            tracing::warn!(
                "channel.key is not stated: whoever reaches the channel can speak on it"
            );
        }
        let (scraped, past) = (scraped::source(config)?, scraped::configured(config)?);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let at = config.listen;
        let listener = TcpListener::bind(at).await;
        let listener = listener.with_context(|| format!("the API cannot listen on {at}"))?;
        let at = config.channel.listen;
        let channel = Listener::bind(at, key.as_ref(), Bounds::default());
        let channel = channel.with_context(|| format!("the channel cannot listen on {at}/udp"))?;
        let addresses = (listener.local_addr()?, channel.local_addr()?);

        let following = discovery::follow(client, settings::discovery(config), stop.clone());
        tasks.spawn(ended("discovery", following.task, stop.clone()));
        let (fleet, roster) = (settings::fleet(config)?, Arc::<Roster>::default());
        let (planner, planned) =
            planner::planner(following.snapshots.clone(), fleet, Arc::clone(&roster));
        tasks.spawn(planner.run(stop.clone()));
        let announcements = announce::Announcements::new(announce::Places {
            coredns: (config.coredns.namespace.clone(), config.coredns.name.clone()),
            istiod: (config.istio.namespace.clone(), config.istio.service.clone()),
        });
        let told = (following.snapshots.clone(), announcements.told());
        let (leads, events) = announce(config, client, told, &tasks, &stop);
        let shared = Arc::new(Shared {
            planned,
            snapshots: following.snapshots,
            watches: following.watches,
            roster,
            evidence: Arc::default(),
            patience: scraped.as_ref().map(|_| Pace::BY_MINUTES.silent),
            analysis: analyse::Analysis::new(scraped::pace(scraped.as_ref())),
            announcements,
            flows: flows::Told::default(),
            gate: gate::Gate::new(config),
            slos: config.slos.clone(),
            revisions: Revisions::default(),
            metrics: ControllerMetrics::new(),
            keyed: key.is_some(),
            leads,
            events,
        });
        let peers = (channel.peers(), channel.meter());
        if let Some((path, key)) = config.channel.key.clone().zip(key) {
            tasks.spawn(rekey::run(path, key, channel.lock(), stop.clone()));
        }
        tasks.spawn(channel.run(Desk::new(Arc::clone(&shared)), stop.clone()));
        let hearing = Arc::clone(&shared);
        match scraped {
            Some(prometheus) => tasks.spawn(scraped::run(hearing, prometheus, stop.clone())),
            None => {
                let collect = collect::run(hearing, peers.0.clone(), tasks.clone(), stop.clone());
                tasks.spawn(collect)
            }
        };
        let counting = (Arc::clone(&shared), peers.0.clone());
        tasks.spawn(flows::run(counting.0, counting.1, tasks.clone(), stop.clone()));
        tasks.spawn(analyse::run(Arc::clone(&shared), stop.clone()));
        let gate = tokio::spawn(gate::run(Arc::clone(&shared), stop.clone()));
        tasks.spawn(ended("gate", gate, stop.clone()));
        let told = page::Told { shared, prometheus: past };
        tasks.spawn(api::serve(listener, told, peers, stop.clone(), tasks.clone()));
        Ok(Self { api: addresses.0, channel: addresses.1, stop, tasks })
    }

    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.api
    }

    /// Where the control channel listens, UDP.
    pub fn channel_addr(&self) -> SocketAddr {
        self.channel
    }

    /// Ends: the Lease given back, connections closed; a few seconds at most.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        let deadline = tokio::time::Instant::now() + GRACE;
        let _ = tokio::time::timeout_at(deadline, self.tasks.wait()).await;
    }
}

/// Runs for the Lease and writes Events while it is held; without knowing who it is, neither.
fn announce(
    config: &ControllerConfig,
    client: &Client,
    (snapshots, incidents): (watch::Receiver<Arc<Snapshot>>, watch::Receiver<Arc<Vec<Finding>>>),
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> (watch::Receiver<bool>, watch::Receiver<Count>) {
    let (counts, counted) = watch::channel(Count::default());
    let Some(pod) = &config.pod else {
        tracing::warn!(
            "MESHPROBE_POD_NAME and MESHPROBE_POD_NAMESPACE are not set: no Events are written"
        );
        return (watch::channel(false).1, counted);
    };
    let election = Election {
        namespace: pod.namespace.clone(),
        name: LEASE.to_owned(),
        identity: pod.name.clone(),
    };
    let candidate = lease::campaign(client, election, stop.clone());
    tasks.spawn(ended("election", candidate.task, stop.clone()));
    let home = ObjectRef {
        kind: "Pod".to_owned(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: config.pod_uid.clone(),
    };
    let events = Events::new(client, home);
    let leads = candidate.leads.clone();
    tasks.spawn(events.run(snapshots, incidents, candidate.leads, counts, stop.clone()));
    (leads, counted)
}

/// A part that must not end before the controller does: without it the rest would go on blind.
async fn ended(part: &str, task: tokio::task::JoinHandle<()>, stop: CancellationToken) {
    let outcome = task.await;
    if !stop.is_cancelled() {
        tracing::error!(part, ?outcome, "ended by itself: the controller ends too");
        stop.cancel();
    }
}

/// Runs the controller that the file at `path` describes until `stop`; `chosen` stands before what
/// it says of the same.
pub async fn run(
    path: PathBuf,
    variables: BTreeMap<String, String>,
    chosen: Option<SourceChoice>,
    access: Access,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut config = load(&path, &variables).map_err(|mistakes| named(&path, &mistakes))?;
    if let Some(chosen) = chosen {
        chosen.apply(&mut config)?;
    }
    let client = discovery::client(&access).await?;
    let controller = Controller::start(&config, &client).await?;
    tracing::info!(api = %controller.api_addr(), channel = %controller.channel_addr(), "watching");
    let own = controller.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = own.cancelled() => anyhow::bail!("a part of the controller ended; its log says why"),
    }
    tracing::info!("ending");
    controller.stop().await;
    Ok(())
}

/// Reads the controller's configuration at `path`.
pub fn load(
    path: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<ControllerConfig, Vec<Mistake>> {
    match config::read(path) {
        Ok(text) => config::parse_controller(&text, variables),
        Err(error) => Err(vec![Mistake::of_file(&error)]),
    }
}

fn named(path: &Path, mistakes: &[Mistake]) -> anyhow::Error {
    let file = path.display().to_string();
    let lines: Vec<String> =
        mistakes.iter().map(|mistake| mistake.in_file(&file).to_string()).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}
