//! Discovery: the Kubernetes API, and nothing else, turned into [`crate::cluster::Cluster`]s.
mod access;
pub mod assemble;
mod choose;
mod endpoints;
pub mod enrolment;
pub mod events;
mod fault;
mod follow;
pub mod forward;
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

pub use access::{Access, AccessError, Client, client};
pub use fault::ApiFault;
pub use follow::{Following, Snapshot, WatchReport, Watches, follow};
pub use settings::{Choice, Limits, Name, PortRef, Selection, Settings};
pub use text::MAX_MESSAGE;
