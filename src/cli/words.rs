//! Single words of the command line, each parsed once into the vocabulary.

use std::net::IpAddr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config;
use crate::spec::{HBONE_PORT, HttpVersion, Qtype, TlsVersion, Transport};
use crate::target::{Endpoint, Host, Vantage};

/// A request header.
pub(crate) type Header = (HeaderName, HeaderValue);

/// Bytes written as text with escapes.
#[derive(Debug, Clone)]
pub(crate) struct Escaped(pub(crate) Vec<u8>);

/// A value, or the word `off`.
#[derive(Debug, Clone)]
pub(crate) struct OrOff<T>(pub(crate) Option<T>);

/// A closed set of words, which help and completions then tell.
pub(crate) fn one_of<T: Clone + Send + Sync + 'static>(
    words: &'static [&'static str],
    parse: fn(&str) -> Result<T, &'static str>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words).try_map(move |word| parse(&word))
}

pub(crate) const QTYPES: &[&str] = &["A", "AAAA", "SRV", "CNAME", "PTR", "TXT"];
pub(crate) const TRANSPORTS: &[&str] = &["udp", "tcp"];
pub(crate) const RCODES: &[&str] =
    &["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
pub(crate) const TLS_VERSIONS: &[&str] = &["1.2", "1.3"];
pub(crate) const HTTP_VERSIONS: &[&str] = &["auto", "1.1", "2"];
pub(crate) const VANTAGES: &[&str] = &["ambient", "plain"];
pub(crate) const YES_NO: &[&str] = &["yes", "no"];

pub(crate) fn yes_no(text: &str) -> Result<bool, &'static str> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("must be yes or no"),
    }
}

pub(crate) fn vantage(text: &str) -> Result<Vantage, &'static str> {
    text.parse().map_err(|_| "must be ambient or plain")
}

pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let duration = config::parse_duration(text);
    let fit = duration.filter(|duration| !duration.is_zero() && *duration <= DAY);
    fit.ok_or("must be from 1ms to 24h, a number with ms, s, m or h, e.g. 1500ms")
}

/// What the configuration takes for an interval and for a heartbeat.
pub(crate) fn pace(text: &str) -> Result<Duration, &'static str> {
    let range = Duration::from_millis(10)..=Duration::from_secs(3600);
    let pace = duration(text).ok().filter(|pace| range.contains(pace));
    pace.ok_or("must be from 10ms to 1h, a number with ms, s, m or h, e.g. 1500ms")
}

/// An instant, or one that is so long before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// That instant.
    At(OffsetDateTime),
    /// So long before.
    Ago(Duration),
}

impl Moment {
    /// The instant, when it is told from `other` on.
    pub(crate) fn before(self, other: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => other - ago,
        }
    }
}

/// What a report is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The time before.
    Previous,
    /// From then to then.
    Between(Moment, Moment),
}

/// An instant by RFC 3339, or `7d`, `12h`, `30m`: at most 10 years.
pub(crate) fn moment(text: &str) -> Result<Moment, &'static str> {
    const LONGEST: u64 = 3653 * 24 * 3600;
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(Moment::At(at));
    }
    let units = [('d', 86_400), ('h', 3600), ('m', 60)];
    let ago = units.into_iter().find_map(|(unit, seconds): (char, u64)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds).filter(|seconds| (1..=LONGEST).contains(seconds))
    });
    let ago = ago.map(|seconds| Moment::Ago(Duration::from_secs(seconds)));
    ago.ok_or("must be an instant such as 2026-05-01T00:00:00Z, or a time such as 7d, 12h or 30m")
}

/// `previous`, or `FROM..TO`.
pub(crate) fn comparison(text: &str) -> Result<Comparison, &'static str> {
    if text == "previous" {
        return Ok(Comparison::Previous);
    }
    let (from, to) = text.split_once("..").ok_or("must be previous or FROM..TO")?;
    Ok(Comparison::Between(moment(from)?, moment(to)?))
}

/// How long one question may take.
pub(crate) fn asking(text: &str) -> Result<Duration, &'static str> {
    let range = Duration::from_secs(1)..=Duration::from_secs(600);
    let asking = duration(text).ok().filter(|it| range.contains(it));
    asking.ok_or("must be from 1s to 10m, a number with s or m, e.g. 30s")
}

/// By what the lab divides long timeouts.
#[cfg(feature = "lab")]
pub(crate) fn scale(text: &str) -> Result<f64, &'static str> {
    let scale = text.parse().ok().filter(|scale| (1.0..=1000.0).contains(scale));
    scale.ok_or("must be a number from 1 to 1000")
}

pub(crate) fn hold(text: &str) -> Result<Duration, &'static str> {
    let range = Duration::from_secs(1)..=Duration::from_secs(12 * 3600);
    let hold = duration(text).ok().filter(|hold| range.contains(hold));
    hold.ok_or("must be from 1s to 12h, a number with s, m or h, e.g. 5m")
}

/// How long a change is watched.
pub(crate) fn watching(text: &str) -> Result<Duration, &'static str> {
    let watching = duration(text).ok().filter(|it| *it >= Duration::from_secs(10));
    watching.ok_or("must be from 10s to 24h, a number with s, m or h, e.g. 15m")
}

/// What the gate takes for an objective and for a confidence.
pub(crate) fn measure(text: &str) -> Result<f64, &'static str> {
    let measure = text.parse().ok().filter(|it| (0.5..=0.999_999).contains(it));
    measure.ok_or("must be a number from 0.5 to 0.999999")
}

pub(crate) fn share(text: &str) -> Result<f64, &'static str> {
    let share: Option<f64> = text.parse().ok();
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or("must be a number from 0 to 1")
}

pub(crate) fn dns_server(text: &str) -> Result<Endpoint, String> {
    Endpoint::with_default_port(text, 53).map_err(|error| error.to_string())
}

pub(crate) fn istiod(text: &str) -> Result<Endpoint, String> {
    let port = config::ISTIOD_PORT;
    Endpoint::with_default_port(text, port).map_err(|error| error.to_string())
}

pub(crate) fn hbone(text: &str) -> Result<Endpoint, String> {
    Endpoint::with_default_port(text, HBONE_PORT).map_err(|error| error.to_string())
}

pub(crate) fn dns_literal(text: &str) -> Result<Endpoint, String> {
    literal(text, 53)
}

pub(crate) fn http_literal(text: &str) -> Result<Endpoint, String> {
    literal(text, 80)
}

pub(crate) fn hbone_or_off(text: &str) -> Result<OrOff<Endpoint>, String> {
    or_off(text, |text| literal(text, HBONE_PORT))
}

pub(crate) fn port_or_off(text: &str) -> Result<OrOff<u16>, &'static str> {
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    or_off(text, |text| port(text).ok_or("must be a port from 1 to 65535, or off"))
}

/// What the configuration takes for `csr`.
pub(crate) fn csr(text: &str) -> Result<OrOff<Duration>, &'static str> {
    let rate = |text: &str| duration(text).ok().filter(|rate| *rate >= Duration::from_secs(10));
    or_off(text, |text| rate(text).ok_or("must be from 10s to 24h, e.g. 5m, or off"))
}

fn or_off<T, E>(text: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Result<OrOff<T>, E> {
    if text == "off" { Ok(OrOff(None)) } else { read(text).map(|value| OrOff(Some(value))) }
}

/// An address: nothing is resolved for it.
fn literal(text: &str, port: u16) -> Result<Endpoint, String> {
    let endpoint = Endpoint::with_default_port(text, port).map_err(|error| error.to_string())?;
    match endpoint.host {
        Host::Ip(_) => Ok(endpoint),
        Host::Name(_) => Err("must be an IP address, with or without a port".to_owned()),
    }
}

pub(crate) fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address).ok_or("must be an address or a CIDR such as 10.0.0.0/8")
}

pub(crate) fn qtype(text: &str) -> Result<Qtype, &'static str> {
    let known = Qtype::ALL.into_iter().find(|qtype| qtype.as_str().eq_ignore_ascii_case(text));
    known.ok_or("must be A, AAAA, SRV, CNAME, PTR or TXT")
}

pub(crate) fn transport(text: &str) -> Result<Transport, &'static str> {
    match text {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        _ => Err("must be udp or tcp"),
    }
}

pub(crate) fn rcode(text: &str) -> Result<String, &'static str> {
    let known = text.to_ascii_uppercase();
    match known.as_str() {
        "NOERROR" | "FORMERR" | "SERVFAIL" | "NXDOMAIN" | "NOTIMP" | "REFUSED" => Ok(known),
        _ => Err("must be NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP or REFUSED"),
    }
}

pub(crate) fn tls_version(text: &str) -> Result<TlsVersion, &'static str> {
    match text {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        _ => Err("must be 1.2 or 1.3"),
    }
}

pub(crate) fn http_version(text: &str) -> Result<HttpVersion, &'static str> {
    match text {
        "auto" => Ok(HttpVersion::Auto),
        "1.1" => Ok(HttpVersion::Http1),
        "2" => Ok(HttpVersion::Http2),
        _ => Err("must be auto, 1.1 or 2"),
    }
}

pub(crate) fn header(text: &str) -> Result<Header, &'static str> {
    let (name, value) = text.split_once(':').ok_or("must be `Name: value`")?;
    let name = name.trim().parse().map_err(|_| "the name has characters that no header has")?;
    let value = value.trim().parse().map_err(|_| "the value has control characters")?;
    Ok((name, value))
}

pub(crate) fn escaped(text: &str) -> Result<Escaped, &'static str> {
    const WRONG: &str = r"after a backslash must come r, n, t, \ or xNN";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).map_err(|_| WRONG)?;
                let hex = digits.len() == 2 && digits.bytes().all(|d| d.is_ascii_hexdigit());
                let value = u8::from_str_radix(digits, 16).ok().filter(|_| hex);
                value.ok_or(WRONG)?
            }
            _ => return Err(WRONG),
        });
    }
    Ok(Escaped(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_bytes() {
        let bytes = |text| escaped(text).map(|escaped| escaped.0);
        assert_eq!(bytes(r"PING\r\n\x00\\é"), Ok("PING\r\n\0\\é".as_bytes().to_vec()));
        for wrong in [r"\", r"\q", r"\x1", r"\x+1", r"\xé"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_address_is_a_network_of_one() {
        assert_eq!(network("10.0.0.1").map(|n| n.to_string()), Ok("10.0.0.1/32".to_owned()));
        assert!(network("10.0.0.1/33").is_err());
    }

    #[test]
    fn headers_cannot_smuggle_a_second_one() {
        assert!(header("a: b\r\nc: d").is_err());
        assert!(header("a b: c").is_err());
        assert!(header("no colon").is_err());
    }
}
