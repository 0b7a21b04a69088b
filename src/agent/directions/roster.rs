//! Which controllers there are: those that the configured names stand for, and those that the last
//! plan named, which need no names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::links::Links;
use super::{Settings, link, scattered};
use crate::channel::Dialer;
use crate::spec::IpPreference;
use crate::target::{Endpoint, Host};

/// How often names are resolved, at the least.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon after a failure.
const RESOLVE_AGAIN: Duration = Duration::from_secs(2);
/// How long one name may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Controllers that are connected to at once; further ones wait until others are gone.
const MOST: usize = 16;

pub(super) struct Roster {
    pub(super) settings: Arc<Settings>,
    pub(super) dialer: Dialer,
    pub(super) links: Links,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Roster {
    /// Keeps a link to every controller that is known.
    pub(super) async fn run(self, mut named: watch::Receiver<Vec<SocketAddr>>) {
        let endpoints = &self.settings.config.addresses;
        let mut resolved: Vec<Vec<SocketAddr>> = vec![Vec::new(); endpoints.len()];
        let mut told: Vec<Option<String>> = vec![None; endpoints.len()];
        let mut running: BTreeMap<SocketAddr, CancellationToken> = BTreeMap::new();
        // What the last plan named is there before any name is resolved.
        self.follow(&mut running, &resolved, &named.borrow_and_update().clone());
        loop {
            let mut failed = false;
            for (index, endpoint) in endpoints.iter().enumerate() {
                match self.resolve(endpoint).await {
                    // What a name stood for before stays when it stands for nothing.
                    Ok(addresses) => {
                        resolved[index] = addresses;
                        told[index] = None;
                    }
                    Err(problem) => {
                        failed = true;
                        if told[index].as_ref() != Some(&problem) {
                            tracing::warn!(%endpoint, problem, "controllers are not found");
                            told[index] = Some(problem);
                        }
                    }
                }
            }
            let again =
                Instant::now() + scattered(if failed { RESOLVE_AGAIN } else { RESOLVE_EVERY });
            loop {
                self.follow(&mut running, &resolved, &named.borrow_and_update().clone());
                tokio::select! {
                    () = tokio::time::sleep_until(again) => break,
                    changed = named.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    async fn resolve(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, String> {
        let name = match &endpoint.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, endpoint.port)]),
            Host::Name(name) => name,
        };
        let answer = self.settings.resolver.resolve_all(name, IpPreference::default());
        match timeout_at(Instant::now() + RESOLVE_TIMEOUT, answer).await {
            Ok(Ok(addresses)) => {
                let at = |ip| SocketAddr::new(ip, endpoint.port);
                Ok(addresses.into_iter().map(at).collect())
            }
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_) => Err("the nameserver does not answer".to_owned()),
        }
    }

    fn follow(
        &self,
        running: &mut BTreeMap<SocketAddr, CancellationToken>,
        resolved: &[Vec<SocketAddr>],
        named: &[SocketAddr],
    ) {
        let known: BTreeSet<SocketAddr> = resolved.iter().flatten().chain(named).copied().collect();
        running.retain(|address, stop| {
            let stays = known.contains(address);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for address in known {
            if running.len() >= MOST {
                break;
            }
            running.entry(address).or_insert_with(|| {
                let stop = self.stop.child_token();
                let settings = Arc::clone(&self.settings);
                let (dialer, links) = (self.dialer.clone(), self.links.clone());
                self.tasks.spawn(link::keep(address, settings, dialer, links, stop.clone()));
                stop
            });
        }
    }
}
