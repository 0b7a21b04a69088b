//! `dns`: one question to one server, in exactly the packets that were asked for.
//!
//! A search list is several questions, each recorded. A lost datagram is a timeout unless retries
//! were asked for; a truncated reply is asked again over TCP, and the facts say so.

mod asking;
mod judge;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::failure::{Failure, Fault, Phase};
use crate::net::Resolver;
use crate::net::dns::{self, Question, SearchList};
use crate::outcome::Outcome;
use crate::probe::Environment;
use crate::probe::journal::Journal;
use crate::spec::{DnsModule, IpPreference, ProbeSpec, Qtype, Search, Timeouts, Transport};
use crate::target::{Endpoint, Host};

use asking::Asking;
pub(super) use asking::describe;
use judge::{Absence, Wanted};

/// A prepared `dns` probe.
#[derive(Debug)]
pub struct DnsProbe {
    /// One per name of the search list, or why the name cannot be asked.
    questions: Result<Vec<Question>, Fault>,
    server: Option<Endpoint>,
    transport: Transport,
    retries: u8,
    wanted: Wanted,
    timeouts: Timeouts,
    resolver: Arc<Resolver>,
}

impl DnsProbe {
    pub(super) fn new(
        module: &DnsModule,
        name: &str,
        server: Option<&Endpoint>,
        spec: &ProbeSpec,
        environment: &Environment,
    ) -> Self {
        Self {
            questions: questions(module, name, environment.resolver.search()),
            server: server.cloned(),
            transport: module.transport,
            retries: module.retries,
            wanted: Wanted::new(module),
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
        let server = self.server(journal).await?;
        journal.facts.remote_address = Some(server);
        let mut asking = Asking::new(journal, server, self.transport, self.retries);
        let result = self.search(&mut asking).await;
        asking.finish();
        result
    }

    /// Whom to ask: an address, a name that takes a `resolve` phase, or resolv.conf's first.
    async fn server(&self, journal: &mut Journal) -> Result<SocketAddr, Failure> {
        let told = |fault: Fault| fault.during(Phase::Resolve);
        let Some(endpoint) = &self.server else {
            return self.resolver.nameserver().map_err(told);
        };
        let ip = match &endpoint.host {
            Host::Ip(ip) => *ip,
            Host::Name(name) => {
                let resolving = self.resolver.resolve(name, IpPreference::default());
                journal.phase(Phase::Resolve, resolving).await?
            }
        };
        Ok(SocketAddr::new(ip, endpoint.port))
    }

    /// Asks name after name until one settles the question.
    async fn search(&self, asking: &mut Asking<'_>) -> Result<(), Failure> {
        let told = |fault: Fault| fault.during(Phase::Processing);
        let questions = self.questions.as_ref().map_err(|fault| told(fault.clone()))?;
        let (last, earlier) = questions.split_last().expect("a name is at least itself");
        let mut exists = None;
        for question in earlier {
            let reply = asking.ask(question).await?;
            match self.wanted.absence(&reply, question).map_err(told)? {
                None => return self.wanted.judge(&reply, question, None).map_err(told),
                Some(Absence::OfType) => exists = Some(question),
                Some(Absence::OfName) => {}
            }
            asking.pass_over(&reply);
        }
        let reply = asking.ask(last).await?;
        self.wanted.judge(&reply, last, exists).map_err(told)
    }
}

/// The questions that `name` comes to; for PTR an address stands for its reverse name.
fn questions(
    module: &DnsModule,
    name: &str,
    resolv_conf: &SearchList,
) -> Result<Vec<Question>, Fault> {
    let names = match (module.qtype, name.parse::<IpAddr>()) {
        (Qtype::Ptr, Ok(ip)) => vec![dns::reverse_name(ip)],
        (_, _) => match &module.search {
            Search::Off => vec![dns::absolute(name)?],
            Search::ResolvConf => resolv_conf.expand(name)?,
            Search::List { domains, ndots } => SearchList::new(domains, *ndots)?.expand(name)?,
        },
    };
    let question = |name| Question { name, qtype: module.qtype };
    Ok(names.into_iter().map(question).collect())
}
