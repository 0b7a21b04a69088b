//! The controllers that are connected now.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::random;
use crate::channel::Peer;
use crate::metrics::Metrics;

/// The controllers that are connected now, for those who connect and those who ask.
#[derive(Debug, Clone)]
pub(super) struct Links {
    connected: Arc<watch::Sender<BTreeMap<SocketAddr, Peer>>>,
    metrics: Arc<Metrics>,
}

impl Links {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { connected: Arc::default(), metrics }
    }

    pub(super) fn enter(&self, address: SocketAddr, peer: &Peer) {
        self.connected.send_modify(|connected| {
            connected.insert(address, peer.clone());
            self.metrics.controllers_connected(connected.len());
        });
    }

    pub(super) fn leave(&self, address: SocketAddr) {
        self.connected.send_modify(|connected| {
            connected.remove(&address);
            self.metrics.controllers_connected(connected.len());
        });
    }

    /// One that is connected, as soon as there is one: `last` if it still is and another if that
    /// is to be `avoided` and there is another, else any, so that a fleet spreads over them.
    pub(super) async fn one(&self, last: Option<SocketAddr>, avoided: bool) -> (SocketAddr, Peer) {
        let mut watching = self.connected.subscribe();
        let connected = watching.wait_for(|connected| !connected.is_empty()).await;
        let connected = connected.expect("the sender is ours");
        let stays = last.filter(|_| !avoided).and_then(|last| connected.get_key_value(&last));
        let (address, peer) = stays.unwrap_or_else(|| {
            let others: Vec<_> =
                connected.iter().filter(|(address, _)| Some(**address) != last).collect();
            let others = if others.is_empty() { connected.iter().collect() } else { others };
            others[(random() * others.len() as f64) as usize % others.len()]
        });
        (*address, peer.clone())
    }
}
