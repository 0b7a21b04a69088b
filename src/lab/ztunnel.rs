//! The lab's stand-in for a ztunnel: one per node, for the ambient pods of that node.
//!
//! Speaks HBONE both ways, denies and forwards plaintext, captures what pods send, and is wrong in
//! every way that a [`Condition`] can say, with the signature on the wire that the real one has.
//! Not a proxy for production: it knows the whole mesh from the lab's world and asks nobody.

mod admin;
mod condition;
mod credentials;
mod door;
mod inbound;
mod outbound;
mod plaintext;
mod pool;
mod relay;
mod state;
mod stats;
mod tunnel;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::DropGuard;

use crate::lab::ca::Authority;
use crate::lab::world::World;
use crate::spec::{HBONE_PORT, ZTUNNEL_METRICS_PORT, ZTUNNEL_READINESS_PORT};
use admin::Page;
pub use condition::{Condition, LeafDefect, OtherTrust, Timing};
use credentials::Credentials;
use door::{Door, Kind};
use plaintext::{INBOUND_PORT, OUTBOUND_PORT};
use state::{Place, State};
pub use stats::Stats;

/// One node's; dropping it ends it at once.
pub struct Ztunnel {
    state: Arc<State>,
    /// What each door has applied.
    doors: Mutex<Vec<watch::Receiver<u64>>>,
    _end: DropGuard,
}

impl Ztunnel {
    /// Binds what `node`'s ambient pods need, on their own addresses, and readiness and metrics on
    /// `own_ip`, the address of ztunnel's own pod. `authority` issues the workloads' certificates.
    ///
    /// Every address must be one of this machine, such as those of 127/8, and each pod's ports be
    /// free there. Must be called within a tokio runtime.
    pub async fn start(
        node: &str,
        own_ip: IpAddr,
        world: Arc<World>,
        authority: Arc<Authority>,
        timing: Timing,
    ) -> anyhow::Result<Self> {
        let mut doors = vec![
            (Kind::Own(Page::Readiness), SocketAddr::new(own_ip, ZTUNNEL_READINESS_PORT)),
            (Kind::Own(Page::Metrics), SocketAddr::new(own_ip, ZTUNNEL_METRICS_PORT)),
        ];
        for pod in world.pods.iter().filter(|pod| pod.node == node && pod.ambient) {
            doors.push((Kind::Hbone(pod.ip), SocketAddr::new(pod.ip, HBONE_PORT)));
            let ports = pod.ports.iter().map(|port| port.number);
            for port in ports.chain([OUTBOUND_PORT, INBOUND_PORT]) {
                doors.push((Kind::Plaintext(pod.ip, port), SocketAddr::new(pod.ip, port)));
            }
        }
        Self::open(world, authority, timing, Place::Loopback, Arc::default(), &doors)
    }

    /// The part of a ztunnel that is in one pod's network namespace, which the calling thread must
    /// be in: capture rules redirect to its ports (Istio's: 15001, 15006), the original destination
    /// is asked of the kernel, own packets carry the mark 0x539. IPv4 only; needs `CAP_NET_ADMIN`.
    ///
    /// What the kernel's rules can do is theirs there: [`Condition::hbone_blocked`],
    /// [`Condition::capture_lost`] and the dropping half of [`Condition::gone_pods`] do nothing.
    pub async fn start_in_pod(
        pod: IpAddr,
        world: Arc<World>,
        authority: Arc<Authority>,
        timing: Timing,
    ) -> anyhow::Result<Self> {
        Self::start_in_pod_counting(pod, world, authority, timing, Arc::default()).await
    }

    /// The same as a part of the ztunnel whose counters `stats` are.
    pub async fn start_in_pod_counting(
        pod: IpAddr,
        world: Arc<World>,
        authority: Arc<Authority>,
        timing: Timing,
        stats: Arc<Stats>,
    ) -> anyhow::Result<Self> {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let doors = [
            (Kind::Hbone(pod), any(HBONE_PORT)),
            (Kind::RedirectedIn(pod), any(INBOUND_PORT)),
            (Kind::RedirectedOut(pod), any(OUTBOUND_PORT)),
        ];
        Self::open(world, authority, timing, Place::Namespace, stats, &doors)
    }

    fn open(
        world: Arc<World>,
        authority: Arc<Authority>,
        timing: Timing,
        place: Place,
        stats: Arc<Stats>,
        doors: &[(Kind, SocketAddr)],
    ) -> anyhow::Result<Self> {
        let state = State::new(world, Credentials::new(authority), timing, place, stats);
        let end = state.stop.clone().drop_guard();
        let ztunnel = Self { state: Arc::new(state), doors: Mutex::default(), _end: end };
        let sweep = pool::sweep(Arc::clone(&ztunnel.state));
        let draining = ztunnel.state.draining.clone();
        ztunnel.state.tasks.spawn(draining.run_until_cancelled_owned(sweep));
        for (kind, address) in doors {
            ztunnel.add(*kind, *address)?;
        }
        Ok(ztunnel)
    }

    /// Captures what the ambient pod at `pod_ip`, of this node, sends to `destination`: dialling
    /// `alias` with the destination's port is from now on what dialling `destination` is in a pod.
    ///
    /// A process without privileges is captured that way. Fails when the port is taken at `alias`.
    pub async fn capture(
        &self,
        pod_ip: IpAddr,
        destination: SocketAddr,
        alias: IpAddr,
    ) -> anyhow::Result<()> {
        let address = SocketAddr::new(alias, destination.port());
        self.add(Kind::Outbound(pod_ip, destination), address)
    }

    /// Makes `condition` what is wrong from now on; the default heals.
    ///
    /// Takes effect within moments: see [`Self::settled`].
    pub fn set(&self, condition: Condition) {
        self.state.set(condition);
    }

    /// Waits until every listening socket is as the last condition says.
    pub async fn settled(&self) {
        let version = self.state.version();
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for mut door in doors {
            // An error means that it is closed for good.
            let _ = door.wait_for(|applied| *applied >= version).await;
        }
    }

    /// The counters of `/stats/prometheus`, for what others of the lab do in its name.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.state.stats)
    }

    /// Accepts nothing more, lets open connections end for [`Timing::drain`], then cuts them off.
    pub async fn stop(self) {
        self.state.draining.cancel();
        self.state.pool.clear();
        self.state.tasks.close();
        let deadline = Instant::now() + self.state.timing.drain;
        if timeout_at(deadline, self.state.tasks.wait()).await.is_err() {
            self.state.stop.cancel();
            self.state.tasks.wait().await;
        }
    }

    fn add(&self, kind: Kind, address: SocketAddr) -> anyhow::Result<()> {
        let door = Door::bind(kind, address).with_context(|| format!("listening on {address}"))?;
        let (applied, version) = watch::channel(0);
        self.state.tasks.spawn(door.attend(Arc::clone(&self.state), applied));
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).push(version);
        Ok(())
    }
}
