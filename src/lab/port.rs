//! A TCP port of the lab whose kernel side can break: refused, or dropped on the way.
//!
//! Needs no privileges. *Refused* is a socket that is bound and does not listen; *dropped* is one
//! that listens with a full queue, so that Linux drops further SYNs, as a NetworkPolicy does.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

const BACKLOG: u32 = 1024;
/// Tries to take an address back that this process has just released.
const REBINDS: u32 = 50;
const REBIND_PAUSE: Duration = Duration::from_millis(10);
/// Pause when the machine has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A connection on loopback that takes longer was dropped: the queue is full.
const FILL: Duration = Duration::from_millis(100);

/// What the kernel does with a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Gate {
    /// Connections are accepted.
    #[default]
    Open,
    /// RST to SYN: nothing listens.
    Refused,
    /// No answer to SYN.
    Dropped,
}

/// A bound port.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(TcpListener),
    /// Held, so that nobody else takes the port meanwhile.
    Refused {
        _held: TcpSocket,
    },
    Dropped {
        _held: TcpListener,
        _queue: Vec<TcpStream>,
    },
    /// Between two states, or after a failure of the kernel: refused.
    Unbound,
}

impl Port {
    /// Listens on `address`; port 0 takes a free one.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = bound(address)?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { address, state: State::Open(listener) })
    }

    /// The address with the port that was given.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or breaks the port. Connections that were accepted stay; waiting ones are reset.
    pub(super) async fn set(&mut self, gate: Gate) -> io::Result<()> {
        let already = matches!(
            (&self.state, gate),
            (State::Open(_), Gate::Open)
                | (State::Refused { .. }, Gate::Refused)
                | (State::Dropped { .. }, Gate::Dropped)
        );
        if already {
            return Ok(());
        }
        self.state = State::Unbound;
        let socket = rebound(self.address).await?;
        self.state = match gate {
            Gate::Open => State::Open(socket.listen(BACKLOG)?),
            Gate::Refused => State::Refused { _held: socket },
            Gate::Dropped => full(socket.listen(0)?, self.address).await?,
        };
        Ok(())
    }

    /// The next connection; waits for ever while the port is not open.
    pub(super) async fn accept(&self) -> (TcpStream, SocketAddr) {
        let State::Open(listener) = &self.state else { return std::future::pending().await };
        loop {
            match listener.accept().await {
                Ok(accepted) => return accepted,
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket(address)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Closing a listener takes the kernel a moment.
async fn rebound(address: SocketAddr) -> io::Result<TcpSocket> {
    for _ in 1..REBINDS {
        match bound(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(REBIND_PAUSE).await;
            }
            done => return done,
        }
    }
    bound(address)
}

/// Fills the queue of `listener` until a connection gets no answer.
async fn full(listener: TcpListener, address: SocketAddr) -> io::Result<State> {
    let mut queue = Vec::new();
    while let Ok(connected) =
        timeout_at(Instant::now() + FILL, socket(address)?.connect(address)).await
    {
        queue.push(connected?);
    }
    Ok(State::Dropped { _held: listener, _queue: queue })
}
