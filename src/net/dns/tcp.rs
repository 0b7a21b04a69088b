//! A question as one message on a connection, and the one message back (RFC 1035, 4.2.2).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::failure::{Fault, Reason};
use crate::net::dns::{Question, Reply, Tally, wire};
use crate::net::{Stream, io_fault};

/// Sends `question` over `stream` and waits for the complete reply, for ever.
///
/// An end before that is `closed` or `reset`. Anything but a reply is `dns_malformed` at once:
/// nobody else can have put it into the connection.
pub async fn ask_tcp(
    stream: &mut Stream,
    question: &Question,
    tally: &mut Tally,
) -> Result<Reply, Fault> {
    let (id, query) = wire::query(question)?;
    let length = u16::try_from(query.len()).expect("a query is at most 300 bytes");
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(query);
    let stamps = stream.stamps();
    stamps.mark();
    let sent = Instant::now();
    tally.note_sent(sent);
    let written = stream.write_all(&framed).await;
    written.map_err(|error| io_fault(&error))?;

    let mut received = Vec::with_capacity(512);
    let bytes = loop {
        if let Some((length, rest)) = received.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            if let Some(message) = rest.get(..length) {
                break message;
            }
        }
        match stream.read_buf(&mut received).await {
            Ok(0) if received.is_empty() => {
                return Err(Fault::new(Reason::Closed, "closed by the peer"));
            }
            Ok(0) => return Err(Fault::new(Reason::Closed, "closed amid the reply")),
            Ok(_) => {}
            Err(error) => return Err(io_fault(&error)),
        }
    };
    let message = wire::accept(bytes, id, question)
        .map_err(|because| Fault::new(Reason::DnsMalformed, because))?;
    if message.truncation {
        return Err(Fault::new(Reason::DnsMalformed, "truncated even over tcp"));
    }
    let now = Instant::now();
    Ok(Reply {
        message,
        sent: stamps.first_write().unwrap_or(sent),
        arrived: stamps.last_read().unwrap_or(now),
    })
}
