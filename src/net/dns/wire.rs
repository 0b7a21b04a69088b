//! Bytes of a query out, bytes of a reply in; which bytes are no reply at all.

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::failure::{Fault, Reason};
use crate::net::dns::Question;
use crate::spec::Qtype;

/// Largest datagram that is asked for (EDNS0): below it, IPv6 does not fragment anywhere.
const UDP_PAYLOAD: u16 = 1232;

/// A query with a random id, recursion desired, EDNS0: the id and the bytes.
pub(super) fn query(question: &Question) -> Result<(u16, Vec<u8>), Fault> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let record_type = record_type(question.qtype);
    message.add_query(Query::query(question.name.clone(), record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD).set_version(0);
    message.set_edns(edns);
    let bytes = message
        .to_vec()
        .map_err(|error| Fault::new(Reason::Unclassified, format!("cannot encode: {error}")))?;
    Ok((message.id, bytes))
}

pub(in crate::net) fn record_type(qtype: Qtype) -> RecordType {
    match qtype {
        Qtype::A => RecordType::A,
        Qtype::Aaaa => RecordType::AAAA,
        Qtype::Srv => RecordType::SRV,
        Qtype::Cname => RecordType::CNAME,
        Qtype::Ptr => RecordType::PTR,
        Qtype::Txt => RecordType::TXT,
    }
}

/// The message in `bytes` if it is a reply to `question` under `id`; otherwise why it is none.
///
/// A truncated reply needs no more than its header and question to be one: some servers cut in
/// the middle of a record (RFC 2181, 9).
pub(super) fn accept(bytes: &[u8], id: u16, question: &Question) -> Result<Message, &'static str> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).map_err(|_| "shorter than a DNS header")?;
    if header.id != id {
        return Err("another id");
    }
    if header.message_type != MessageType::Response || header.op_code != OpCode::Query {
        return Err("not a reply to a query");
    }
    match header.counts.queries {
        1 => {
            let echoed = Query::read(&mut decoder).map_err(|_| "an unreadable question")?;
            let same = *echoed.name() == question.name
                && echoed.query_type() == record_type(question.qtype)
                && echoed.query_class() == DNSClass::IN;
            if !same {
                return Err("another question");
            }
        }
        // A server that could or would not read the question need not repeat it.
        0 if echoes_optionally(header.response_code) => {}
        _ => return Err("without the question"),
    }
    match Message::from_vec(bytes) {
        Ok(message) => Ok(message),
        Err(_) if header.truncation => {
            let mut message = Message::response(id, OpCode::Query);
            message.metadata = header.metadata;
            Ok(message)
        }
        Err(_) => Err("unreadable records"),
    }
}

fn echoes_optionally(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record};
    use proptest::prelude::*;

    use super::*;
    use crate::net::dns::Reply;

    fn question() -> Question {
        Question { name: Name::from_str("svc.example.").expect("valid"), qtype: Qtype::A }
    }

    fn reply() -> Message {
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(question().name, RecordType::A));
        let data = RData::A(A::new(10, 0, 0, 1));
        message.add_answer(Record::from_rdata(question().name, 30, data));
        message
    }

    #[test]
    fn a_query_asks_for_recursion_and_bounds_the_datagram() {
        let (id, bytes) = query(&question()).expect("encodes");
        let message = Message::from_vec(&bytes).expect("decodes");
        assert_eq!(message.id, id);
        assert!(message.recursion_desired);
        assert_eq!(message.edns.expect("OPT").max_payload(), UDP_PAYLOAD);
        assert_eq!(message.queries.len(), 1);
    }

    #[test]
    fn a_question_in_other_case_is_the_same_question() {
        let mut message = reply();
        message.queries =
            vec![Query::query(Name::from_str("SVC.eXample.").expect("valid"), RecordType::A)];
        assert!(accept(&message.to_vec().expect("encodes"), 7, &question()).is_ok());
    }

    #[test]
    fn a_record_cut_in_the_middle_is_readable_only_when_marked_truncated() {
        let mut message = reply();
        let bytes = message.to_vec().expect("encodes");
        let cut = &bytes[..bytes.len() - 2];
        assert_eq!(accept(cut, 7, &question()), Err("unreadable records"));
        message.metadata.truncation = true;
        let bytes = message.to_vec().expect("encodes");
        let accepted = accept(&bytes[..bytes.len() - 2], 7, &question()).expect("truncated");
        assert!(accepted.truncation);
    }

    #[test]
    fn a_refusal_need_not_repeat_the_question_but_an_answer_must() {
        let mut message = Message::error_msg(7, OpCode::Query, ResponseCode::FormErr);
        let bytes = message.to_vec().expect("encodes");
        assert!(accept(&bytes, 7, &question()).is_ok());
        message.metadata.response_code = ResponseCode::NoError;
        let bytes = message.to_vec().expect("encodes");
        assert_eq!(accept(&bytes, 7, &question()), Err("without the question"));
    }

    /// Everything that is done with bytes from the network.
    fn read(bytes: &[u8]) {
        if let Ok(message) = accept(bytes, 7, &question()) {
            let now = tokio::time::Instant::now();
            let reply = Reply { message, sent: now, arrived: now };
            let _ = reply.answers(&question());
            let _ = (reply.presented(), reply.sections(), reply.rcode().to_string());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            read(&bytes);
        }

        #[test]
        fn arbitrary_records_behind_our_question_never_panic(
            counts in prop::array::uniform3(0_u8..4),
            records in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let mut bytes = reply().to_vec().expect("encodes");
            for (count, at) in counts.iter().zip([7, 9, 11]) {
                bytes[at] = *count;
            }
            bytes.truncate(12 + "\u{3}svc\u{7}example\0AAIN".len());
            bytes.extend(records);
            read(&bytes);
        }

        #[test]
        fn a_reply_with_any_byte_changed_never_panics(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut bytes = reply().to_vec().expect("encodes");
            let index = at.index(bytes.len());
            bytes[index] = byte;
            bytes.truncate(keep.index(bytes.len()) + 1);
            read(&bytes);
        }
    }
}
