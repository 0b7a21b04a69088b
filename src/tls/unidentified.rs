//! What a server says to a client that showed no certificate, after the handshake.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::failure::{Fault, Reason};
use crate::net::Stream;
use crate::tls::fault::{alert, io_fault};
use crate::tls::patience;

/// What became of a session in which the client showed no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server ended it with this alert, in its IANA spelling.
    Alert(String),
    /// The server went on: it sent a session ticket or data.
    Accepted,
}

/// Waits for the server's verdict without writing, which could lose an alert to a RST.
///
/// Data and tickets are acceptance only if no alert follows them within the patience that
/// [`super::settle`] has. Silence is no acceptance: after it `greeting` is sent, and the server
/// has to answer that, or end. The caller bounds the wait.
pub async fn await_verdict(
    stream: &mut TlsStream<Stream>,
    greeting: &[u8],
) -> Result<Verdict, Fault> {
    let end = Instant::now() + patience(stream);
    let mut spoken = false;
    let listening = async {
        while hear(stream).await? {
            spoken = true
        }
        Ok(())
    };
    let ended = timeout_at(end, listening).await;
    let accepted = spoken || stream.get_ref().1.tls13_tickets_received() > 0;
    let ended = match ended {
        Ok(ended) => ended,
        Err(_) if accepted => return Ok(Verdict::Accepted),
        Err(_) => {
            // Errors of writing are told by the next read.
            let _ = stream.write_all(greeting).await;
            let _ = stream.flush().await;
            hear(stream).await.map(|heard| spoken = heard)
        }
    };
    match ended {
        Ok(()) if spoken || accepted => Ok(Verdict::Accepted),
        Ok(()) => Err(Fault::new(Reason::Closed, "closed right after the handshake")),
        Err(error) => alert(&error).map(Verdict::Alert).ok_or_else(|| io_fault(&error)),
    }
}

/// Takes and drops what the server says; `false` is its end.
async fn hear(stream: &mut TlsStream<Stream>) -> io::Result<bool> {
    Ok(stream.read(&mut [0; 1024]).await? > 0)
}
