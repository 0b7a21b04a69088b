//! Why an attempt failed, as a closed vocabulary.
//!
//! Knows nothing of sockets, TLS or DNS libraries: the tables that map their errors to a
//! [`Reason`] live beside the code that meets those errors.

use std::fmt;

use serde::Serialize;

/// The stage of an attempt; the labels that users of `blackbox_exporter` know.
///
/// A phase that did not run has no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Name to addresses.
    Resolve,
    /// First SYN to established. In an ambient pod this ends at the node's own ztunnel.
    Connect,
    /// ClientHello to a finished handshake.
    Tls,
    /// HTTP/2 CONNECT sent to its response: the way through an HBONE tunnel, up to the upstream
    /// connection at its far end. Only `hbone` has it.
    Tunnel,
    /// Request sent to first byte of the reply.
    Processing,
    /// First to last byte of the reply.
    Transfer,
}

impl Phase {
    /// Every phase, in the order in which they run.
    pub const ALL: [Self; 6] =
        [Self::Resolve, Self::Connect, Self::Tls, Self::Tunnel, Self::Processing, Self::Transfer];

    /// The name in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Tunnel => "tunnel",
            Self::Processing => "processing",
            Self::Transfer => "transfer",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $blame:ident, $hint:literal;)+) => {
        /// What went wrong, as a closed set: a metric label, a JSON value, a key into hints.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the layers from DNS upwards.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in metrics and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whether the answer came from the network or our own side spoiled the attempt.
            pub fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)+ }
            }

            /// What an operator should look at first.
            pub fn hint(self) -> &'static str {
                match self { $(Self::$variant => $hint,)+ }
            }
        }
    };
}

/// Whose doing a failure can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Something between this process and the target, or the target itself.
    Network,
    /// This process or its machine; the attempt says nothing about the target.
    Prober,
}

reasons! {
    /// The DNS server says that the name does not exist (RCODE 3).
    Nxdomain => "nxdomain", Network, "the name does not exist for this server: check spelling, namespace and search domains";
    /// The name exists, but not with records of this type (NOERROR without an answer).
    Nodata => "nodata", Network, "the name exists without records of this type: check qtype, and whether the Service has endpoints";
    /// The DNS server failed (RCODE 2).
    Servfail => "servfail", Network, "the server could not answer: look at the CoreDNS log and its upstreams";
    /// The DNS server refuses to serve this question (RCODE 5).
    DnsRefused => "dns_refused", Network, "the server refuses this zone or client: check its zones and ACLs";
    /// Something came back that is no answer to the question asked (unparsable, wrong id).
    DnsMalformed => "dns_malformed", Network, "something other than a DNS server answers there, or a middlebox rewrites packets";
    /// A well-formed answer other than the stated one (RCODE, number of answers, addresses).
    DnsMismatch => "dns_mismatch", Network, "the answer differs from the expected one: compare facts.dns with the Service";
    /// The connection was refused (RST to SYN, or ICMP port unreachable).
    Refused => "refused", Network, "nothing listens there; from an ambient pod it means that this node's own ztunnel is down";
    /// The peer ended the connection with RST.
    Reset => "reset", Network, "accepted, then reset: STRICT denial, closed port and missing endpoint look alike; run the positive control";
    /// The peer ended the connection in an orderly way before its reply was complete.
    Closed => "closed", Network, "closed before a complete reply: STRICT denial, closed port and missing endpoint look alike; run the positive control";
    /// No route, or a router says that host or network cannot be reached.
    Unreachable => "unreachable", Network, "no route to the address: check the node's network, the pod's existence and NetworkPolicies";
    /// A deadline passed without an answer.
    Timeout => "timeout", Network, "nothing came back in time: dropped packets (NetworkPolicy, dead node) or a frozen peer";
    /// The peer ended the TLS handshake with an alert.
    TlsAlert => "tls_alert", Network, "the server rejected the handshake; the alert names why (certificate_required: it wants a client certificate)";
    /// A certificate of the peer's chain is past its notAfter.
    CertExpired => "cert_expired", Network, "renewal failed: check the CA and, for mesh certificates, istiod";
    /// A certificate of the peer's chain is before its notBefore.
    CertNotYetValid => "cert_not_yet_valid", Network, "check the clocks of this node and of the issuer";
    /// The peer's chain does not lead to a trusted root.
    CertUntrusted => "cert_untrusted", Network, "the issuer is not among the given roots: pass the right --ca, or the trust bundles disagree";
    /// The certificate is valid, for another name or SPIFFE ID.
    CertNameMismatch => "cert_name_mismatch", Network, "another workload answers, or --server-name/--spiffe-id is wrong";
    /// The certificate is valid, but less of its lifetime is left than demanded.
    CertExpiring => "cert_expiring", Network, "renewal is overdue: check the CA and the renewal of this workload's certificate";
    /// No common TLS version, cipher suite or ALPN, or bytes that are not TLS.
    TlsProtocol => "tls_protocol", Network, "the peer does not speak this TLS (version, cipher suites, ALPN), or not TLS at all";
    /// A complete HTTP response with another status than stated.
    Status => "status", Network, "the application answered: look at its log, or at --status";
    /// The reply does not match what was stated.
    BodyMismatch => "body_mismatch", Network, "the reply came, with other content than expected";
    /// The reply is larger than the limit, as sent or decompressed.
    BodyTooLarge => "body_too_large", Network, "raise body_limit if a reply of this size is right";
    /// The reply is not HTTP, or breaks its rules.
    HttpMalformed => "http_malformed", Network, "the port does not speak this version of HTTP";
    /// The HBONE peer answered CONNECT with 400: no CONNECT, no port, or an authority not its own.
    HboneBadRequest => "hbone_bad_request", Network, "the peer does not serve this address: it must be the ip:port of a pod behind this HBONE port, never a Service address";
    /// The HBONE peer answered CONNECT with 401: a policy denies this identity.
    HboneDenied => "hbone_denied", Network, "a policy denies this identity at the destination: look at its AuthorizationPolicies";
    /// The HBONE peer answered CONNECT with 503: upstream refused or unknown.
    HboneUnavailable => "hbone_unavailable", Network, "the tunnel works, what is behind it does not: closed port, or a workload that the peer's ztunnel does not know";
    /// A gRPC call ended with a status other than OK.
    GrpcStatus => "grpc_status", Network, "the server answered with a gRPC error; the detail names it (Unauthenticated: look at the token and its audience)";
    /// istiod answered, and describes this workload otherwise than stated.
    WorkloadMismatch => "workload_mismatch", Network, "istiod's view of this pod is stale or wrong: compare facts.istiod.xds with the pod's labels and node";
    /// This pod's traffic is captured although it is not enrolled, or the other way round.
    CaptureMismatch => "capture_mismatch", Network, "capture and enrolment differ: look at istio-cni on this node and at the annotation ambient.istio.io/redirection";
    /// A reply where a denial was stated: the policy is not enforced.
    UnexpectedReply => "unexpected_reply", Network, "ENFORCEMENT GAP: plaintext was answered where it must be denied; check PeerAuthentication and the ztunnel of that node";
    /// This machine ran out of something: file descriptors, ports, memory.
    LocalResource => "local_resource", Prober, "this machine is out of file descriptors, ports or memory: raise the limits of the prober";
    /// The attempt started, or its deadline was noticed, too late, or much of the time after which it
    /// timed out went by without us: this machine was busy.
    ScheduleLag => "schedule_lag", Prober, "the prober was starved of CPU: raise its CPU limit";
    /// The prober's own mesh certificate, its token or the mesh's roots are missing or unusable.
    NoIdentity => "no_identity", Prober, "the prober lacks its own mesh identity: look at the mounted token, at istio-ca-root-cert, and at the csr rung";
    /// What is expected of the target changed less than the grace ago.
    Settling => "settling", Prober, "the plan for this target changed a moment ago: look again after the grace; if it stays, the plan keeps changing";
    /// The attempt was cut short by a shutdown or a new configuration.
    Cancelled => "cancelled", Prober, "the prober was stopped or reconfigured during the attempt";
    /// An error that no table knows: counted and alertable, a bug to mend.
    Unclassified => "unclassified", Prober, "please report this with the detail: meshprobe should know this error";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A [`Reason`] with its detail, before it is known in which phase it struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The closed reason.
    pub reason: Reason,
    /// One line for people; never parsed, never a label, never a secret.
    pub detail: String,
}

impl Fault {
    /// A fault with its one-line detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// Says in which phase the fault struck.
    pub fn during(self, phase: Phase) -> Failure {
        Failure { phase, reason: self.reason, detail: self.detail }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// How an attempt failed: data, not an `Err`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The phase that did not complete.
    pub phase: Phase,
    /// The closed reason.
    pub reason: Reason,
    /// One line for people; never parsed, never a label, never a secret.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.reason, self.phase, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_reasons_are_distinct_snake_case_labels() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        }
    }

    #[test]
    fn exactly_our_own_reasons_are_the_probers_fault() {
        let ours: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| reason.blame() == Blame::Prober)
            .map(|reason| reason.as_str())
            .collect();
        assert_eq!(
            ours,
            [
                "local_resource",
                "schedule_lag",
                "no_identity",
                "settling",
                "cancelled",
                "unclassified"
            ]
        );
    }
}
