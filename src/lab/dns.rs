//! The lab's DNS: CoreDNS replicas, the Service address over them, and what a captured pod sees.
//!
//! A [`Replica`] holds a [`Zone`] and fails in its own way. [`ServiceAddress`] is kube-proxy's
//! part: each question goes to one replica, well or not. [`Captured`] is ztunnel's: Services of
//! the mesh are answered by itself, the rest is passed on. All listen over UDP and TCP on the same
//! port, and a condition is in force when the call that sets it returns.

mod captured;
mod exchange;
mod replica;
mod server;
mod service;
mod zone;

pub use captured::{Captured, CapturedCondition, CapturedSetup};
pub use replica::{Replica, ReplicaCondition};
pub use service::ServiceAddress;
pub use zone::Zone;
