//! A request as it goes on the wire, in either HTTP version.
//!
//! Every byte passes through the types of the `http` crate, which admit no line break in a
//! target, a name or a value.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body_util::Full;

use crate::spec::{HttpModule, HttpUrl};

const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("meshprobe/", env!("CARGO_PKG_VERSION")));

/// A question that can be put to any URL.
#[derive(Debug, Clone)]
pub(in crate::probe) struct Question {
    /// Request method.
    pub(in crate::probe) method: Method,
    /// Headers, with a Host only if one was stated.
    pub(in crate::probe) headers: HeaderMap,
    /// Request body.
    pub(in crate::probe) body: Option<Bytes>,
}

impl Question {
    /// GET without a body.
    pub(in crate::probe) fn get() -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(USER_AGENT, OWN_USER_AGENT);
        Self { method: Method::GET, headers, body: None }
    }

    /// What `module` asks. Its headers replace ours, except those that frame a message.
    pub(in crate::probe) fn new(module: &HttpModule) -> Self {
        let mut question = Self::get();
        question.method = module.method.clone();
        question.body = module.body.as_ref().map(|body| body.clone().into());
        if module.decompress {
            let offered = HeaderValue::from_static("gzip, deflate");
            question.headers.insert(ACCEPT_ENCODING, offered);
        }
        for (name, _) in &module.headers {
            question.headers.remove(name);
        }
        for (name, value) in &module.headers {
            if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
                question.headers.append(name.clone(), value.clone());
            }
        }
        question
    }

    /// The request to `url` over HTTP/1.1; `last` asks the server to close after it.
    fn http1(&self, url: &HttpUrl, last: bool) -> Request<Full<Bytes>> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        let host = self.headers.get(HOST).cloned();
        headers.insert(HOST, host.unwrap_or_else(|| host_value(url.authority())));
        for (name, value) in &self.headers {
            if name != HOST {
                headers.append(name.clone(), value.clone());
            }
        }
        if last && !headers.contains_key(CONNECTION) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.request(Uri::from(origin_form(url)), headers)
    }

    /// The request to `url` over HTTP/2, without the fields that it forbids (RFC 9113, 8.2.2).
    fn http2(&self, url: &HttpUrl) -> Request<Full<Bytes>> {
        const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
        const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
        let mut headers = self.headers.clone();
        let stated = headers.remove(HOST);
        for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, UPGRADE] {
            headers.remove(name);
        }
        if headers.get(TE).is_some_and(|te| te != "trailers") {
            headers.remove(TE);
        }
        let mut request = self.request(Uri::default(), headers);
        let body = self.body.as_ref().map_or(0, Bytes::len);
        if body > 0 {
            request.headers_mut().insert(CONTENT_LENGTH, body.into());
        }
        let authority = stated
            .and_then(|host| Authority::try_from(host.as_bytes()).ok())
            .or_else(|| url.authority().parse().ok());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(if url.is_https() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = authority;
        parts.path_and_query = Some(origin_form(url));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        request
    }

    fn request(&self, uri: Uri, headers: HeaderMap) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone().unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
    }
}

/// A question aimed at a URL; the request over HTTP/1.1, which nearly every attempt sends, is
/// made once.
#[derive(Debug)]
pub(in crate::probe) struct Prepared {
    /// Where it goes.
    pub(in crate::probe) url: HttpUrl,
    /// What is asked there.
    pub(in crate::probe) question: Question,
    http1: Request<Full<Bytes>>,
}

impl Prepared {
    /// Aims `question` at `url`; `last` asks an HTTP/1.1 server to close after its response.
    pub(in crate::probe) fn new(question: Question, url: HttpUrl, last: bool) -> Self {
        let http1 = question.http1(&url, last);
        Self { url, question, http1 }
    }

    /// The request over HTTP/1.1.
    pub(in crate::probe) fn http1(&self) -> Request<Full<Bytes>> {
        self.http1.clone()
    }

    /// The request over HTTP/2.
    pub(in crate::probe) fn http2(&self) -> Request<Full<Bytes>> {
        self.question.http2(&self.url)
    }
}

fn host_value(authority: &str) -> HeaderValue {
    HeaderValue::try_from(authority).expect("a parsed URL's authority is visible ASCII")
}

/// Path and query of `url` as RFC 3986 admits them: browsers' URLs are laxer.
fn origin_form(url: &HttpUrl) -> PathAndQuery {
    let text = url.path_and_query();
    if let Ok(path) = PathAndQuery::try_from(text) {
        return path;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    PathAndQuery::try_from(escaped).expect("bounded in length, and every odd byte is escaped")
}
