//! What a plan leaves out because nobody could say what must come back.

use crate::cluster::ObjectRef;
use crate::target::Vantage;

/// Something that is not probed, or not from everywhere, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unknown {
    /// What is not probed.
    pub object: ObjectRef,
    /// From which side it is not; `None` for both.
    pub vantage: Option<Vantage>,
    /// Why, as a closed word.
    pub reason: UnknownReason,
    /// What, why, and what would mend it: one printable line of at most 512 characters.
    pub message: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident,)+) => {
        /// Why something is not probed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum UnknownReason {
            $($(#[$doc])* $variant,)+
        }

        impl UnknownReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word of metrics, Events and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }
        }
    };
}

reasons! {
    /// PeerAuthentications cannot be read: whether plaintext must be denied is not known.
    PoliciesUnreadable,
    /// An agent stands on the other side of the mesh than its DaemonSet says.
    WrongSide,
    /// The port that is to deny plaintext is not STRICT.
    CanaryNotStrict,
    /// Nothing ready is behind the service's port.
    NoEndpoints,
    /// What is behind the service's address answers and denies, by turns.
    MixedModes,
    /// Plaintext past a waypoint: what it meets is the waypoint's policies to say.
    Waypoint,
    /// A sidecar under STRICT: neither ztunnel nor a tunnel that could be its control.
    Sidecar,
    /// Address and path make no URL.
    BadAddress,
    /// Another object has the same name.
    Duplicate,
    /// The plan is full.
    PlanFull,
    /// The budget leaves nothing for it, or not for every agent.
    NoBudget,
}

/// `text` on one line and of bounded length: names come from whoever wrote the object.
pub(super) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(160).map(clean).collect()
}
