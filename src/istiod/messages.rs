//! The few protobuf messages that are needed, by their field numbers; what is not named here is
//! skipped when read.
//!
//! Sources: Istio's `security/v1alpha1/ca.proto`, `pkg/workloadapi/{workload,security}`, and
//! Envoy's `service/discovery/v3`.

/// Method that signs a certificate.
pub const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// Method of delta xDS.
pub const DELTA_RESOURCES: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Type of [`Address`].
pub const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";
/// Type of [`Authorization`].
pub const AUTHORIZATION_TYPE: &str = "type.googleapis.com/istio.security.Authorization";

/// Asks for a certificate.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CertificateRequest {
    /// PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Seconds; 0 leaves it to istiod (24 h).
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
}

/// The signed certificate.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CertificateResponse {
    /// PEM: leaf, intermediates; the last element is the root bundle, maybe of several.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// Opens or changes a subscription, or acknowledges an answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeltaDiscoveryRequest {
    /// Who asks; needed in the first request of a stream only.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// Type of resources.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names to watch from now on.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names to watch no more.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// Nonce of the answer that is acknowledged.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Why the answer is rejected.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// An answer to a subscription.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// Version of the whole, for people.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// What was added or changed.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Type of the resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be sent back in the acknowledgement.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names that do not exist (any more).
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
}

/// Envoy's `core.v3.Node`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Node {
    /// `ztunnel~<pod ip>~<pod>.<namespace>~<namespace>.svc.cluster.local`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What istiod attributes the node to.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Struct {
    /// Fields by name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: std::collections::BTreeMap<String, Value>,
}

/// `google.protobuf.Value`, text only.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Value {
    /// The text.
    #[prost(string, optional, tag = "3")]
    pub string_value: Option<String>,
}

/// A named resource.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Resource {
    /// Version of this resource.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The resource itself.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Other names that it answers to, e.g. `/10.0.0.1`.
    #[prost(string, repeated, tag = "4")]
    pub aliases: Vec<String>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Any {
    /// Type of what is in `value`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// A serialized message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Status {
    /// gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `istio.workload.Address`: a workload or a service.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Address {
    /// Which of both.
    #[prost(oneof = "AddressKind", tags = "1, 2")]
    pub kind: Option<AddressKind>,
}

/// What an [`Address`] is of.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum AddressKind {
    /// A pod.
    #[prost(message, tag = "1")]
    Workload(Workload),
    /// A Service.
    #[prost(message, tag = "2")]
    Service(Service),
}

/// `istio.workload.Workload`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Workload {
    /// `<cluster>//Pod/<namespace>/<name>`.
    #[prost(string, tag = "20")]
    pub uid: String,
    /// Pod name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Addresses, 4 or 16 bytes each.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub addresses: Vec<Vec<u8>>,
    /// Istio network.
    #[prost(string, tag = "4")]
    pub network: String,
    /// How it is reached.
    #[prost(enumeration = "TunnelProtocol", tag = "5")]
    pub tunnel_protocol: i32,
    /// Trust domain; empty is `cluster.local`.
    #[prost(string, tag = "6")]
    pub trust_domain: String,
    /// Service account; empty is `default`.
    #[prost(string, tag = "7")]
    pub service_account: String,
    /// Node.
    #[prost(string, tag = "9")]
    pub node: String,
    /// Policies that are attached to it, `<namespace>/<name>`.
    #[prost(string, repeated, tag = "16")]
    pub authorization_policies: Vec<String>,
    /// Cluster.
    #[prost(string, tag = "18")]
    pub cluster_id: String,
}

/// `istio.workload.TunnelProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TunnelProtocol {
    /// Plaintext.
    None = 0,
    /// HBONE.
    Hbone = 1,
    /// mTLS of sidecars.
    LegacyIstioMtls = 2,
}

/// `istio.workload.Service`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Service {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// `<name>.<namespace>.svc.cluster.local`.
    #[prost(string, tag = "3")]
    pub hostname: String,
    /// Virtual addresses.
    #[prost(message, repeated, tag = "4")]
    pub addresses: Vec<NetworkAddress>,
    /// Ports.
    #[prost(message, repeated, tag = "5")]
    pub ports: Vec<Port>,
}

/// `istio.workload.NetworkAddress`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NetworkAddress {
    /// Istio network.
    #[prost(string, tag = "1")]
    pub network: String,
    /// 4 or 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub address: Vec<u8>,
}

/// `istio.workload.Port`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Port {
    /// Port of the Service.
    #[prost(uint32, tag = "1")]
    pub service_port: u32,
    /// Port of the pod.
    #[prost(uint32, tag = "2")]
    pub target_port: u32,
}

/// `istio.security.Authorization`, without its rules.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Authorization {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
}
