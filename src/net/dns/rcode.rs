//! RCODEs: their IANA names, and what each means for whoever hoped for NOERROR.

use std::fmt;

use hickory_proto::op::ResponseCode;

use crate::failure::Reason;

/// The result code of a reply, extended by EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcode(pub(super) ResponseCode);

impl Rcode {
    /// No error; says nothing of whether there are answers.
    pub const NOERROR: Self = Self(ResponseCode::NoError);
    /// The name does not exist, under any type.
    pub const NXDOMAIN: Self = Self(ResponseCode::NXDomain);

    /// Whether `text` is the IANA name of this code, in any case.
    pub fn is(self, text: &str) -> bool {
        self.to_string().eq_ignore_ascii_case(text)
    }

    /// The reason of an attempt that this code ends, when it was not the one hoped for.
    pub fn reason(self) -> Reason {
        match self.0 {
            ResponseCode::NXDomain => Reason::Nxdomain,
            ResponseCode::ServFail => Reason::Servfail,
            ResponseCode::Refused => Reason::DnsRefused,
            ResponseCode::NoError
            | ResponseCode::FormErr
            | ResponseCode::NotImp
            | ResponseCode::YXDomain
            | ResponseCode::YXRRSet
            | ResponseCode::NXRRSet
            | ResponseCode::NotAuth
            | ResponseCode::NotZone
            | ResponseCode::BADVERS
            | ResponseCode::BADSIG
            | ResponseCode::BADKEY
            | ResponseCode::BADTIME
            | ResponseCode::BADMODE
            | ResponseCode::BADNAME
            | ResponseCode::BADALG
            | ResponseCode::BADTRUNC
            | ResponseCode::BADCOOKIE
            | ResponseCode::Unknown(_) => Reason::DnsMismatch,
        }
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            ResponseCode::NoError => "NOERROR",
            ResponseCode::FormErr => "FORMERR",
            ResponseCode::ServFail => "SERVFAIL",
            ResponseCode::NXDomain => "NXDOMAIN",
            ResponseCode::NotImp => "NOTIMP",
            ResponseCode::Refused => "REFUSED",
            ResponseCode::YXDomain => "YXDOMAIN",
            ResponseCode::YXRRSet => "YXRRSET",
            ResponseCode::NXRRSet => "NXRRSET",
            ResponseCode::NotAuth => "NOTAUTH",
            ResponseCode::NotZone => "NOTZONE",
            // 16 has two names; replies to queries without TSIG can only mean this one.
            ResponseCode::BADVERS | ResponseCode::BADSIG => "BADVERS",
            ResponseCode::BADKEY => "BADKEY",
            ResponseCode::BADTIME => "BADTIME",
            ResponseCode::BADMODE => "BADMODE",
            ResponseCode::BADNAME => "BADNAME",
            ResponseCode::BADALG => "BADALG",
            ResponseCode::BADTRUNC => "BADTRUNC",
            ResponseCode::BADCOOKIE => "BADCOOKIE",
            ResponseCode::Unknown(code) => return write!(f, "RCODE{code}"),
        };
        f.write_str(name)
    }
}
