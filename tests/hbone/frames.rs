//! HTTP/2 written by hand: a peer that sends what it is told to.

use std::future::Future;
use std::net::SocketAddr;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::peer::{Clientele, peer};
use super::support::reset;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

const PREFACE: usize = 24;

/// RFC 9113, section 4.1.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &all.iter().flat_map(one).collect::<Vec<_>>())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// `:status` as a literal without indexing (RFC 7541, section 6.2.2; 8 is its static index).
pub(crate) fn status(status: u16) -> Vec<u8> {
    [&[0x08, 3], status.to_string().as_bytes()].concat()
}

pub(crate) fn answer(stream: u32, code: u16) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &status(code))
}

pub(crate) fn final_answer(stream: u32, code: u16) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &status(code))
}

pub(crate) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

pub(crate) fn end(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, b"")
}

pub(crate) fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A client's connection at a peer that writes its frames by hand.
pub(crate) struct Raw(TlsStream<TcpStream>);

impl Raw {
    /// Sends its own settings, and takes the client's preface and settings.
    async fn begin(mut stream: TlsStream<TcpStream>, own: &[(u16, u32)]) -> Option<Self> {
        stream.write_all(&settings(own)).await.ok()?;
        stream.read_exact(&mut [0; PREFACE]).await.ok()?;
        // The client's own windows hold from here on.
        stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.ok()?;
        Some(Self(stream))
    }

    /// The next frame: kind, flags, stream, payload; `None` when the client has gone.
    pub(crate) async fn read(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// Waits for CONNECT; its stream.
    pub(crate) async fn connect(&mut self) -> Option<u32> {
        loop {
            let (kind, _, stream, _) = self.read().await?;
            if kind == HEADERS {
                return Some(stream);
            }
        }
    }

    /// Waits for the head of a request in the tunnel.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let (kind, _, _, payload) = self.read().await?;
            if kind == DATA {
                head.extend_from_slice(&payload);
            }
        }
        String::from_utf8(head).ok()
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.0.write_all(bytes.as_ref()).await.ok()?;
        self.0.flush().await.ok()
    }

    /// Takes and drops what the client says until it goes.
    pub(crate) async fn rest(mut self) {
        while self.read().await.is_some() {}
    }

    /// Ends the connection with close_notify, and waits for the client to go.
    pub(crate) async fn close(mut self) {
        let _ = self.0.shutdown().await;
        self.rest().await;
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        reset(self.0.into_inner().0);
    }
}

/// A peer that does with each connection what `serve` says; `None` is a client that has gone.
pub(crate) async fn raw_peer<F, Fut>(config: ServerConfig, serve: F) -> (SocketAddr, Clientele)
where
    F: Fn(Raw) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Option<()>> + Send + 'static,
{
    raw_peer_with(config, &[], serve).await
}

pub(crate) async fn raw_peer_with<F, Fut>(
    config: ServerConfig,
    own: &'static [(u16, u32)],
    serve: F,
) -> (SocketAddr, Clientele)
where
    F: Fn(Raw) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Option<()>> + Send + 'static,
{
    peer(config, move |stream| {
        let serve = serve.clone();
        async move {
            if let Some(raw) = Raw::begin(stream, own).await {
                serve(raw).await;
            }
        }
    })
    .await
}
