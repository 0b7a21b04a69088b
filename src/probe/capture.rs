//! `capture`: whether this pod's DNS and TCP really go to ztunnel, and its HBONE socket is there.
//!
//! Asked at once: a name of an address where no DNS server is, a connection to an address where
//! no host is, and a connection to ztunnel's HBONE port. Nobody but a capture rule can make the
//! first two come to something. So silence is an answer here, *not captured*, and no failure:
//! each question waits for three quarters of the attempt's time, and ends before its deadline.
//!
//! An address without a route is never captured: the kernel looks for a route before it looks at
//! any rule. `processing` is the DNS round trip, `connect` the decoy's; a question that nobody
//! answered has neither.

mod compare;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Blame, Failure, Fault, Phase, Reason};
use crate::net::dns::{self, Question, Reply, Tally};
use crate::net::{self, Resolver, Stamps};
use crate::outcome::{CaptureFacts, DnsFacts, Outcome};
use crate::probe::journal::{Journal, bounded};
use crate::probe::{Environment, dns as dns_probe, tcp};
use crate::spec::{CaptureModule, IpPreference, ProbeSpec, Qtype, Timeouts};
use crate::target::Endpoint;

/// A prepared `capture` probe.
#[derive(Debug)]
pub struct CaptureProbe {
    /// What DNS is asked, or why it cannot be.
    question: Result<Question, Fault>,
    enrolled: bool,
    dns_server: Endpoint,
    decoy: Endpoint,
    hbone: Option<Endpoint>,
    timeouts: Timeouts,
    resolver: Arc<Resolver>,
}

/// What became of the DNS question.
struct Asked {
    tally: Tally,
    reply: Result<Reply, Fault>,
}

/// What became of a connect.
enum Knock {
    /// Somebody accepted.
    Accepted { took: Duration, stamps: Option<Stamps> },
    /// Somebody sent RST.
    Refused { took: Duration },
    /// No answer, or no way.
    Silent,
    /// Our own side failed, or nobody knows who.
    Spoiled(Fault),
}

impl CaptureProbe {
    pub(super) fn new(
        module: &CaptureModule,
        name: &str,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Self {
        let question = |name| Question { name, qtype: Qtype::A };
        Self {
            question: dns::absolute(name).map(question),
            enrolled: module.enrolled,
            dns_server: module.dns_server.clone(),
            decoy: module.decoy.clone(),
            hbone: module.hbone.clone(),
            timeouts: spec.timeouts,
            resolver: Arc::clone(&environment.resolver),
        }
    }

    pub(super) async fn attempt(&self) -> Outcome {
        let mut journal = Journal::start(self.timeouts);
        let result = self.find_out(&mut journal).await;
        journal.finish(result)
    }

    async fn find_out(&self, journal: &mut Journal) -> Result<(), Failure> {
        let told = |fault: &Fault| fault.clone().during(Phase::Processing);
        let question = self.question.as_ref().map_err(told)?;
        let server = self.locate(journal, &self.dns_server).await?;
        let decoy = self.locate(journal, &self.decoy).await?;
        let hbone = match &self.hbone {
            Some(endpoint) => Some(self.locate(journal, endpoint).await?),
            None => None,
        };
        journal.facts.remote_address = Some(decoy);
        let now = Instant::now();
        let patience = now + journal.deadline().saturating_duration_since(now) * 3 / 4;
        let answer_by = journal.phase_deadline(Phase::Processing).min(patience);
        let connect_by = journal.phase_deadline(Phase::Connect).min(patience);
        let knock_hbone = async {
            match hbone {
                Some(address) => Some(knock(address, connect_by).await),
                None => None,
            }
        };
        let (asked, decoy, hbone) =
            tokio::join!(ask(server, question, answer_by), knock(decoy, connect_by), knock_hbone);
        note_decoy(journal, &decoy);
        note_dns(journal, server, question, &asked);
        self.judge(journal, asked, decoy, hbone)
    }

    /// Where `endpoint` is. Names take a `resolve` phase, of at most half of the attempt.
    async fn locate(
        &self,
        journal: &mut Journal,
        endpoint: &Endpoint,
    ) -> Result<SocketAddr, Failure> {
        journal.limit(Some(self.timeouts.total / 2));
        let located = tcp::locate(journal, &self.resolver, endpoint, IpPreference::default()).await;
        journal.limit(None);
        located
    }

    /// Facts first, as far as they are known; then what is wrong with them.
    fn judge(
        &self,
        journal: &mut Journal,
        asked: Asked,
        decoy: Knock,
        hbone: Option<Knock>,
    ) -> Result<(), Failure> {
        let dns = answered(asked.reply);
        let refused = matches!(decoy, Knock::Refused { .. });
        let tcp = decoy.met_somebody();
        let hbone = hbone.map(Knock::was_accepted).transpose();
        journal.facts.capture = Some(CaptureFacts {
            dns: dns.as_ref().ok().copied(),
            tcp: tcp.as_ref().ok().copied(),
            hbone: hbone.as_ref().ok().copied().flatten(),
        });
        let facts = CaptureFacts {
            dns: Some(dns.map_err(|fault| fault.during(Phase::Processing))?),
            tcp: Some(tcp.map_err(|fault| fault.during(Phase::Connect))?),
            hbone: hbone.map_err(|fault| fault.during(Phase::Connect))?,
        };
        if refused && self.enrolled {
            return Err(compare::nobody_there(facts).during(Phase::Connect));
        }
        compare::compare(self.enrolled, facts).map_err(|fault| fault.during(Phase::Processing))
    }
}

impl Knock {
    /// Whether anybody answered, be it with RST.
    fn met_somebody(self) -> Result<bool, Fault> {
        match self {
            Self::Accepted { .. } | Self::Refused { .. } => Ok(true),
            Self::Silent => Ok(false),
            Self::Spoiled(fault) => Err(fault),
        }
    }

    fn was_accepted(self) -> Result<bool, Fault> {
        match self {
            Self::Accepted { .. } => Ok(true),
            Self::Refused { .. } | Self::Silent => Ok(false),
            Self::Spoiled(fault) => Err(fault),
        }
    }
}

/// Whether an answer came. Silence, a refusal and a missing route are no answer; what came and
/// was no answer (`dns_malformed`) is a failure, like those of our own.
fn answered(reply: Result<Reply, Fault>) -> Result<bool, Fault> {
    let Err(fault) = reply else {
        return Ok(true);
    };
    match (fault.reason, fault.reason.blame()) {
        (Reason::DnsMalformed, _) | (_, Blame::Prober) => Err(fault),
        (_, Blame::Network) => Ok(false),
    }
}

async fn ask(server: SocketAddr, question: &Question, deadline: Instant) -> Asked {
    let mut tally = Tally::default();
    let asking = dns::ask_udp(server, question, &mut tally);
    let reply = bounded(deadline, Instant::now(), asking).await;
    let reply = reply.map_err(|fault| tally.explain(fault));
    Asked { tally, reply }
}

async fn knock(address: SocketAddr, deadline: Instant) -> Knock {
    let began = Instant::now();
    let fault = match bounded(deadline, began, net::connect(address)).await {
        Ok(stream) => {
            let stamps = stream.stamps();
            return Knock::Accepted { took: stamps.connect_time(), stamps: Some(stamps) };
        }
        Err(fault) => fault,
    };
    let took = began.elapsed();
    match (fault.reason, fault.reason.blame()) {
        (Reason::Refused, _) => Knock::Refused { took },
        // Accepted, and reset before we came to look.
        (Reason::Reset, _) => Knock::Accepted { took, stamps: None },
        (_, Blame::Prober) => Knock::Spoiled(fault),
        (_, Blame::Network) => Knock::Silent,
    }
}

fn note_decoy(journal: &mut Journal, decoy: &Knock) {
    match decoy {
        Knock::Accepted { took, stamps } => {
            journal.set_phase(Phase::Connect, *took);
            if let Some(stamps) = stamps {
                journal.note_connection(stamps);
            }
        }
        Knock::Refused { took } => journal.set_phase(Phase::Connect, *took),
        Knock::Silent | Knock::Spoiled(_) => {}
    }
}

fn note_dns(journal: &mut Journal, server: SocketAddr, question: &Question, asked: &Asked) {
    let mut facts = DnsFacts {
        name: question.name_text(),
        server: Some(server),
        transport: Some("udp"),
        queries_sent: asked.tally.sent,
        ignored_replies: asked.tally.ignored,
        ..DnsFacts::default()
    };
    if let Ok(reply) = &asked.reply {
        facts.truncated = reply.is_truncated();
        dns_probe::describe(&mut facts, reply);
        let took = reply.arrived().saturating_duration_since(reply.sent());
        journal.set_phase(Phase::Processing, took);
    }
    journal.note_reply_bytes(asked.tally.datagram_bytes);
    journal.facts.dns = Some(facts);
}
