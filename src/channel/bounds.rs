//! How much a connection may take: memory, streams, time.

use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};

/// A connection on which nothing came for this long is over.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// How often the side that dialled makes sure that something comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Exchanges that the other side may have under way on one connection.
pub const STREAMS: u32 = 8;
/// How long answering may take in all: the longest wait of a poll, and a slow reader.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long the other side may take to say what it asks.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request or response head, bytes.
pub const HEAD_LIMIT: usize = 16 * 1024;
/// Largest body of a request, bytes; more gets 413.
pub const MAX_REQUEST_BODY: usize = 64 * 1024;

/// Unread bytes of one exchange that are taken in.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Unread bytes of all exchanges of a connection that are taken in.
const RECEIVE_WINDOW: u32 = 256 * 1024;
/// Bytes of a connection that are sent ahead of their acknowledgement.
const SEND_WINDOW: u64 = 256 * 1024;
/// Size of every packet: what any network must carry that carries QUIC (RFC 9000 §14). The
/// channel must work where the MTU is what is broken.
const PACKET: u16 = 1200;

/// What a listener takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections held at once; more are refused.
    pub max_connections: usize,
    /// Handshakes under way at once; packets of others are dropped, and come again. From a quarter
    /// of them on whoever dials must prove its address first (RFC 9000 §8.1.2).
    pub max_handshakes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_connections: 16_384, max_handshakes: 256 }
    }
}

/// `dials`: the side that keeps the connection alive.
pub(super) fn transport(dials: bool) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("45 s are within QUIC's range");
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(dials.then_some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .initial_mtu(PACKET)
        .mtu_discovery_config(None)
        // A batch of packets is a buffer of 12 KiB, which every connection keeps: for ten thousand
        // of them, to whom little is sent, it does not pay.
        .enable_segmentation_offload(dials);
    Arc::new(transport)
}

pub(super) fn endpoint() -> EndpointConfig {
    let mut endpoint = EndpointConfig::default();
    endpoint.max_udp_payload_size(PACKET).expect("1200 is the smallest size that QUIC allows");
    endpoint
}
