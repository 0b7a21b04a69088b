//! The keys of an HTTP request.

use http::{HeaderName, HeaderValue, Method};

use crate::config::decode::{Entry, Field, Fields, listed};
use crate::config::module::{ip, tls};
use crate::config::server::set;
use crate::spec::{HttpModule, HttpVersion, IpPreference, TlsSettings};

pub(in crate::config) const VERSIONS: [(&str, HttpVersion); 3] =
    [("auto", HttpVersion::Auto), ("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)];

/// Headers that belong to the connection and the framing of a message.
const OURS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const MOST_HEADERS: usize = 64;
const MOST_REDIRECTS: u8 = 20;
const MOST_BODY: u64 = 1 << 30;

/// The block `http`.
pub(super) fn http(fields: &mut Fields<'_>) -> HttpModule {
    let tls = tls::block(fields);
    let ip = ip(fields);
    let mut module = HttpModule { tls, ..request(fields, ip) };
    let version = fields.take("version");
    set(&mut module.version, version.and_then(|f| f.word(&VERSIONS)));
    let redirects = fields.take("redirects");
    let redirects = redirects.and_then(|f| f.whole(0..=MOST_REDIRECTS));
    set(&mut module.redirects, redirects);
    set(&mut module.decompress, fields.take("decompress").and_then(|f| f.flag()));
    set(&mut module.keepalive, fields.take("keepalive").and_then(|f| f.flag()));
    module
}

/// The request in the block `hbone`; without a tunnel its keys are mistakes.
pub(super) fn tunnelled(fields: &mut Fields<'_>, tunnel: bool, ip: IpPreference) -> HttpModule {
    if !tunnel {
        for key in ["method", "headers", "body", "body_regex", "body_limit"] {
            if let Some(field) = fields.take(key) {
                let fix = "leave it out, or write `credentialed: true`";
                field.unvalued("is of a request, which needs a certificate", fix);
            }
        }
    }
    request(fields, ip)
}

/// The request itself, made once over a fresh connection.
fn request(fields: &mut Fields<'_>, ip: IpPreference) -> HttpModule {
    let mut module = HttpModule {
        method: Method::GET,
        headers: Vec::new(),
        body: None,
        version: HttpVersion::Auto,
        body_regex: None,
        body_limit: 1 << 20,
        redirects: 0,
        decompress: false,
        keepalive: false,
        tls: TlsSettings::default(),
        ip,
    };
    set(&mut module.method, fields.take("method").and_then(|f| method(&f)));
    if let Some(field) = fields.take("headers") {
        module.headers = headers(&field);
    }
    let body = fields.take("body").and_then(|field| field.text());
    module.body = body.filter(|text| !text.is_empty()).map(|text| text.as_bytes().to_vec());
    module.body_regex = fields.take("body_regex").and_then(|f| f.regex());
    let limit = fields.take("body_limit");
    set(&mut module.body_limit, limit.and_then(|f| f.size(MOST_BODY)));
    module
}

fn method(field: &Field<'_>) -> Option<Method> {
    let text = field.text()?;
    let method = Method::from_bytes(text.as_bytes()).ok();
    let upper = text.to_ascii_uppercase();
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"];
    if upper != text && known.contains(&upper.as_str()) {
        field.wrong("is not a method", format!("did you mean {upper}?"));
    } else if method.is_none() || text.len() > 32 {
        field.wrong("is not a method", "write one word, e.g. GET or HEAD");
    } else if method == Some(Method::CONNECT) {
        field.wrong("asks for a tunnel, not for a reply", "write e.g. GET or HEAD");
    } else {
        return method;
    }
    None
}

fn headers(field: &Field<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut entries = field.entries();
    if entries.len() > MOST_HEADERS {
        let problem = format!("has {} headers", entries.len());
        field.wrong(problem, format!("write at most {MOST_HEADERS}"));
        entries.truncate(MOST_HEADERS);
    }
    for entry in entries {
        let Some(name) = header_name(&entry) else {
            continue;
        };
        if headers.iter().any(|(other, _)| *other == name) {
            entry.key().unvalued(
                "is written twice, in other letters",
                "write one key with a list of values",
            );
        }
        let value = if is_secret(name.as_str()) { entry.field.hidden() } else { entry.field };
        let values = if value.is_list() { value.items() } else { vec![value] };
        let values = values.iter().filter_map(header_value);
        headers.extend(values.map(|mut value| {
            value.set_sensitive(is_secret(name.as_str()));
            (name.clone(), value)
        }));
    }
    headers
}

fn header_name(entry: &Entry<'_>) -> Option<HeaderName> {
    let key = entry.key();
    let name = HeaderName::from_bytes(entry.name.as_bytes()).ok();
    match &name {
        None => key.unvalued(
            "is not a header name",
            "write letters, digits and dashes, e.g. x-request-id",
        ),
        Some(name) if OURS.contains(&name.as_str()) => {
            let ours = OURS.map(str::to_owned).to_vec();
            let fix = format!("leave it out, as {}", listed(ours, "and"));
            key.unvalued("is set by the request itself", fix);
        }
        Some(_) => {}
    }
    name
}

fn header_value(field: &Field<'_>) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(field.text()?);
    let visible = value.ok().filter(|value| value.to_str().is_ok());
    if visible.is_none() {
        field.wrong("is not a header value", "write visible ASCII on one line");
    }
    visible
}

/// Whether values of the header `name` must not be shown.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 8] =
        ["auth", "cookie", "credential", "key", "password", "secret", "session", "token"];
    WORDS.iter().any(|word| name.contains(word))
}
