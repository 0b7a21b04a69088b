//! The gate of a controller: puts together what it judges by, and answers those who ask.
//!
//! Judges nothing itself: [`crate::gate`] does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::cluster::Agent;
use crate::config::ControllerConfig;
use crate::controller::Shared;
use crate::controller::roster::Seat;
use crate::evidence::Source;
use crate::gate::answer::Ask;
use crate::gate::change::History;
use crate::gate::gauges::gauges;
use crate::gate::tally::Tally;
use crate::gate::{self, Evidence, Report, Scope, Settings, Standing, Unprobed};

/// How far back "now" reaches: what the controller remembers of each path.
const WINDOW: Duration = Duration::from_secs(300);
/// How far back a path is looked at by itself.
const LATELY: Duration = Duration::from_secs(60);
/// An agent that was asked and heard longer ago is not linked.
const FRESH: Duration = Duration::from_secs(60);
/// How often policies are looked at, and windows counted.
const EVERY: Duration = Duration::from_secs(10);
/// For how long an answer is given again.
const KEPT: Duration = Duration::from_secs(5);
/// And for how long it is shown to those who must not wait for another.
const RECENT: Duration = Duration::from_secs(60);
/// Answers that are kept.
const MOST_ANSWERS: usize = 64;

/// What the gate remembers beyond the windows.
#[derive(Debug)]
pub(super) struct Gate {
    settings: Settings,
    root_namespace: String,
    ambient_namespace: String,
    own_namespaces: BTreeSet<String>,
    /// Whose gate is in the metrics.
    scopes: Vec<Scope>,
    memory: Mutex<Memory>,
    answers: Mutex<Vec<Answer>>,
    /// One is judged at a time: of a large fleet it is much work.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Memory {
    tally: Tally,
    history: History,
}

#[derive(Debug)]
struct Answer {
    ask: Ask,
    at: Instant,
    report: Arc<Report>,
}

impl Gate {
    pub(super) fn new(config: &ControllerConfig) -> Self {
        let named = config.gate.namespaces.iter().map(|name| Scope::of(name));
        let own = [&config.ambient_namespace, &config.plain_namespace];
        Self {
            settings: Settings {
                objective: config.gate.objective,
                confidence: config.gate.confidence,
                quiet: config.gate.quiet,
            },
            root_namespace: config.istio.root_namespace.clone(),
            ambient_namespace: config.ambient_namespace.clone(),
            own_namespaces: own.map(String::clone).into(),
            scopes: [Scope::Mesh].into_iter().chain(named).collect(),
            memory: Mutex::new(Memory {
                tally: Tally::new(OffsetDateTime::now_utc()),
                history: History::default(),
            }),
            answers: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// By which measure it judges unless it is asked by another one.
    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    fn known(&self, ask: &Ask) -> Option<Arc<Report>> {
        let mut answers = self.answers.lock().expect("no panic while held");
        answers.retain(|answer| answer.at.elapsed() < RECENT);
        let mut found = answers.iter().rev().filter(|answer| answer.at.elapsed() < KEPT);
        found.find(|answer| answer.ask == *ask).map(|answer| Arc::clone(&answer.report))
    }

    /// The last answer to `ask`, at most [`RECENT`] old: for those who must not wait.
    pub(super) fn recent(&self, ask: &Ask) -> Option<Arc<Report>> {
        let answers = self.answers.lock().expect("no panic while held");
        let mut found = answers.iter().rev().filter(|answer| answer.at.elapsed() < RECENT);
        found.find(|answer| answer.ask == *ask).map(|answer| Arc::clone(&answer.report))
    }

    fn keep(&self, ask: Ask, report: &Arc<Report>) {
        let mut answers = self.answers.lock().expect("no panic while held");
        answers.retain(|answer| answer.ask != ask);
        if answers.len() >= MOST_ANSWERS {
            answers.remove(0);
        }
        answers.push(Answer { ask, at: Instant::now(), report: Arc::clone(report) });
    }
}

/// Counts windows, follows policies, and judges the scopes of the metrics, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0_u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let counting = Arc::clone(&shared);
        let counted = tokio::task::spawn_blocking(move || counting.count()).await;
        if let Err(error) = counted {
            tracing::error!(%error, "the gate counts nothing");
            return;
        }
        // A scope in each round: the first judges the mesh.
        let scopes = &shared.gate.scopes;
        let scope = scopes[(round % scopes.len() as u64) as usize].clone();
        round += 1;
        let settings = shared.gate.settings;
        if let Ok(report) = shared.report(Ask { scope, settings }).await {
            shared.metrics.gate(&gauges(&report));
        }
    }
}

impl Shared {
    /// The answer to `ask`, at most [`KEPT`] old; an error when the cluster was not read yet.
    pub(super) async fn report(self: &Arc<Self>, ask: Ask) -> Result<Arc<Report>, String> {
        if let Some(known) = self.gate.known(&ask) {
            return Ok(known);
        }
        let _turn = self.gate.turn.lock().await;
        if let Some(known) = self.gate.known(&ask) {
            return Ok(known);
        }
        if !self.snapshots.borrow().synced {
            return Err("the controller has not read the cluster yet".to_owned());
        }
        let (shared, asked) = (Arc::clone(self), ask.clone());
        let judged = tokio::task::spawn_blocking(move || shared.judge(&asked)).await;
        let report = Arc::new(judged.map_err(|error| format!("judging failed: {error}"))?);
        self.gate.keep(ask, &report);
        Ok(report)
    }

    /// Takes in what changed: policies first, for what is expected decides what counts.
    fn count(&self) {
        let snapshot = self.snapshots.borrow().clone();
        if !snapshot.synced {
            return;
        }
        let flows = self.flows(None);
        let now = OffsetDateTime::now_utc();
        let mut memory = self.gate.memory.lock().expect("no panic while held");
        let Memory { tally, history } = &mut *memory;
        let Gate { root_namespace: root, ambient_namespace: ambient, .. } = &self.gate;
        history.observe(&snapshot.cluster, root, ambient, Some(&flows), tally, now);
        for source in self.sources().unwrap_or_default() {
            let Source { node, vantage } = &source;
            let agent = format!("{node}/{vantage}");
            let since = tally.counted(&agent).unwrap_or(now - WINDOW);
            tally.take(&agent, &self.evidence.of(&source, since), now);
        }
    }

    /// Puts together everything that the gate judges by, and has it judge.
    fn judge(&self, ask: &Ask) -> Report {
        let snapshot = self.snapshots.borrow().clone();
        let cluster = &snapshot.cluster;
        let now = OffsetDateTime::now_utc();
        let observations = self.evidence.totals(now - WINDOW);
        let lately = self.evidence.totals(now - LATELY);
        let flows = self.flows(None);
        let planned = self.planned.borrow().clone();
        let unprobed = planned.iter().flat_map(|planned| planned.unknown()).map(|it| Unprobed {
            object: it.object.clone(),
            reason: it.reason.as_str(),
            message: it.message.clone(),
        });
        let memory = self.gate.memory.lock().expect("no panic while held");
        let evidence = Evidence {
            scope: ask.scope.clone(),
            now,
            window: WINDOW,
            settings: ask.settings,
            cluster,
            root_namespace: &self.gate.root_namespace,
            own_namespaces: &self.gate.own_namespaces,
            agents: cluster.agents.iter().map(|agent| self.standing(agent)).collect(),
            observations: &observations,
            lately: &lately,
            tally: &memory.tally,
            flows: Some(&flows),
            unprobed: unprobed.collect(),
        };
        let change = memory.history.change(&evidence);
        Report { change, ..gate::judge(&evidence) }
    }

    /// How `agent` is linked to this controller.
    pub(super) fn standing(&self, agent: &Agent) -> Standing {
        let seat = Seat {
            node: agent.pod.node.clone(),
            vantage: agent.vantage,
            pod: agent.pod.name.clone(),
        };
        let heard = match self.patience {
            None => self.roster.look(&seat, |entry| (entry.connected, entry.heard)),
            // Whom a Prometheus speaks for is asked over no connection.
            Some(_) => self.evidence.heard(&seat.source()).map(|at| (true, at.into())),
        };
        linked(seat, heard, self.patience.unwrap_or(FRESH), SystemTime::now())
    }
}

/// The standing of the agent in `seat`, `heard` over a connection that may be gone, at `now`; what
/// was heard speaks for as long as `fresh`.
fn linked(
    seat: Seat,
    heard: Option<(bool, SystemTime)>,
    fresh: Duration,
    now: SystemTime,
) -> Standing {
    let age = heard.map(|(_, heard)| now.duration_since(heard).unwrap_or_default());
    let connected = heard.is_some_and(|(connected, _)| connected);
    Standing {
        node: seat.node,
        vantage: seat.vantage,
        linked: connected && age.is_some_and(|it| it <= fresh),
        age,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Pace;
    use crate::target::Vantage;

    #[test]
    fn an_agent_is_linked_while_what_was_heard_of_it_speaks() {
        let now = SystemTime::now();
        let of = |connected, age, fresh| {
            let pod = String::new();
            let seat = Seat { node: "node-1".to_owned(), vantage: Vantage::Plain, pod };
            linked(seat, Some((connected, now - Duration::from_secs(age))), fresh, now).linked
        };
        assert_eq!([60, 61].map(|age| of(true, age, FRESH)), [true, false]);
        assert!(!of(false, 1, FRESH), "it has no connection");
        let by_minutes = Pace::BY_MINUTES.silent;
        assert_eq!([210, 211].map(|age| of(true, age, by_minutes)), [true, false]);
    }
}
