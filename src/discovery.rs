//! Discovery: the Kubernetes API turned into [`Cluster`](crate::cluster::Cluster)s, and the little
//! that is written back: Events, and a Lease on who writes them.
//!
//! The only module that knows the API. It knows nothing of plans, probes or agents' channels.
//! What it costs the API server does not grow with the number of agents: a dozen watches, two
//! more for each namespace with chosen Services. What it keeps of an object is a fraction of it,
//! and the objects themselves are never stored.
//!
//! # Rights
//!
//! Exactly these requests are made. A right that is missing costs what it gives, is told as a
//! `Forbidden` finding, and harms nothing else.
//!
//! | who | API group | resources | verbs | where | for |
//! |---|---|---|---|---|---|
//! | controller | (core) | `nodes`, `namespaces` | list, watch | cluster | zones, readiness, enrolment |
//! | controller | (core) | `services` | list, watch | cluster; or each of [`Settings::namespaces`] and those that [`Settings::services`] names | chosen Services |
//! | controller | (core) | `pods` | list, watch | both meshprobe namespaces, the Istio namespace, each namespace of a chosen Service or of its waypoint | agents, ztunnels, endpoints, waypoints |
//! | controller | `discovery.k8s.io` | `endpointslices` | list, watch | `meshprobe-plain`, CoreDNS's and istiod's namespaces, each namespace of a chosen Service or of its waypoint | replicas, endpoints, controllers |
//! | controller | (core) | `services` | list, watch (`resourceNames`: `kube-dns`; `istiod`) | CoreDNS's and istiod's namespaces | their addresses; the cluster-wide right above covers it |
//! | controller | `apps` | `daemonsets` | list, watch | the Istio namespace | rollouts of ztunnel and istio-cni |
//! | controller | `security.istio.io` | `peerauthentications` | list, watch | cluster | effective mTLS modes |
//! | controller | `coordination.k8s.io` | `leases` | create; get, update (`resourceNames`: the Lease) | `meshprobe-plain` | [`lease`] |
//! | controller | `events.k8s.io` | `events` | create, get, patch | cluster (`default` for what has no namespace) | [`events`] |
//! | a user of the CLI | (core) | `pods` | list | `meshprobe-plain` | [`forward`] |
//! | a user of the CLI | (core) | `pods/portforward` | create, get | `meshprobe-plain` | [`forward`]: API servers since 1.35 ask for create, older ones for get |
//!
//! Namespaces of chosen Services are not known beforehand, so `pods` and `endpointslices` are
//! granted for the cluster unless [`Settings::namespaces`] confines the choice. Secrets and
//! ConfigMaps are never read.

mod access;
pub mod assemble;
mod choose;
mod endpoints;
pub mod enrolment;
pub mod events;
mod fault;
mod follow;
pub mod forward;
mod labels;
pub mod lease;
mod pace;
pub mod peer_authentication;
pub mod reduce;
pub mod seen;
pub mod service;
mod settings;
mod sources;
mod text;
mod watch;
pub mod watched;
pub mod webhook;

pub use access::{Access, AccessError, Client, client};
pub use fault::ApiFault;
pub use follow::{Following, Snapshot, WatchReport, Watches, follow};
pub use settings::{Choice, Limits, Name, PortRef, Selection, Settings};
pub use text::MAX_MESSAGE;
