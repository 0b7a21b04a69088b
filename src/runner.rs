//! Runs targets for ever: slots from the clock, attempts in their own tasks, judged and handed on.
//!
//! Open loop. A slow target delays neither itself nor another: a slot that cannot be kept is
//! missed, counted and never made up for. Knows nothing of metrics or servers.

mod execute;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Identity, Limits};
use crate::outcome::Attempt;
use crate::plan::Target;
use crate::schedule::Schedule;
use crate::target::TargetName;

/// Where attempts go.
pub trait Sink: Send + Sync + 'static {
    /// A target begins to be probed, anew or reconfigured.
    fn joined(&self, target: &Target);
    /// A target is probed no more.
    fn left(&self, target: &TargetName);
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
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Running {
    target: Arc<Target>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared<S> {
    sink: S,
    limits: Limits,
    /// Node and vantage: the seed of this agent's slots.
    agent: String,
    epoch: Instant,
    in_flight: Arc<AtomicU32>,
    tasks: TaskTracker,
}

impl<S: Sink> Runner<S> {
    /// A runner without targets.
    pub fn new(identity: &Identity, limits: Limits, sink: S) -> Self {
        let vantage = identity.vantage.map(|vantage| vantage.as_str()).unwrap_or_default();
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            sink,
            limits,
            agent: format!("{}/{vantage}", identity.node),
            epoch: Instant::now(),
            in_flight: Arc::default(),
            tasks: tasks.clone(),
        });
        Self { shared, running: HashMap::new(), order: Vec::new(), tasks }
    }

    /// Probes `targets` from now on: those that run already go on undisturbed, others start or
    /// stop. Attempts of stopped targets that are under way end as `cancelled`.
    pub fn apply(&mut self, targets: Vec<Arc<Target>>) {
        let kept = |running: &Running| targets.iter().any(|new| Arc::ptr_eq(new, &running.target));
        let gone: Vec<TargetName> = self
            .running
            .iter()
            .filter(|(_, running)| !kept(running))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            let running = self.running.remove(&name).expect("just listed");
            running.stop.cancel();
            self.shared.sink.left(&name);
        }
        for target in &targets {
            let name = &target.spec.name;
            if self.running.contains_key(name) {
                continue;
            }
            let stop = CancellationToken::new();
            self.shared.sink.joined(target);
            let lane = lane(Arc::clone(&self.shared), Arc::clone(target), stop.clone());
            self.tasks.spawn(lane);
            self.running.insert(name.clone(), Running { target: Arc::clone(target), stop });
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
        for (_, running) in self.running.drain() {
            running.stop.cancel();
        }
        self.tasks.close();
        let deadline = Instant::now() + grace;
        if timeout_at(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "attempts did not end in time");
        }
    }
}

/// One target's slots, until `stop`.
async fn lane<S: Sink>(shared: Arc<Shared<S>>, target: Arc<Target>, stop: CancellationToken) {
    let name = &target.spec.name;
    let schedule = Schedule::new(target.spec.cadence, &shared.agent, name.as_str());
    let under_way = Arc::new(AtomicU32::new(0));
    let mut n = schedule.first_from(shared.epoch.elapsed());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(shared.epoch + schedule.slot(n)) => {}
        }
        let now = shared.epoch.elapsed();
        let newest = (n..).find(|n| schedule.slot(n + 1) > now).expect("slots are endless");
        if newest > n {
            shared.sink.missed(name, Missed::Late, newest - n);
        }
        let own = Place::take(&under_way, target.spec.max_in_flight).ok_or(Missed::InFlight);
        let places = own.and_then(|own| {
            let all = Place::take(&shared.in_flight, shared.limits.max_in_flight);
            Ok((own, all.ok_or(Missed::AgentInFlight)?))
        });
        match places {
            Ok(places) => {
                let lag = now.saturating_sub(schedule.slot(newest));
                let run = (Arc::clone(&shared), Arc::clone(&target), stop.clone());
                shared.tasks.spawn(async move {
                    let (shared, target, stop) = run;
                    let max_lag = shared.limits.max_schedule_lag;
                    let attempt = execute::attempt(&target, lag, max_lag, &stop).await;
                    drop(places);
                    shared.sink.attempt(&attempt);
                });
            }
            Err(cause) => shared.sink.missed(name, cause, 1),
        }
        n = newest + 1;
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
                let never = CancellationToken::new();
                execute::attempt(&target, Duration::ZERO, Duration::MAX, &never).await
            })
        })
        .collect();
    let mut attempts = Vec::with_capacity(tasks.len());
    for task in tasks {
        attempts.push(task.await.expect("attempts catch their own panics"));
    }
    attempts
}
