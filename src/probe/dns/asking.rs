//! Questions on their way: phases, packets and facts, name by name. Knows nothing of what is hoped
//! for.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::dns::{self, Question, Reply, Tally};
use crate::outcome::{DnsFacts, SearchStep};
use crate::probe::journal::{Journal, bounded};
use crate::probe::tcp;
use crate::spec::Transport;

/// The exchanges of one attempt with one server.
pub(super) struct Asking<'a> {
    journal: &'a mut Journal,
    server: SocketAddr,
    transport: Transport,
    retries: u8,
    facts: DnsFacts,
    /// Sum of the round trips so far.
    processing: Duration,
    /// Round trips of the last name.
    last: Duration,
    /// Bytes that the journal does not see by itself: of datagrams and earlier connections.
    unseen_bytes: u64,
    connection_bytes: u64,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        journal: &'a mut Journal,
        server: SocketAddr,
        transport: Transport,
        retries: u8,
    ) -> Self {
        let facts = DnsFacts { server: Some(server), ..DnsFacts::default() };
        Self {
            journal,
            server,
            transport,
            retries,
            facts,
            processing: Duration::ZERO,
            last: Duration::ZERO,
            unseen_bytes: 0,
            connection_bytes: 0,
        }
    }

    /// Asks one question and notes its reply; a truncated one is asked again over TCP.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Reply, Failure> {
        self.last = Duration::ZERO;
        self.facts.name = question.name_text();
        self.facts.truncated = false;
        let reply = match self.transport {
            Transport::Udp => {
                let reply = self.over_udp(question).await?;
                if reply.is_truncated() {
                    self.facts.truncated = true;
                    self.over_tcp(question).await?
                } else {
                    reply
                }
            }
            Transport::Tcp => self.over_tcp(question).await?,
        };
        describe(&mut self.facts, &reply);
        self.journal.ended_at(reply.arrived());
        Ok(reply)
    }

    /// Files the last name under those that did not settle the question.
    pub(super) fn pass_over(&mut self, reply: &Reply) {
        self.facts.searched.push(SearchStep {
            name: std::mem::take(&mut self.facts.name),
            rcode: reply.rcode().to_string(),
            duration: self.last,
        });
        self.facts.rcode = None;
        self.facts.answers.clear();
        self.facts.sections = None;
        self.facts.authoritative = None;
    }

    /// Hands the facts to the journal.
    pub(super) fn finish(self) {
        self.journal.note_reply_bytes(self.unseen_bytes);
        self.journal.facts.dns = Some(self.facts);
    }

    /// One datagram, or as many as there are tries, each with an equal share of the time.
    async fn over_udp(&mut self, question: &Question) -> Result<Reply, Failure> {
        self.facts.transport = Some("udp");
        let mut tally = Tally::default();
        let tries = u32::from(self.retries) + 1;
        let began = Instant::now();
        let share = (self.journal.phase_deadline(Phase::Processing) - began) / tries;
        let asked = self.journal.phase(Phase::Processing, async {
            for earlier in 1..tries {
                let one = dns::ask_udp(self.server, question, &mut tally);
                match bounded(began + share * earlier, Instant::now(), one).await {
                    Err(fault) if fault.reason == Reason::Timeout => {}
                    settled => return settled,
                }
            }
            dns::ask_udp(self.server, question, &mut tally).await
        });
        let result = asked.await.map_err(|failure| {
            let fault = Fault::new(failure.reason, failure.detail);
            tally.explain(fault).during(failure.phase)
        });
        self.unseen_bytes += tally.datagram_bytes;
        self.note(&tally, result)
    }

    async fn over_tcp(&mut self, question: &Question) -> Result<Reply, Failure> {
        self.facts.transport = Some("tcp");
        let mut stream = tcp::connect(self.journal, self.server, None, Phase::Processing).await?;
        let mut tally = Tally::default();
        let asking = dns::ask_tcp(&mut stream, question, &mut tally);
        let result = self.journal.phase(Phase::Processing, asking).await;
        self.unseen_bytes += self.connection_bytes;
        self.connection_bytes = stream.stamps().received();
        self.journal.note_connection(&stream.stamps());
        self.note(&tally, result)
    }

    /// Counts packets, and replaces the time we waited by the time the reply took.
    fn note(&mut self, tally: &Tally, result: Result<Reply, Failure>) -> Result<Reply, Failure> {
        self.facts.queries_sent += tally.sent;
        self.facts.ignored_replies += tally.ignored;
        let reply = result?;
        let sent = tally.first_sent.unwrap_or_else(|| reply.sent());
        let took = reply.arrived().saturating_duration_since(sent);
        self.last += took;
        self.processing += took;
        self.journal.set_phase(Phase::Processing, self.processing);
        Ok(reply)
    }
}

/// Writes down what `reply` says.
pub(in crate::probe) fn describe(facts: &mut DnsFacts, reply: &Reply) {
    facts.rcode = Some(reply.rcode().to_string());
    facts.answers = reply.presented();
    facts.sections = Some(reply.sections());
    facts.authoritative = Some(reply.is_authoritative());
}
