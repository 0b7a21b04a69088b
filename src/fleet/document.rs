//! The plan document: what one agent is told, as it goes over the wire.
//!
//! Its `config` has the keys of an agent's configuration file (`docs/configuration.md`) and no
//! others. Knows nothing of clusters.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::config::print_duration;
use crate::expectation::Expectation;
use crate::target::{SubjectName, TargetName, Vantage, Via};
use crate::tls;

/// The version of the document that this program writes.
pub const VERSION: u32 = 1;

/// A plan. Equal plans have equal bytes and one revision; those that differ in `controllers` alone
/// have one revision, too.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// A hash of all the rest but `controllers`, 32 hexadecimal digits: the ETag. Where controllers
    /// are changes with each restart of one, and nothing that is probed with it.
    pub revision: String,
    /// The rest.
    #[serde(flatten)]
    pub body: Body,
}

/// A plan without its revision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Body {
    /// Whose plan this is: its node.
    pub node: String,
    /// Its side of the mesh.
    pub vantage: Vantage,
    /// Its pod's name.
    pub pod: String,
    /// For how long after a change of expectations results are inconclusive.
    pub grace_seconds: u64,
    /// Where controllers take the control channel, sorted.
    pub controllers: Vec<SocketAddr>,
    /// What the agent probes beside its own file.
    pub config: Document,
}

/// The part of an agent's configuration that a plan states.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// For every target that does not state its own.
    pub defaults: Defaults,
    /// Always empty: each target states its own question.
    pub modules: BTreeMap<String, ()>,
    /// Sorted by name.
    pub targets: Vec<Target>,
}

/// `defaults`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Defaults {
    /// Time between slots.
    #[serde(serialize_with = "duration")]
    pub interval: Duration,
    /// Of a whole attempt.
    #[serde(serialize_with = "duration")]
    pub timeout: Duration,
    /// Attempts at once.
    pub max_in_flight: u32,
}

/// One of `targets`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// Unique within the plan.
    pub name: TargetName,
    /// Who is asked, as the question takes it.
    pub address: String,
    /// What is asked.
    #[serde(flatten)]
    pub question: Question,
    /// What must come back.
    pub expect: Expectation,
    /// Through what the target is addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// What observations are of, when it is not the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectName>,
    /// Node of the far end, when it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_node: Option<String>,
    /// The positive control of a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<TargetName>,
    /// Time between slots, where the default will not do.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_duration")]
    pub interval: Option<Duration>,
    /// Of a whole attempt, where the default will not do.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    /// Attempts at once, where the default will not do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
}

/// The block that states the kind of question, by its key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// One request.
    Http {},
    /// A connection that is held.
    Hold {
        /// Time between requests.
        #[serde(serialize_with = "duration")]
        heartbeat: Duration,
        /// How long it must live.
        #[serde(serialize_with = "duration")]
        hold: Duration,
    },
    /// Small and large bodies.
    Mtu {},
    /// HBONE.
    Hbone {
        /// Whether a certificate is shown.
        credentialed: bool,
        /// A waypoint; else port 15008 of the address is the peer.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<SocketAddr>,
        /// Who the peer must be.
        tls: Peer,
    },
    /// The ladder to istiod.
    Istiod {
        /// How often it signs.
        csr: Csr,
    },
    /// One DNS question; the address is the name.
    Dns {
        /// Who is asked.
        server: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// `A` or `AAAA`.
        qtype: &'static str,
    },
    /// Whether this pod is captured.
    Capture {
        /// `off` where the pod has no socket of ztunnel's.
        #[serde(skip_serializing_if = "Option::is_none")]
        hbone: Option<&'static str>,
    },
    /// ztunnel's own word.
    Ztunnel {},
}

/// `tls` of an HBONE peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peer {
    /// The URI that its certificate must carry.
    pub spiffe_id: String,
    /// The share of a certificate's life that must be left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_remaining: Option<f64>,
}

/// How often istiod is asked to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Csr {
    /// Never.
    Off,
    /// At most once in this time.
    Every(Duration),
}

impl Serialize for Csr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::Every(time) => duration(time, serializer),
        }
    }
}

fn duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&print_duration(*duration))
}

fn optional_duration<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(print_duration).serialize(serializer)
}

impl Plan {
    /// The plan of `body`, with its revision.
    pub fn new(body: Body) -> Self {
        let Body { node, vantage, pod, grace_seconds, controllers: _, config } = &body;
        let bytes = json(&(VERSION, node, vantage, pod, grace_seconds, config));
        let mut revision = tls::sha256(&bytes);
        revision.truncate(32);
        Self { version: VERSION, revision, body }
    }

    /// The document as it is sent: JSON on one line.
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("keys are text and values have a form in JSON")
}
