//! `tcp`: a connection, optionally bytes out, and bytes back.
//!
//! Behind ztunnel a connect alone proves nothing, so a reply is awaited unless the expectation is
//! no more than a connect.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use regex::bytes::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::expectation::Expectation;
use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::{self, Resolver, Stream, io_fault};
use crate::outcome::Outcome;
use crate::probe::Environment;
use crate::probe::journal::Journal;
use crate::spec::{IpPreference, ProbeSpec, TcpModule, Timeouts};
use crate::target::{Endpoint, Host};

/// A reply longer than this without a match is a mismatch.
const REPLY_LIMIT: usize = 64 * 1024;

/// A prepared `tcp` probe.
#[derive(Debug)]
pub struct TcpProbe {
    endpoint: Endpoint,
    send: Option<Vec<u8>>,
    reply_regex: Option<Regex>,
    await_reply: bool,
    ip: IpPreference,
    timeouts: Timeouts,
    resolver: Arc<Resolver>,
}

impl TcpProbe {
    pub(super) fn new(
        module: &TcpModule,
        endpoint: &Endpoint,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            send: module.send.clone(),
            reply_regex: module.reply_regex.clone(),
            await_reply: spec.expect != Expectation::Connect,
            ip: module.ip,
            timeouts: spec.timeouts,
            resolver: Arc::clone(&environment.resolver),
        }
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let result = self.exchange(&mut journal).await;
        journal.finish(result)
    }

    async fn exchange(&self, journal: &mut Journal) -> Result<(), Failure> {
        let next = Phase::Processing;
        let mut stream = open(journal, &self.resolver, &self.endpoint, self.ip, next).await?;
        let result = self.talk(journal, &mut stream).await;
        journal.note_connection(&stream.stamps());
        result
    }

    async fn talk(&self, journal: &mut Journal, stream: &mut Stream) -> Result<(), Failure> {
        if !self.await_reply {
            return Ok(());
        }
        let stamps = stream.stamps();
        stamps.mark();
        let began = Instant::now();
        let mut reply = Vec::new();
        journal
            .phase(Phase::Processing, async {
                if let Some(bytes) = &self.send {
                    stream.write_all(bytes).await.map_err(|e| io_fault(&e))?;
                }
                read_some(stream, &mut reply).await
            })
            .await?;
        let first = stamps.first_read().expect("a read phase that succeeded saw bytes");
        let asked = stamps.first_write().unwrap_or(began);
        journal.set_phase(Phase::Processing, first.saturating_duration_since(asked));
        if let Some(regex) = &self.reply_regex {
            journal
                .phase(Phase::Transfer, async {
                    while !regex.is_match(&reply) {
                        if reply.len() >= REPLY_LIMIT {
                            return Err(mismatch(regex, "64 KiB of reply"));
                        }
                        match read_some(stream, &mut reply).await {
                            Err(fault) if fault.reason == Reason::Closed => {
                                return Err(mismatch(regex, "the whole reply"));
                            }
                            other => other?,
                        }
                    }
                    Ok(())
                })
                .await?;
            let last = stamps.last_read().expect("bytes were read");
            journal.set_phase(Phase::Transfer, last.saturating_duration_since(first));
        }
        journal.ended_at(stamps.last_read().expect("bytes were read"));
        Ok(())
    }
}

/// Resolves and connects: the two phases that every probe over TCP begins with; `next` is the
/// phase that follows.
pub(super) async fn open(
    journal: &mut Journal,
    resolver: &Resolver,
    endpoint: &Endpoint,
    ip: IpPreference,
    next: Phase,
) -> Result<Stream, Failure> {
    let address = locate(journal, resolver, endpoint, ip).await?;
    journal.facts.remote_address = Some(address);
    connect(journal, address, ip.source, next).await
}

/// The address of `endpoint`; a name takes the phase `resolve`.
pub(super) async fn locate(
    journal: &mut Journal,
    resolver: &Resolver,
    endpoint: &Endpoint,
    ip: IpPreference,
) -> Result<SocketAddr, Failure> {
    let address = match &endpoint.host {
        Host::Ip(ip) => *ip,
        Host::Name(name) => journal.phase(Phase::Resolve, resolver.resolve(name, ip)).await?,
    };
    Ok(SocketAddr::new(address, endpoint.port))
}

/// The phase `connect`, as long as the kernel's own handshake took.
///
/// A SYN is refused, never reset: a reset seen by connect(2) hit a connection that was established
/// already, before we came to look, and so belongs to `next`.
pub(super) async fn connect(
    journal: &mut Journal,
    address: SocketAddr,
    source: Option<IpAddr>,
    next: Phase,
) -> Result<Stream, Failure> {
    let began = Instant::now();
    let connected = async {
        let stream = net::connect_from(source, address).await?;
        let took = stream.stamps().connect_time();
        Ok((stream, took))
    };
    let stream = journal.measured(Phase::Connect, connected).await.map_err(|mut failure| {
        if failure.reason == Reason::Reset {
            failure.phase = next;
        }
        failure
    })?;
    journal.note_own_delay(began.elapsed().saturating_sub(stream.stamps().connect_time()));
    Ok(stream)
}

/// Appends what one read gives; the end of the stream is `closed`.
async fn read_some(stream: &mut Stream, reply: &mut Vec<u8>) -> Result<(), Fault> {
    match stream.read_buf(reply).await {
        Ok(0) => Err(Fault::new(Reason::Closed, "closed by the peer")),
        Ok(_) => Ok(()),
        Err(error) => Err(io_fault(&error)),
    }
}

fn mismatch(regex: &Regex, seen: &str) -> Fault {
    Fault::new(Reason::BodyMismatch, format!("{seen} does not match `{regex}`"))
}
