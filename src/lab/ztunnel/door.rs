//! A listening socket that opens, closes, stands still, or drops SYNs, as the condition says.

use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::admin::{self, Page};
use super::condition::Condition;
use super::plaintext::{self, CAPTURE_PORTS};
use super::state::{Part, Place, State};
use super::{inbound, outbound};
use crate::net;

const BACKLOG: i32 = 1024;
/// How often a port that somebody else has taken is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// Pause when the machine has no more file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longer than a connection over loopback takes that is not dropped.
const FILL_LIMIT: Duration = Duration::from_millis(200);

/// Who is behind a door.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// HBONE of the pod.
    Hbone(IpAddr),
    /// A plaintext port of the pod.
    Plaintext(IpAddr, u16),
    /// What the pod sends to the destination.
    Outbound(IpAddr, SocketAddr),
    /// Whatever is redirected on its way into the pod.
    RedirectedIn(IpAddr),
    /// Whatever is redirected on its way out of the pod.
    RedirectedOut(IpAddr),
    /// ztunnel's own pod.
    Own(Page),
}

/// How a door treats those who come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stance {
    /// Accepts.
    Open,
    /// Refuses: there is no socket.
    Absent,
    /// The kernel accepts, nobody else does.
    Still,
    /// SYNs get no answer.
    Dropping,
}

/// See the module.
pub(super) struct Door {
    kind: Kind,
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// Connections that keep the queue of a dropping door full.
    fillers: Vec<TcpStream>,
}

impl Door {
    /// Binds `address`.
    pub(super) fn bind(kind: Kind, address: SocketAddr) -> io::Result<Self> {
        let listener = Some(listen(address)?);
        Ok(Self { kind, address, listener, fillers: Vec::new() })
    }

    /// Keeps the door as the condition says until the stand-in drains; tells `applied` which
    /// version of the setting is in force.
    pub(super) async fn attend(mut self, state: Arc<State>, applied: watch::Sender<u64>) {
        let mut setting = state.watch();
        loop {
            let (version, stance) = {
                let setting = setting.borrow_and_update();
                (setting.version, self.kind.stance(&state, &setting.condition))
            };
            tokio::select! {
                biased;
                () = state.draining.cancelled() => return,
                changed = setting.changed() => if changed.is_err() { return },
                () = self.hold(&state, stance, version, &applied) => {}
            }
        }
    }

    async fn hold(
        &mut self,
        state: &Arc<State>,
        stance: Stance,
        version: u64,
        applied: &watch::Sender<u64>,
    ) {
        while let Err(error) = self.take(stance).await {
            tracing::warn!(address = %self.address, %error, "cannot listen");
            sleep(RETRY).await;
        }
        applied.send_replace(version);
        let (Stance::Open, Some(listener)) = (stance, &self.listener) else {
            return pending().await;
        };
        loop {
            let Ok((stream, client)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Dropping the stream closes it.
            if let Some(permit) = state.permit() {
                self.kind.serve(state, stream, client, permit);
            }
        }
    }

    /// Takes `stance`. May be dropped half way and called again.
    async fn take(&mut self, stance: Stance) -> io::Result<()> {
        if stance == Stance::Absent {
            self.fillers.clear();
            self.listener = None;
            return Ok(());
        }
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => listen(self.address)?,
        };
        let listener = self.listener.insert(listener);
        if stance == Stance::Dropping {
            return shut(listener, &mut self.fillers).await;
        }
        if !self.fillers.is_empty() {
            self.fillers.clear();
            SockRef::from(&*listener).listen(BACKLOG)?;
            empty(listener);
        }
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let mut listeners = net::listen(&[address]).map_err(|(_, error)| error)?;
    listeners.pop().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Makes the kernel drop SYNs to `listener`: the queue of what waits to be accepted holds one
/// connection and is full. The socket stays, so that at no moment anybody is refused.
async fn shut(listener: &TcpListener, fillers: &mut Vec<TcpStream>) -> io::Result<()> {
    if !fillers.is_empty() {
        return Ok(());
    }
    SockRef::from(listener).listen(0)?;
    let address = listener.local_addr()?;
    loop {
        empty(listener);
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        let filling = timeout_at(Instant::now() + FILL_LIMIT, socket.connect(address)).await;
        if let Ok(filler) = filling {
            fillers.push(filler?);
            return Ok(());
        }
        // Somebody came first, and would wait for ever as if accepted.
    }
}

/// Closes what waits to be accepted.
fn empty(listener: &TcpListener) {
    for _ in 0..=BACKLOG {
        if SockRef::from(listener).accept().is_err() {
            return;
        }
    }
}

impl Kind {
    fn stance(self, state: &State, condition: &Condition) -> Stance {
        let process = match condition {
            Condition { dead: true, .. } => Stance::Absent,
            Condition { frozen: true, .. } => Stance::Still,
            _ => Stance::Open,
        };
        let captured = if condition.listeners_missing { Stance::Absent } else { process };
        // In a namespace packets are dropped, and pods not captured, by the kernel's own rules.
        let ours = state.place == Place::Loopback;
        let gone = |pod| ours && condition.gone_pods.contains(&pod);
        let lost = ours && condition.capture_lost;
        match self {
            Self::Own(_) => process,
            Self::Hbone(pod) if gone(pod) || ours && condition.hbone_blocked => Stance::Dropping,
            Self::Hbone(_) if lost => Stance::Absent,
            Self::Plaintext(pod, _) if gone(pod) => Stance::Dropping,
            Self::Plaintext(pod, port) if lost => {
                let application = |pod| plaintext::application(state.place, condition, pod, port);
                match state.world.pod_at(pod).and_then(application) {
                    Some(_) => Stance::Open,
                    None => Stance::Absent,
                }
            }
            Self::Outbound(..) if lost => Stance::Open,
            Self::Hbone(_)
            | Self::Plaintext(..)
            | Self::Outbound(..)
            | Self::RedirectedIn(_)
            | Self::RedirectedOut(_) => captured,
        }
    }

    /// Starts to serve a connection.
    fn serve(
        self,
        state: &Arc<State>,
        stream: TcpStream,
        client: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let lost = state.place == Place::Loopback && state.now(|it| it.capture_lost);
        let of = Arc::clone(state);
        let part = match self {
            Self::Hbone(pod) => Part::Hbone(pod, state.hbone_number()),
            Self::Plaintext(pod, _) | Self::Outbound(pod, _) if lost => Part::Bypass(pod),
            Self::Plaintext(pod, _) | Self::RedirectedIn(pod) => Part::Plaintext(pod),
            Self::Outbound(..) | Self::RedirectedOut(_) | Self::Own(_) => Part::Process,
        };
        state.spawn(part, async move {
            let _permit = permit;
            match self {
                Self::Hbone(pod) => inbound::serve(of, pod, part, stream, client).await,
                Self::Plaintext(pod, port) if lost => {
                    plaintext::bypass(of, pod, port, stream, client).await;
                }
                Self::Plaintext(pod, port) => {
                    plaintext::serve(of, pod, port, stream, client).await;
                }
                Self::Outbound(pod, to) if lost => outbound::bypass(of, pod, to, stream).await,
                Self::Outbound(pod, to) => outbound::serve(of, pod, to, stream, client).await,
                Self::RedirectedIn(pod) => {
                    let Some(to) = original_destination(&stream) else { return };
                    plaintext::serve(of, pod, to.port(), stream, client).await;
                }
                Self::RedirectedOut(pod) => {
                    let Some(to) = original_destination(&stream) else { return };
                    // A call to ourselves would go round and round.
                    if !(to.ip().is_loopback() && CAPTURE_PORTS.contains(&to.port())) {
                        outbound::serve(of, pod, to, stream, client).await;
                    }
                }
                Self::Own(page) => admin::serve(of, page, stream).await,
            }
        });
    }
}

/// Where a redirected connection was going.
fn original_destination(stream: &TcpStream) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let found = match stream.local_addr().ok()? {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    found.ok()?.as_socket()
}
