//! The keys of TLS: trust, names, own certificate.

use std::net::IpAddr;

use crate::config::decode::{Field, Fields};
use crate::spec::{ClientIdentity, OwnCertificate, Roots, TlsSettings, TlsVersion, Verify};

pub(in crate::config) const VERSIONS: [(&str, TlsVersion); 2] =
    [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];

const MOST_PROTOCOLS: usize = 8;

/// The block `tls` of a kind that may speak TLS.
pub(super) fn block(fields: &mut Fields<'_>) -> TlsSettings {
    let Some(field) = fields.take("tls") else {
        return TlsSettings::default();
    };
    let mut fields = field.fields();
    let settings = settings(&mut fields);
    fields.finish();
    settings
}

/// The keys themselves.
pub(super) fn settings(fields: &mut Fields<'_>) -> TlsSettings {
    let ca = fields.take("ca").and_then(|field| field.file());
    let server_name = fields.take("server_name").map(Field::noted);
    let min_remaining = fields.take("min_remaining");
    let (min_version, max_version) = versions(fields);
    TlsSettings {
        roots: ca.map_or(Roots::System, Roots::File),
        server_name: server_name.and_then(|field| name(&field)),
        verify: verify(fields, Verify::Name),
        identity: identity(fields),
        alpn: alpn(fields),
        min_version,
        max_version,
        min_remaining: min_remaining.and_then(|field| field.real(0.0..=1.0)),
    }
}

/// The block `tls` of a kind that stands in the mesh over what it takes when nothing is stated:
/// names only where there are `names`, a certificate only where one is shown by default.
pub(super) fn mesh_block(
    fields: &mut Fields<'_>,
    default: TlsSettings,
    names: bool,
) -> TlsSettings {
    let Some(field) = fields.take("tls") else {
        return default;
    };
    let mut fields = field.fields();
    let ca = fields.take("ca").and_then(|field| field.file());
    let server_name = if names { fields.take("server_name").map(Field::noted) } else { None };
    let server_name = server_name.and_then(|field| name(&field));
    let min_remaining = fields.take("min_remaining");
    let own = if default.identity.is_some() { identity(&mut fields) } else { None };
    if !names && default.identity.is_none() {
        for key in ["cert", "key"] {
            let stated = fields.take(key);
            let fix = "leave it out, or write `credentialed: true`";
            stated.iter().for_each(|field| field.unvalued("would be shown to nobody", fix));
        }
    }
    let settings = TlsSettings {
        roots: ca.map_or(default.roots, Roots::File),
        server_name: server_name.or(default.server_name),
        verify: if names { verify(&mut fields, default.verify) } else { unnamed(&mut fields) },
        identity: own.or(default.identity),
        min_remaining: min_remaining.and_then(|field| field.real(0.0..=1.0)),
        ..TlsSettings::default()
    };
    fields.finish();
    settings
}

/// A name that a certificate can carry and SNI can ask for.
pub(in crate::config) fn name(field: &Field<'_>) -> Option<String> {
    let text = field.filled()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(allowed);
    let good = text.parse::<IpAddr>().is_ok() || text.len() <= 253 && text.split('.').all(label);
    if !good {
        field.wrong(
            "is not a server name",
            "write a DNS name without port and final dot, or an IP address",
        );
    }
    good.then(|| text.to_owned())
}

/// As [`verify`], of certificates that carry no name.
fn unnamed(fields: &mut Fields<'_>) -> Verify {
    if let Some(field) = fields.peek("verify").filter(|field| field.is_word("name")) {
        field.wrong(
            "is what certificates of workloads do not carry",
            "write spiffe_id instead of verify, or chain",
        );
    }
    verify(fields, Verify::Chain)
}

fn verify(fields: &mut Fields<'_>, default: Verify) -> Verify {
    let stated = fields.take("verify");
    let words = [("name", 0), ("chain", 1), ("none", 2)];
    let word = stated.as_ref().and_then(|field| field.word(&words));
    if let Some(field) = fields.take("spiffe_id") {
        if stated.is_some() {
            field.wrong(
                "stands beside verify",
                "leave one of the two out: spiffe_id verifies chain and ID",
            );
        }
        return spiffe_id(&field).map_or(Verify::Chain, Verify::Spiffe);
    }
    match word {
        Some(0) => Verify::Name,
        Some(1) => Verify::Chain,
        Some(_) => Verify::Nothing,
        None => default,
    }
}

/// `spiffe://trust-domain/path`, by the SPIFFE ID standard.
fn spiffe_id(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    let segment = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed)
    };
    let good = text.strip_prefix("spiffe://").is_some_and(|rest| {
        let mut parts = rest.split('/');
        let trust_domain = parts.next().unwrap_or_default();
        let fits = (1..=255).contains(&trust_domain.len()) && text.len() <= 2048;
        fits && trust_domain.chars().all(domain) && parts.all(segment)
    });
    if !good {
        field.wrong(
            "is not a SPIFFE ID",
            "write spiffe://<trust domain>/ns/<namespace>/sa/<service account>",
        );
    }
    good.then(|| text.to_owned())
}

fn identity(fields: &mut Fields<'_>) -> Option<OwnCertificate> {
    let (cert, key) = (fields.take("cert"), fields.take("key"));
    match (&cert, &key) {
        (Some(cert), None) => cert.wrong("stands without a key", "write `key: FILE` as well"),
        (None, Some(key)) => {
            key.wrong("stands without a certificate", "write `cert: FILE` as well")
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let cert = cert.and_then(|field| field.file());
    let key = key.and_then(|field| field.file());
    Some(OwnCertificate::Files(ClientIdentity { certificate: cert?, key: key? }))
}

fn alpn(fields: &mut Fields<'_>) -> Vec<String> {
    let Some(field) = fields.take("alpn") else {
        return Vec::new();
    };
    let items = field.items();
    if items.len() > MOST_PROTOCOLS {
        let problem = format!("has {} protocols", items.len());
        field.wrong(problem, format!("write at most {MOST_PROTOCOLS}"));
    }
    let protocol = |field: &Field<'_>| {
        let text = field.filled()?;
        let good = text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic());
        if !good {
            field.wrong("is not an ALPN protocol", "write a name such as h2 or http/1.1");
        }
        good.then(|| text.to_owned())
    };
    items.iter().filter_map(protocol).collect()
}

fn versions(fields: &mut Fields<'_>) -> (Option<TlsVersion>, Option<TlsVersion>) {
    let (low, high) = (fields.take("min_version").map(Field::noted), fields.take("max_version"));
    let lowest = low.as_ref().and_then(|field| field.word(&VERSIONS));
    let highest = high.as_ref().and_then(|field| field.word(&VERSIONS));
    if let (Some(field), Some(lowest), Some(highest)) = (low, lowest, highest)
        && lowest > highest
    {
        field.wrong("is above max_version", "leave no version out that is to be offered");
    }
    (lowest, highest)
}
