//! `meshprobe lab`: a whole small mesh on loopback, and the agents of both vantages that run the
//! truth table on it. No cluster, no privileges: demo, test fixture, benchmark target.
//!
//! Every part that a cluster would have is here, wrong when told so; the agents are the real ones.

mod address;
mod api;
mod blame;
pub mod board;
pub mod ca;
pub mod cell;
mod conditions;
mod diagnosing;
pub mod dns;
pub mod fault;
mod gate;
pub mod istiod;
mod mesh;
mod names;
mod picture;
mod plan;
mod port;
mod promises;
mod screen;
pub mod signature;
mod table;
pub mod world;
pub mod ztunnel;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::flow::FleetFlows;
use crate::gate::Scope;
use crate::gate::answer::Ask;
use crate::gate::gauges::gauges;
use api::Question;
pub use blame::{blame, replica_name};
use board::{Board, Finding, Totals};
use cell::Cell;
use diagnosing::Diagnosing;
pub use diagnosing::Named;
use fault::Fault;
use mesh::Mesh;
use screen::Screen;
use signature::Sight;

/// How often the live table is drawn again.
const FRAME: Duration = Duration::from_millis(250);
/// How often what is wrong is concluded from what was seen.
const LOOK: Duration = Duration::from_millis(500);
/// Attempts that wait to be shown; the lab reads them as they come.
const WAITING: usize = 65_536;

/// What the lab is asked to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes, each with a ztunnel and the agents of both vantages.
    pub nodes: u16,
    /// Peers that each agent probes; at most all others.
    pub peers: u16,
    /// Time between two attempts of one target; `None` fits it to the number of targets.
    pub interval: Option<Duration>,
    /// Where the configurations of node-1's agents are written, for others to run; `None` runs
    /// them here.
    pub export: Option<PathBuf>,
    /// Ends by itself after this long.
    pub duration: Option<Duration>,
    /// Ends this long after every fault has turned all that it should, if that is sooner.
    pub settle: Option<Duration>,
    /// Where a controller's API is answered for this mesh.
    pub listen: Option<SocketAddr>,
    /// Whether the tunnel daemon is part of the mesh.
    pub enrolled: bool,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// Divides the long timeouts of a real ztunnel.
    pub time_scale: f64,
    /// Columns and lines of the terminal; plain lines without one.
    pub terminal: Option<(usize, usize)>,
}

/// What the lab saw.
#[derive(Debug)]
pub struct Report {
    /// Attempts by verdict.
    pub totals: Totals,
    /// What each fault did.
    pub findings: Vec<Finding>,
    /// Cells that were not met without a cause.
    pub strays: Vec<(Cell, Vec<Sight>)>,
    /// Who called whom, as the ztunnels counted it.
    pub flows: FleetFlows,
    /// The namespaces of probers.
    pub own_namespaces: BTreeSet<String>,
    /// Every component that was ever named as broken, in that order.
    pub named: Vec<Named>,
    /// What was broken at the end.
    pub diagnosed: crate::diagnosis::Report,
}

impl Report {
    /// Whether every fault turned what the signature table says, and nothing else turned.
    pub fn is_as_stated(&self) -> bool {
        let exact = |finding: &Finding| finding.unmoved.is_empty() && finding.otherwise.is_empty();
        self.strays.is_empty() && self.findings.iter().all(exact)
    }

    /// Whether anything turned that should not have, or otherwise than it should have.
    pub fn contradicts(&self) -> bool {
        !self.strays.is_empty() || self.findings.iter().any(|finding| !finding.otherwise.is_empty())
    }
}

/// An attempt with its place in the truth table, and when it ended.
struct Event {
    cell: Cell,
    attempt: Attempt,
    at: Instant,
    /// From its start to then, its control included.
    took: Duration,
}

/// The runtime of a lab: a thread more than its agents need, so that what stands in for the mesh
/// does not starve them.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Runs a lab until its duration is over or `stop` is cancelled, then prints a summary.
pub async fn run(
    options: Options,
    stop: CancellationToken,
    out: &mut dyn Write,
) -> anyhow::Result<Report> {
    let (sender, mut events) = mpsc::channel(WAITING);
    let mesh = Mesh::start(&options, sender).await?;
    let mut screen = Screen::new(options.terminal);
    screen.open(&mesh.opening(options.export.as_deref()), out)?;
    let (asked, api) = listen(options.listen, &mesh, &stop).await?;
    api.iter().try_for_each(|at| writeln!(out, "A controller's API is on http://{at}."))?;
    let mut diagnosing = Diagnosing::new(options.nodes, mesh.layout());
    let mut board =
        Board::new(mesh.cells(), options.faults.clone(), mesh.layout(), mesh.longest_attempt());
    let seen = gate::Seen::new();
    let mut seen = Seen { board: &mut board, diagnosing: &mut diagnosing, seen, asked };
    let ended = watch(&options, &mesh, &stop, &mut events, &mut seen, &mut screen, out).await;
    let (named, diagnosed) = diagnosing.end();
    let (flows, own_namespaces) = (mesh.flows(), mesh.own_namespaces());
    mesh.stop().await;
    ended?;
    let report = Report {
        totals: board.totals(),
        findings: board.findings(),
        strays: board.strays(),
        flows,
        own_namespaces,
        named,
        diagnosed,
    };
    screen.close(&board, &report, out)?;
    Ok(report)
}

/// Faults as they come and go: at which moments, and which are there then.
fn moments(faults: &[Fault]) -> Vec<Duration> {
    let ends = faults.iter().filter_map(|fault| Some(fault.start + fault.duration?));
    let mut all: Vec<Duration> = faults.iter().map(|fault| fault.start).chain(ends).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether `fault` is there `at` this time after the start.
fn is_there(fault: &Fault, at: Duration) -> bool {
    fault.start <= at && fault.duration.is_none_or(|duration| at < fault.start + duration)
}

/// Who looks at attempts.
struct Seen<'a> {
    board: &'a mut Board,
    diagnosing: &'a mut Diagnosing,
    seen: gate::Seen,
    asked: mpsc::Receiver<Question>,
}

/// Answers a controller's API `at` this address, if there is one; also where it is then.
async fn listen(
    at: Option<SocketAddr>,
    mesh: &Mesh,
    stop: &CancellationToken,
) -> anyhow::Result<(mpsc::Receiver<Question>, Option<SocketAddr>)> {
    let Some(at) = at else { return Ok((mpsc::channel(1).1, None)) };
    let listener = TcpListener::bind(at).await.with_context(|| format!("--listen {at}"))?;
    let at = listener.local_addr()?;
    Ok((api::serve(listener, mesh.tasks(), stop.child_token()), Some(at)))
}

/// Answers a question.
fn answer(
    question: Question,
    mesh: &Mesh,
    there: &[Fault],
    diagnosing: &Diagnosing,
    seen: &gate::Seen,
) {
    let json = |told: serde_json::Result<String>| told.expect("text keys and finite numbers");
    // Who asked may be gone.
    match question {
        Question::Diagnoses(to) => {
            let _ = to.send(json(serde_json::to_string(&diagnosing.diagnoses())));
        }
        Question::Slos(to) => {
            let report = seen.promises().report(&diagnosing.diagnoses());
            let _ = to.send(json(serde_json::to_string(&report)));
        }
        Question::Flows(to) => {
            let _ = to.send(json(serde_json::to_string(&mesh.flows())));
        }
        Question::Gate(ask, to) => {
            let _ = to.send(gate::judge(&ask, mesh, there, seen));
        }
        Question::Metrics(to) => {
            let ask = Ask { scope: Scope::Mesh, settings: gate::SETTINGS };
            let metrics = diagnosing.metrics();
            metrics.gate(&gauges(&gate::judge(&ask, mesh, there, seen)));
            let _ = to.send(metrics.exposition().collect());
        }
        Question::Targets(to) => {
            let targets = serde_json::json!([{ "targets": mesh.admins() }]);
            let _ = to.send(targets.to_string());
        }
        Question::Known(to) => {
            let _ = to.send(picture::known(mesh, diagnosing, seen));
        }
        Question::Attempts(whose, to) => {
            let _ = to.send(seen.attempts(&whose));
        }
    }
}

async fn watch(
    options: &Options,
    mesh: &Mesh,
    stop: &CancellationToken,
    events: &mut mpsc::Receiver<Event>,
    Seen { board, diagnosing, seen, asked }: &mut Seen<'_>,
    screen: &mut Screen,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let began = mesh.began();
    let mut moments = moments(&options.faults).into_iter().peekable();
    let mut frames = tokio::time::interval(FRAME);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut end = options.duration;
    let mut settled = options.settle.is_none();
    let mut there: Vec<Fault> = Vec::new();
    seen.observe(mesh, &there);
    loop {
        let until = |at: Option<Duration>| async move {
            match at {
                Some(at) => tokio::time::sleep_until(began + at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = until(end) => return Ok(()),
            () = until(moments.peek().copied()) => {
                let at = moments.next().expect("it was awaited");
                there = options.faults.iter().filter(|fault| is_there(fault, at)).copied().collect();
                seen.observe(mesh, &there);
                mesh.break_with(&there).await?;
                screen.announce(at, &there, out)?;
            }
            Some(Event { cell, attempt, at, took }) = events.recv() => {
                diagnosing.hear(&cell, &attempt);
                seen.hear(&cell, &attempt, &mesh.layout());
                let at = at.saturating_duration_since(began);
                let change = board.note(cell, &attempt, at, took);
                screen.note(&cell, &attempt, change, out)?;
            }
            Some(question) = asked.recv() => answer(question, mesh, &there, diagnosing, seen),
            _ = looks.tick() => {
                let changes = diagnosing.conclude(began.elapsed());
                screen.diagnose(diagnosing.report(), &changes, out)?;
            }
            _ = frames.tick() => {
                screen.draw(board, out)?;
                if !settled && board.findings().iter().all(|finding| finding.unmoved.is_empty()) {
                    settled = true;
                    let then = began.elapsed() + options.settle.unwrap_or_default();
                    end = Some(end.map_or(then, |end| end.min(then)));
                }
            }
        }
    }
}
