//! What all parts of one stand-in share: the world, what is wrong now, and the tasks.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::condition::{Condition, Timing};
use super::credentials::Credentials;
use super::pool::Pool;
use super::stats::Stats;
use crate::lab::world::World;

/// Connections of one node at once; more are closed right after they were accepted.
const MAX_CONNECTIONS: usize = 2048;
/// The mark of ztunnel's own packets, which capture rules leave alone.
const MARK: u32 = 0x539;

/// Where the stand-in runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Among addresses of 127/8 that are all this machine's: each pod's is bound by itself.
    Loopback,
    /// In the network namespace of one pod, where capture rules redirect to its ports.
    Namespace,
}

/// A condition, and the how manieth it is.
#[derive(Debug, Default)]
pub(super) struct Setting {
    pub(super) version: u64,
    pub(super) condition: Condition,
}

/// See the module.
pub(super) struct State {
    pub(super) world: Arc<World>,
    pub(super) timing: Timing,
    pub(super) place: Place,
    pub(super) credentials: Credentials,
    pub(super) pool: Pool,
    pub(super) stats: Arc<Stats>,
    pub(super) tasks: TaskTracker,
    /// Ends everything at once.
    pub(super) stop: CancellationToken,
    /// No new connections; open ones are asked to end.
    pub(super) draining: CancellationToken,
    setting: watch::Sender<Setting>,
    /// Ends what dies with the process.
    life: Mutex<CancellationToken>,
    permits: Arc<Semaphore>,
    /// Connections that might have been reset.
    lots: AtomicU64,
    /// Endpoints that were picked.
    turns: AtomicU64,
    /// HBONE connections so far, and how many of them are half open while that is set.
    accepted: AtomicU64,
    severed: AtomicU64,
}

/// What a task is a part of: when does it stand still, and does it die with the process?
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The process.
    Process,
    /// A connection to port 15008 of a pod, the how manieth.
    Hbone(IpAddr, u64),
    /// A plaintext connection to a pod.
    Plaintext(IpAddr),
    /// A connection of a pod that is not captured: the kernel's.
    Bypass(IpAddr),
}

impl State {
    pub(super) fn new(
        world: Arc<World>,
        credentials: Credentials,
        timing: Timing,
        place: Place,
        stats: Arc<Stats>,
    ) -> Self {
        let stop = CancellationToken::new();
        Self {
            world,
            timing,
            place,
            credentials,
            pool: Pool::default(),
            stats,
            tasks: TaskTracker::new(),
            draining: stop.child_token(),
            life: Mutex::new(stop.child_token()),
            stop,
            setting: watch::Sender::default(),
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            lots: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            severed: AtomicU64::new(0),
        }
    }

    /// From now on this is wrong; gives the version of the setting.
    pub(super) fn set(&self, condition: Condition) -> u64 {
        let dead = condition.dead;
        self.setting.send_modify(|setting| {
            if condition.half_open && !setting.condition.half_open {
                self.severed.store(self.accepted.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            setting.version += 1;
            setting.condition = condition;
        });
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if dead {
            life.cancel();
        } else if life.is_cancelled() {
            self.stats.restarted();
            *life = self.stop.child_token();
        }
        self.setting.borrow().version
    }

    pub(super) fn version(&self) -> u64 {
        self.setting.borrow().version
    }

    pub(super) fn watch(&self) -> watch::Receiver<Setting> {
        self.setting.subscribe()
    }

    /// Asks what is wrong now. `look` must not ask again.
    pub(super) fn now<T>(&self, look: impl FnOnce(&Condition) -> T) -> T {
        look(&self.setting.borrow().condition)
    }

    /// Waits until `look` holds.
    pub(super) async fn until(&self, mut look: impl FnMut(&Condition) -> bool) {
        let mut setting = self.watch();
        // Its sender lives as long as this.
        let _ = setting.wait_for(|setting| look(&setting.condition)).await;
    }

    /// Room for one more connection.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Runs `work`, except while its part stands still, until it ends or its part does.
    pub(super) fn spawn(
        self: &Arc<Self>,
        part: Part,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let end = match part {
            Part::Bypass(_) => self.stop.clone(),
            Part::Process | Part::Hbone(..) | Part::Plaintext(_) => {
                self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
        };
        let state = Arc::clone(self);
        self.tasks.spawn(end.run_until_cancelled_owned(async move {
            state.moving(part, work).await;
        }));
    }

    /// `work`, which is not touched while `part` stands still.
    async fn moving(&self, part: Part, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        loop {
            self.until(|condition| !self.stands_still(part, condition)).await;
            tokio::select! {
                biased;
                () = self.until(|condition| self.stands_still(part, condition)) => {}
                () = &mut work => return,
            }
        }
    }

    fn stands_still(&self, part: Part, condition: &Condition) -> bool {
        match part {
            Part::Process => condition.frozen,
            Part::Hbone(pod, number) => {
                let severed = || number < self.severed.load(Ordering::Relaxed);
                condition.frozen
                    || condition.hbone_blocked
                    || condition.gone_pods.contains(&pod)
                    || condition.half_open && severed()
            }
            Part::Plaintext(pod) => condition.frozen || condition.gone_pods.contains(&pod),
            Part::Bypass(pod) => condition.gone_pods.contains(&pod),
        }
    }

    /// The number of a new HBONE connection.
    pub(super) fn hbone_number(&self) -> u64 {
        self.accepted.fetch_add(1, Ordering::Relaxed)
    }

    /// Holds a new connection while the stand-in is mute; whether it was, and the connection is to
    /// be closed.
    pub(super) async fn was_mute(&self) -> bool {
        let mute = self.now(|condition| condition.mute);
        if mute {
            self.until(|condition| !condition.mute).await;
        }
        mute
    }

    /// Whether the own workload is known, or becomes so in time.
    pub(super) async fn knows_itself(&self) -> bool {
        let deadline = Instant::now() + self.timing.workload;
        timeout_at(deadline, self.until(|condition| !condition.unknown_workloads)).await.is_ok()
    }

    /// Whether this connection is one of those that are reset. Evenly spread, so that a share is
    /// met exactly.
    pub(super) fn is_reset(&self) -> bool {
        let share = self.now(|condition| condition.reset_share);
        if share <= 0.0 {
            return false;
        }
        let lot = self.lots.fetch_add(1, Ordering::Relaxed) as f64;
        ((lot + 1.0) * share).floor() > (lot * share).floor()
    }

    /// Whose turn it is of `count` that take turns; `None` of nobody.
    pub(super) fn turn(&self, count: usize) -> Option<usize> {
        (self.turns.fetch_add(1, Ordering::Relaxed) as usize).checked_rem(count)
    }

    /// A TCP connection to `to`, from `source` where every address is ours or capture rules bring
    /// the answers back.
    ///
    /// `TimedOut` after [`Timing::connect`]. A stand-in on loopback sends nothing elsewhere: there,
    /// nobody answers at other addresses.
    pub(super) async fn dial(&self, to: SocketAddr, source: IpAddr) -> io::Result<TcpStream> {
        let deadline = Instant::now() + self.timing.connect;
        if self.place == Place::Loopback && !to.ip().is_loopback() {
            sleep_until(deadline).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        match self.place {
            Place::Loopback if source.is_loopback() && source.is_ipv4() == to.is_ipv4() => {
                // The port is chosen at connect, or they would run out.
                setsockopt(&socket, IpBindAddressNoPort, &true)?;
                socket.bind(SocketAddr::new(source, 0))?;
            }
            Place::Loopback => {}
            Place::Namespace => {
                // Applications see who called, not us: also an address of another pod.
                let kept = SockRef::from(&socket);
                kept.set_mark(MARK)?;
                kept.set_ip_transparent_v4(true)?;
                setsockopt(&socket, IpBindAddressNoPort, &true)?;
                socket.bind(SocketAddr::new(source, 0))?;
            }
        }
        socket.set_nodelay(true)?;
        match timeout_at(deadline, socket.connect(to)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
