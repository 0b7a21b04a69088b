//! A reply held against what was stated: RCODE, number of answers, addresses. Sends nothing.

use ipnet::IpNet;

use crate::failure::{Fault, Reason};
use crate::net::dns::{Question, Rcode, Reply};
use crate::spec::DnsModule;

/// What was stated of a reply.
#[derive(Debug)]
pub(super) struct Wanted {
    rcodes: Vec<String>,
    min_answers: u16,
    addresses: Vec<IpNet>,
}

/// What a reply says is missing, so that a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// NXDOMAIN.
    OfName,
    /// NODATA, where answers were wanted.
    OfType,
}

impl Wanted {
    pub(super) fn new(module: &DnsModule) -> Self {
        let mut rcodes = module.rcodes.clone();
        if rcodes.is_empty() {
            rcodes.push(Rcode::NOERROR.to_string());
        }
        Self { rcodes, min_answers: module.min_answers, addresses: module.addresses.clone() }
    }

    /// Whether `reply` leaves the question to the next name of a search list.
    ///
    /// Any other reply settles it, errors too: behind a failing server nobody knows whether the
    /// name exists.
    pub(super) fn absence(
        &self,
        reply: &Reply,
        question: &Question,
    ) -> Result<Option<Absence>, Fault> {
        let rcode = reply.rcode();
        if rcode == Rcode::NXDOMAIN {
            return Ok(Some(Absence::OfName));
        }
        let empty = rcode == Rcode::NOERROR && reply.answers(question)?.is_empty();
        Ok((empty && self.min_answers > 0).then_some(Absence::OfType))
    }

    /// Whether the last reply is a good one. `exists` is a name that an earlier reply of the search
    /// said to exist without the type: then NXDOMAIN of the last name is NODATA of the question.
    pub(super) fn judge(
        &self,
        reply: &Reply,
        question: &Question,
        exists: Option<&Question>,
    ) -> Result<(), Fault> {
        let rcode = reply.rcode();
        let expected = |rcode: Rcode| self.rcodes.iter().any(|text| rcode.is(text));
        if let (Rcode::NXDOMAIN, Some(known)) = (rcode, exists)
            && expected(Rcode::NOERROR)
        {
            return Err(nodata(known));
        }
        if !expected(rcode) {
            let detail = format!(
                "{rcode} for {}, expected {}",
                question.name_text(),
                self.rcodes.join(" or ")
            );
            return Err(Fault::new(rcode.reason(), detail));
        }
        if rcode == Rcode::NOERROR { self.judge_answers(reply, question) } else { Ok(()) }
    }

    fn judge_answers(&self, reply: &Reply, question: &Question) -> Result<(), Fault> {
        let answers = reply.answers(question)?;
        if answers.is_empty() && self.min_answers > 0 {
            return Err(nodata(question));
        }
        if answers.len() < usize::from(self.min_answers) {
            let (count, least) = (answers.len(), self.min_answers);
            let detail = format!("{count} answers, expected at least {least}");
            return Err(Fault::new(Reason::DnsMismatch, detail));
        }
        let stranger = answers
            .iter()
            .filter_map(|answer| answer.ip())
            .find(|ip| !self.addresses.iter().any(|network| network.contains(ip)));
        match stranger {
            Some(ip) if !self.addresses.is_empty() => Err(Fault::new(
                Reason::DnsMismatch,
                format!("{ip} is outside the expected addresses"),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

fn nodata(question: &Question) -> Fault {
    let qtype = question.qtype.as_str();
    let name = question.name_text();
    Fault::new(Reason::Nodata, format!("{name} exists, without {qtype}"))
}
