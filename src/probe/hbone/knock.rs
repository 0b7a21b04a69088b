//! A handshake without a certificate: the peer shows who it is, and turns us away.

use tokio_rustls::client::TlsStream;

use super::Peer;
use crate::failure::{Failure, Fault, Phase, Reason};
use crate::net::{Stamps, Stream};
use crate::outcome::{HboneFacts, TlsFacts};
use crate::probe::journal::Journal;
use crate::tls::{self, Verdict};

/// What HBONE owes a client without a certificate (RFC 8446, section 6.2).
const OWED: &str = "certificate_required";

/// The client's preface of HTTP/2 with empty settings (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

pub(super) async fn attempt(peer: &Peer, journal: &mut Journal) -> Result<(), Failure> {
    let stream = peer.dial(journal).await?;
    let stamps = stream.stamps();
    let result = knock(peer, journal, stream, &stamps).await;
    journal.note_connection(&stamps);
    result
}

async fn knock(
    peer: &Peer,
    journal: &mut Journal,
    stream: Stream,
    stamps: &Stamps,
) -> Result<(), Failure> {
    let (mut stream, facts) = peer.shake(journal, stream).await?;
    let mut alert = None;
    let turned_away = journal.phase(Phase::Processing, verdict(&mut stream, &facts, &mut alert));
    let result = turned_away.await;
    journal.facts.hbone =
        alert.map(|alert| HboneFacts { alert: Some(alert), ..HboneFacts::default() });
    if result.is_ok()
        && let Some(last) = stamps.last_read()
    {
        journal.ended_at(last);
    }
    result
}

/// Succeeds if the peer wants a certificate.
async fn verdict(
    stream: &mut TlsStream<Stream>,
    facts: &TlsFacts,
    alert: &mut Option<String>,
) -> Result<(), Fault> {
    if facts.client_certificate_requested != Some(true) {
        return Err(accepted("which was not even asked for"));
    }
    match tls::await_verdict(stream, PREFACE).await? {
        Verdict::Accepted => Err(accepted("though one was asked for")),
        Verdict::Alert(name) => {
            let owed = name == OWED;
            let detail = format!("the peer sent alert {name}, expected {OWED}");
            *alert = Some(name);
            if owed { Ok(()) } else { Err(Fault::new(Reason::TlsAlert, detail)) }
        }
    }
}

fn accepted(how: &str) -> Fault {
    let detail = format!("HBONE was accepted without a certificate, {how}");
    Fault::new(Reason::UnexpectedReply, detail)
}
