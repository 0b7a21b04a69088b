//! Discovery: the Kubernetes API, and nothing else, turned into [`crate::cluster::Cluster`]s.
pub mod assemble;
mod choose;
mod endpoints;
pub mod enrolment;
pub mod peer_authentication;
pub mod reduce;
pub mod seen;
pub mod service;
mod settings;
mod text;
pub mod watched;

pub use settings::{Choice, Limits, Name, PortRef, Selection, Settings};
pub use text::MAX_MESSAGE;
