//! What is wrong with an istiod, as data: one choice per layer, each healthy by default.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The condition of an istiod, or of one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IstiodCondition {
    /// Below TLS.
    pub connection: Connection,
    /// The server's certificate.
    pub certificate: Certificate,
    /// After the handshake.
    pub http2: Http2,
    /// Every gRPC answer.
    pub answers: Answers,
    /// Signing.
    pub ca: Ca,
    /// Discovery.
    pub xds: Xds,
    /// Pods, by address, of which discovery tells something untrue.
    pub stale: BTreeMap<IpAddr, Stale>,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    /// It is served.
    #[default]
    Serves,
    /// The process is dead: refused, and what was open is closed.
    Refused,
    /// SYNs get no answer.
    Dropped,
    /// Accepted, and then nothing: a frozen process, of which the kernel still accepts.
    Silent,
    /// Answered with bytes that are not TLS.
    Garbage,
}

/// Which certificate the server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificate {
    /// istiod's own.
    #[default]
    Good,
    /// The right names, signed by another authority.
    WrongRoot,
    /// Ended an hour ago.
    Expired,
    /// For another Service.
    OtherName,
    /// Followed by thousands of others.
    EndlessChain,
}

/// What is spoken after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http2 {
    /// HTTP/2.
    #[default]
    Speaks,
    /// Nothing, not even SETTINGS.
    Silent,
    /// Bytes that are not HTTP/2.
    Garbage,
}

/// How gRPC calls are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// As they should be.
    #[default]
    Given,
    /// Never.
    Silent,
    /// With a message that is no protobuf.
    Garbage,
    /// With HTTP status 404 and a page, as a wrong server does.
    NotGrpc,
}

/// How certificates are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ca {
    /// As they should be.
    #[default]
    Signs,
    /// `Unavailable`; discovery is not concerned.
    Unavailable,
    /// Never answers; discovery is not concerned.
    Silent,
    /// For another workload.
    OtherIdentity,
    /// For another key.
    OtherKey,
    /// Already ended.
    Expired,
    /// By another root, and says so in the bundle: after a rotation that only istiod made.
    OtherRoot,
    /// An answer without any certificate.
    Empty,
    /// Text that is no PEM.
    Garbage,
}

/// How subscriptions are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Xds {
    /// As they should be.
    #[default]
    Answers,
    /// `Unavailable`; signing is not concerned.
    Unavailable,
    /// The stream opens, and nothing comes; signing is not concerned.
    Silent,
    /// A resource that is no protobuf.
    Garbage,
    /// A resource of 100 MiB.
    Huge,
}

/// What discovery says of one pod instead of the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// It is not there.
    Unknown,
    /// It is not in the mesh.
    Plain,
    /// It is on another node.
    OnNode(String),
    /// A former pod still has its address.
    Former {
        /// Of that pod.
        name: String,
        /// Of that pod.
        service_account: String,
    },
}
