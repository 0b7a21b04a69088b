//! Reads from a Prometheus what agents saw, in the place of asking each of them: for fleets that
//! are too large for one collector.
//!
//! Agents still come for their plans; which of them runs which plan is not known then. Each minute
//! is asked for once, when it is whole: a fault is known one to two minutes after it began.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::analysis::Pace;
use crate::config::{ControllerConfig, EvidenceSource};
use crate::controller::Shared;
use crate::controller::roster::Seat;
use crate::evidence::Telling;
use crate::net::Resolver;
use crate::observation::Observation;
use crate::promql::{Prometheus, Seen};

/// What one question is about, seconds.
const MINUTE: i64 = 60;
/// How long after a minute its last attempts are scraped and its rules evaluated.
const SETTLED: time::Duration = time::Duration::seconds(35);
/// Time between two tries while there is no answer.
const RETRY: Duration = Duration::from_secs(10);

/// The Prometheus to read from, when `config` wants that.
pub(super) fn source(config: &ControllerConfig) -> anyhow::Result<Option<Prometheus>> {
    match config.source {
        EvidenceSource::Agents => Ok(None),
        EvidenceSource::Prometheus => configured(config),
    }
}

/// The Prometheus of `config`, whatever is read from there.
pub(super) fn configured(config: &ControllerConfig) -> anyhow::Result<Option<Prometheus>> {
    let Some(found) = config.prometheus.as_ref() else { return Ok(None) };
    let resolver = Resolver::load(Path::new("/etc/resolv.conf"), Path::new("/etc/hosts"))?;
    let prometheus = Prometheus::new(&found.url, found.token.clone(), Arc::new(resolver))
        .with_context(|| found.url.clone())?;
    Ok(Some(prometheus))
}

/// How soon it is known what agents saw, when `source` tells it, or each agent.
pub(super) fn pace(source: Option<&Prometheus>) -> Pace {
    source.map_or(Pace::ASKED, |_| Pace::BY_MINUTES)
}

/// Asks for minute after minute until `stop`.
pub(super) async fn run(shared: Arc<Shared>, prometheus: Prometheus, stop: CancellationToken) {
    let mut minute = ended(OffsetDateTime::now_utc());
    loop {
        let wait = minute + SETTLED - OffsetDateTime::now_utc();
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait.try_into().unwrap_or_default()) => {}
        }
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = prometheus.observations(minute) => answer,
        };
        shared.metrics.window_pulled(answer.is_ok());
        match answer {
            Ok(seen) => {
                // Much in a large fleet: nobody else is to wait for it.
                let (taking, at) = (Arc::clone(&shared), minute);
                let work = move || taking.take(seen, at);
                if let Err(error) = tokio::task::spawn_blocking(work).await {
                    tracing::error!(%error, "what Prometheus told is lost");
                }
                // What was missed meanwhile is gone: how things are now matters more.
                minute = ended(OffsetDateTime::now_utc()).max(minute + time::Duration::MINUTE);
            }
            Err(problem) => {
                tracing::warn!(%problem, "Prometheus tells nothing");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
                minute = ended(OffsetDateTime::now_utc()).max(minute);
            }
        }
    }
}

/// The end of the last minute that has settled at `now`.
fn ended(now: OffsetDateTime) -> OffsetDateTime {
    let seconds = (now - SETTLED).unix_timestamp();
    let ended = seconds - seconds.rem_euclid(MINUTE);
    OffsetDateTime::from_unix_timestamp(ended).expect("it is before now")
}

impl Shared {
    /// Takes in what was seen up to `at`.
    fn take(&self, seen: Seen, at: OffsetDateTime) {
        for warning in &seen.warnings {
            tracing::warn!(warning, "Prometheus may not tell all");
        }
        let mut refused = seen.unread;
        let mut agents: BTreeMap<Seat, Vec<Observation>> = BTreeMap::new();
        for observation in seen.observations {
            let Some(vantage) = observation.vantage else {
                refused += 1;
                continue;
            };
            let node = observation.source_node.clone();
            // Series do not tell pods.
            let seat = Seat { node, vantage, pod: String::new() };
            agents.entry(seat).or_default().push(observation);
        }
        let now = OffsetDateTime::now_utc();
        for (seat, mut observations) in agents {
            // What was not attempted in this minute has not left: it is asked seldom.
            let telling = Telling { observations: &observations, whole: false, as_of: None };
            refused += self.evidence.hear(&seat.source(), telling, now).refused;
            self.analysis.hear(&seat, &mut observations);
        }
        self.metrics.windows_refused(refused as u64);
        self.forget();
        tracing::debug!(%at, "took in what Prometheus tells");
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_minute_is_asked_for_when_it_is_whole() {
        let at = |second| datetime!(2026-01-01 00:10:00 UTC) + time::Duration::seconds(second);
        assert_eq!(ended(at(34)), at(-60));
        assert_eq!(ended(at(35)), at(0));
        assert_eq!(ended(at(94)), at(0));
        assert_eq!(ended(at(95)), at(60));
    }
}
