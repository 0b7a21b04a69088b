//! When bytes reached this machine, as the kernel saw it (SO_TIMESTAMPING, software).
//!
//! On a busy machine a reply waits for the CPU longer than it travelled; the kernel's stamp takes
//! that wait out of a latency. Knows nothing of streams or datagrams beyond recvmsg(2).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

/// Bytes taken from a socket, with the kernel's stamp on them when there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) bytes: usize,
    kernel: Option<TimeSpec>,
}

impl Received {
    /// How long ago the bytes reached this machine, by the wall clock the kernel stamps with.
    ///
    /// `None` without a stamp, or when the wall clock stepped back. It may also step forward: the
    /// caller must not believe an age from before its own request.
    pub(super) fn age(&self) -> Option<Duration> {
        let stamp = self.kernel?;
        let zero = stamp.tv_sec() == 0 && stamp.tv_nsec() == 0;
        let now = clock_gettime(ClockId::CLOCK_REALTIME).ok()?;
        let age = Duration::from(now).checked_sub(Duration::from(stamp))?;
        (!zero).then_some(age)
    }
}

/// Asks the kernel to stamp what `socket` receives.
///
/// Without kernel stamps (an old kernel, a sandbox) our own clock has to do, so errors are none.
pub(super) fn enable(socket: &impl AsFd) {
    static KEPT: OnceLock<Socket> = OnceLock::new();
    // The kernel stamps packets only while some socket of the machine wants it, and switches that
    // off and on with a delay: a packet right after the switch goes without. One idle socket of
    // ours keeps it on.
    if KEPT.get().is_none()
        && let Ok(idle) = Socket::new(Domain::IPV4, Type::DGRAM, None)
    {
        request(&idle);
        let _ = KEPT.set(idle);
    }
    request(socket);
}

fn request(socket: &impl AsFd) {
    let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    let _ = setsockopt(socket, sockopt::Timestamping, &flags);
}

/// recvmsg(2) with the kernel's stamp. Does not wait on a non-blocking socket.
pub(super) fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!([TimeSpec; 3]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let kernel = message.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps.system),
            _ => None,
        })
    });
    Ok(Received { bytes: message.bytes, kernel })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_datagram_that_waited_in_the_socket_is_as_old_as_its_wait() {
        const WAIT: Duration = Duration::from_millis(5);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
        enable(&socket);
        let address = socket.local_addr().expect("bound");
        // The first ones may come before the kernel has switched stamping on.
        let stamped = (0..200).find_map(|_| {
            socket.send_to(b"x", address).expect("loopback takes datagrams");
            std::thread::sleep(WAIT);
            let received = receive(&socket, &mut [0; 8]).expect("the datagram");
            assert_eq!(received.bytes, 1);
            received.age()
        });
        assert!(stamped.expect("the kernel stamps datagrams") >= WAIT);
    }
}
