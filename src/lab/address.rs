//! Addresses of a lab: a part of 127/8 that no other lab on this machine uses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Whoever listens here has the /16 that the address is in.
const CLAIM_PORT: u16 = 15099;
/// Second octets that labs take from.
const PARTS: std::ops::RangeInclusive<u8> = 64..=126;

/// A /16 of loopback, held until it is dropped.
#[derive(Debug)]
pub(super) struct Addresses {
    part: u8,
    next: AtomicU16,
    _claim: TcpListener,
}

impl Addresses {
    /// Claims a part that is free.
    pub(super) fn claim() -> io::Result<Self> {
        let mut last = None;
        for part in PARTS {
            let claim = SocketAddr::from((Ipv4Addr::new(127, part, 255, 254), CLAIM_PORT));
            match TcpListener::bind(claim) {
                Ok(listener) => {
                    return Ok(Self { part, next: AtomicU16::new(1), _claim: listener });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    /// An address that was not given before.
    pub(super) fn next(&self) -> Ipv4Addr {
        let [high, low] = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Ipv4Addr::new(127, self.part, high, low)
    }
}
