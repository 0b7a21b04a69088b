//! Runs targets for ever: slots from the clock, attempts in their own tasks, judged and handed on.
//!
//! Open loop. A slow target delays neither itself nor another: a slot that cannot be kept is
//! missed, counted and never made up for. Knows nothing of metrics or servers.

mod execute;
mod stalls;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::Attempt;
use crate::config::{Identity, Limits};
use crate::plan::Target;
use crate::schedule::Schedule;
use crate::target::TargetName;
use stalls::Stalls;

/// Where attempts go.
pub trait Sink: Send + Sync + 'static {
    /// A target begins to be probed, anew or, without having left, reconfigured.
    fn joined(&self, target: &Target);
    /// Targets are probed no more: nothing further comes of them.
    fn left(&self, targets: &HashSet<TargetName>);
    /// An attempt was made and judged.
    fn attempt(&self, attempt: &Attempt);
    /// Slots went by without an attempt.
    fn missed(&self, target: &TargetName, cause: Missed, slots: u64);
}

/// Why a slot went by without an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    /// This machine woke up after the next slot had come.
    Late,
    /// The target's own attempts under way were at their bound.
    InFlight,
    /// All attempts under way were at the agent's bound.
    AgentInFlight,
}

impl Missed {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::Late, Self::InFlight, Self::AgentInFlight];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::InFlight => "in_flight",
            Self::AgentInFlight => "agent_in_flight",
        }
    }
}

/// Probes a changing set of targets.
#[derive(Debug)]
pub struct Runner<S> {
    shared: Arc<Shared<S>>,
    running: HashMap<TargetName, Running>,
    order: Vec<Arc<Target>>,
}

#[derive(Debug)]
struct Running {
    target: Arc<Target>,
    stop: CancellationToken,
    /// Its lane and its attempts.
    tasks: TaskTracker,
}

impl Running {
    fn start<S: Sink>(shared: &Arc<Shared<S>>, target: &Arc<Target>) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let lane = Lane {
            shared: Arc::clone(shared),
            target: Arc::clone(target),
            under_way: Arc::default(),
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(lane.run());
        Self { target: Arc::clone(target), stop, tasks }
    }

    /// No further slots; what is under way ends as `cancelled`.
    fn cancel(&self) {
        self.stop.cancel();
        self.tasks.close();
    }
}

#[derive(Debug)]
struct Shared<S> {
    sink: S,
    limits: Limits,
    /// Node and vantage: the seed of this agent's slots.
    agent: String,
    epoch: Instant,
    in_flight: Arc<AtomicU32>,
    stalls: Stalls,
}

impl<S: Sink> Runner<S> {
    /// A runner without targets.
    pub fn new(identity: &Identity, limits: Limits, sink: S) -> Self {
        let vantage = identity.vantage.map(|vantage| vantage.as_str()).unwrap_or_default();
        let shared = Arc::new(Shared {
            sink,
            limits,
            agent: format!("{}/{vantage}", identity.node),
            epoch: Instant::now(),
            in_flight: Arc::default(),
            stalls: Stalls::new(limits.max_schedule_lag),
        });
        Self { shared, running: HashMap::new(), order: Vec::new() }
    }

    /// Probes `targets` from now on: those that run already go on undisturbed, others start or
    /// stop. Attempts of stopped targets that are under way end as `cancelled`, before the sink
    /// hears that the target left or is another.
    pub async fn apply(&mut self, targets: Vec<Arc<Target>>) {
        let wanted: HashMap<&TargetName, &Arc<Target>> =
            targets.iter().map(|target| (&target.spec.name, target)).collect();
        let stopped: Vec<(TargetName, Running)> = self
            .running
            .extract_if(|name, running| {
                !wanted.get(name).is_some_and(|target| Arc::ptr_eq(target, &running.target))
            })
            .collect();
        stopped.iter().for_each(|(_, running)| running.cancel());
        for (_, running) in &stopped {
            // Cancelled attempts end at once.
            running.tasks.wait().await;
        }
        let names = stopped.into_iter().map(|(name, _)| name);
        let left: HashSet<TargetName> = names.filter(|name| !wanted.contains_key(name)).collect();
        if !left.is_empty() {
            self.shared.sink.left(&left);
        }
        for target in &targets {
            if !self.running.contains_key(&target.spec.name) {
                self.shared.sink.joined(target);
                let running = Running::start(&self.shared, target);
                self.running.insert(target.spec.name.clone(), running);
            }
        }
        self.order = targets;
    }

    /// What is probed now, in the order it was given.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.order
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> u32 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// The count behind [`Self::in_flight`], for readers that do not own the runner.
    pub fn in_flight_count(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.shared.in_flight)
    }

    /// Stops every target and waits for the ends of attempts, `grace` at most.
    pub async fn stop(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let stopped: Vec<Running> = self.running.drain().map(|(_, running)| running).collect();
        stopped.iter().for_each(Running::cancel);
        for running in &stopped {
            if timeout_at(deadline, running.tasks.wait()).await.is_err() {
                let name = running.target.spec.name.as_str();
                tracing::warn!(name, "attempts did not end in time");
            }
        }
    }
}

/// One target's way through its slots.
struct Lane<S> {
    shared: Arc<Shared<S>>,
    target: Arc<Target>,
    under_way: Arc<AtomicU32>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<S: Sink> Lane<S> {
    /// Begins an attempt in every slot that can be kept, until it is stopped.
    async fn run(self) {
        let Shared { agent, epoch, sink, stalls, .. } = &*self.shared;
        let spec = &self.target.spec;
        let schedule = Schedule::new(spec.cadence, agent, spec.name.as_str());
        let mut n = schedule.first_from(epoch.elapsed());
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep_until(*epoch + schedule.slot(n)) => {}
            }
            let now = epoch.elapsed();
            stalls.note(now.saturating_sub(schedule.slot(n)));
            let newest = (n..).find(|n| schedule.slot(n + 1) > now).expect("slots are endless");
            if newest > n {
                sink.missed(&spec.name, Missed::Late, newest - n);
            }
            // Kept already, right after a denial: nothing is learnt by asking the same again.
            if !self.target.asked_lately()
                && let Err(cause) = self.begin(*epoch + schedule.slot(newest))
            {
                sink.missed(&spec.name, cause, 1);
            }
            n = newest + 1;
        }
    }

    fn begin(&self, slot: Instant) -> Result<(), Missed> {
        let bound = self.target.spec.max_in_flight;
        let own = Place::take(&self.under_way, bound).ok_or(Missed::InFlight)?;
        let Shared { in_flight, limits, .. } = &*self.shared;
        let all = Place::take(in_flight, limits.max_in_flight).ok_or(Missed::AgentInFlight)?;
        let (shared, target) = (Arc::clone(&self.shared), Arc::clone(&self.target));
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // Here, not in the lane: the wait for other tasks is part of the lag.
            let lag = slot.elapsed();
            let made = execute::attempt(&target, lag, &shared.stalls, &stop).await;
            drop((own, all));
            made.control.iter().for_each(|control| shared.sink.attempt(control));
            shared.sink.attempt(&made.attempt);
        });
        Ok(())
    }
}

/// A place among attempts under way, given back when dropped.
#[derive(Debug)]
struct Place(Arc<AtomicU32>);

impl Place {
    fn take(taken: &Arc<AtomicU32>, bound: u32) -> Option<Self> {
        let enter = |taken| (taken < bound).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs every target exactly once, `at_once` at a time; attempts come in the order of targets.
pub async fn once(targets: &[Arc<Target>], at_once: usize) -> Vec<Attempt> {
    let places = Arc::new(Semaphore::new(at_once));
    let tasks: Vec<_> = targets
        .iter()
        .map(|target| {
            let (target, places) = (Arc::clone(target), Arc::clone(&places));
            tokio::spawn(async move {
                let _place = places.acquire().await.expect("never closed");
                let (stalls, never) = (Stalls::new(Duration::MAX), CancellationToken::new());
                execute::attempt(&target, Duration::ZERO, &stalls, &never).await.attempt
            })
        })
        .collect();
    let mut attempts = Vec::with_capacity(tasks.len());
    for task in tasks {
        attempts.push(task.await.expect("attempts catch their own panics"));
    }
    attempts
}
