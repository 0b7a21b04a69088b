//! A reply to a question: its answers along the chain of aliases, and as people read them.

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData};
use tokio::time::Instant;

use crate::failure::{Fault, Reason};
use crate::net::dns::wire::record_type;
use crate::net::dns::{Question, Rcode, text};

/// A reply that belongs to its question, whatever it says.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) message: Message,
    /// When the query that it answers was handed to the kernel.
    pub(super) sent: Instant,
    /// When its last byte reached this machine.
    pub(super) arrived: Instant,
}

/// One record of the type asked for, owned by the name asked or by what that is an alias of.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a>(&'a RData);

impl Answer<'_> {
    /// The address of an A or AAAA record.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.ip_addr()
    }
}

impl Reply {
    /// When the query that it answers was handed to the kernel.
    pub fn sent(&self) -> Instant {
        self.sent
    }

    /// When its last byte reached this machine.
    pub fn arrived(&self) -> Instant {
        self.arrived
    }

    /// The result code.
    pub fn rcode(&self) -> Rcode {
        Rcode(self.message.response_code)
    }

    /// TC bit: there was more than the transport could carry.
    pub fn is_truncated(&self) -> bool {
        self.message.truncation
    }

    /// AA bit.
    pub fn is_authoritative(&self) -> bool {
        self.message.authoritative
    }

    /// Records in the answer, authority and additional sections (without OPT).
    pub fn sections(&self) -> [u16; 3] {
        let message = &self.message;
        [&message.answers, &message.authorities, &message.additionals]
            .map(|records| u16::try_from(records.len()).expect("counted by 16 bits on the wire"))
    }

    /// Record data of the whole answer section in presentation form, aliases included.
    pub fn presented(&self) -> Vec<String> {
        let answers = self.message.answers.iter();
        answers.map(|record| text::data(&record.data)).collect()
    }

    /// The records that answer `question`, behind any aliases. None is NODATA, or an error code.
    ///
    /// `dns_malformed` when the aliases lead in a circle.
    pub fn answers(&self, question: &Question) -> Result<Vec<Answer<'_>>, Fault> {
        let wanted = record_type(question.qtype);
        let mut owner = &question.name;
        let mut passed: Vec<&Name> = Vec::new();
        loop {
            let here = || self.message.answers.iter().filter(|r| r.name == *owner);
            let found: Vec<_> = here()
                .filter(|record| record.record_type() == wanted)
                .map(|record| Answer(&record.data))
                .collect();
            let alias = here().find_map(|record| match &record.data {
                RData::CNAME(target) => Some(&target.0),
                _ => None,
            });
            match alias {
                Some(target) if found.is_empty() => {
                    passed.push(owner);
                    if passed.contains(&target) {
                        return Err(Fault::new(
                            Reason::DnsMalformed,
                            format!("CNAME loop at {}", text::name(target)),
                        ));
                    }
                    owner = target;
                }
                Some(_) | None => return Ok(found),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::op::OpCode;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, CNAME};

    use super::*;
    use crate::spec::Qtype;

    fn name(text: &str) -> Name {
        Name::from_str(text).expect("valid")
    }

    fn alias(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 30, RData::CNAME(CNAME(name(target))))
    }

    fn address(owner: &str) -> Record {
        Record::from_rdata(name(owner), 30, RData::A(A::new(10, 0, 0, 1)))
    }

    fn answers(records: Vec<Record>, qtype: Qtype) -> Result<usize, Reason> {
        let mut message = Message::response(1, OpCode::Query);
        message.insert_answers(records);
        let reply = Reply { message, sent: Instant::now(), arrived: Instant::now() };
        let question = Question { name: name("a.example."), qtype };
        let found = reply.answers(&question).map(|found| found.len());
        found.map_err(|fault| fault.reason)
    }

    #[test]
    fn an_address_behind_aliases_in_any_order_is_an_answer() {
        let records = vec![
            address("C.example."),
            alias("b.example.", "c.example."),
            alias("A.example.", "b.example."),
        ];
        assert_eq!(answers(records, Qtype::A), Ok(1));
    }

    #[test]
    fn an_alias_of_nothing_and_an_address_of_another_name_are_no_answers() {
        assert_eq!(answers(vec![alias("a.example.", "b.example.")], Qtype::A), Ok(0));
        assert_eq!(answers(vec![address("b.example.")], Qtype::A), Ok(0));
    }

    #[test]
    fn an_alias_answers_a_question_for_aliases() {
        let records = vec![alias("a.example.", "b.example."), address("b.example.")];
        assert_eq!(answers(records, Qtype::Cname), Ok(1));
    }

    #[test]
    fn aliases_in_a_circle_are_malformed() {
        let long = vec![
            alias("a.example.", "b.example."),
            alias("b.example.", "c.example."),
            alias("c.example.", "b.example."),
        ];
        assert_eq!(answers(long, Qtype::A), Err(Reason::DnsMalformed));
        let short = vec![alias("a.example.", "a.example.")];
        assert_eq!(answers(short, Qtype::A), Err(Reason::DnsMalformed));
    }
}
