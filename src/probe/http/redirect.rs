//! Where a redirect leads, and what of the request goes along.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE,
    HOST, LOCATION, PROXY_AUTHORIZATION,
};
use http::{HeaderMap, Method, StatusCode};

use crate::failure::{Fault, Reason};
use crate::probe::http::request::Question;
use crate::spec::HttpUrl;

/// The URL that a response redirects to; `None` if it redirects nowhere.
///
/// A Location that cannot be followed is the response's fault.
pub(super) fn target(
    status: StatusCode,
    headers: &HeaderMap,
    url: &HttpUrl,
) -> Option<Result<HttpUrl, Fault>> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = headers.get(LOCATION)?;
    let joined =
        std::str::from_utf8(location.as_bytes()).ok().and_then(|location| url.join(location).ok());
    Some(joined.ok_or_else(|| {
        let detail = format!("status {status} leads to no http:// or https:// URL");
        Fault::new(Reason::Status, detail)
    }))
}

/// The fault of a response that redirects once more than `allowed`.
pub(super) fn too_many(status: StatusCode, allowed: u8, next: &HttpUrl) -> Fault {
    let place = next.authority();
    let detail = format!("status {} after {allowed} redirects, on to {place}", status.as_u16());
    Fault::new(Reason::Status, detail)
}

/// What to ask at `to` after `from` answered `question` with `status` (RFC 9110, section 15.4).
///
/// Credentials and the stated Host stay behind when the origin changes, and do not come back.
pub(super) fn carry_on(
    question: &Question,
    status: StatusCode,
    from: &HttpUrl,
    to: &HttpUrl,
) -> Question {
    let mut next = question.clone();
    let see_other = status == StatusCode::SEE_OTHER && next.method != Method::HEAD;
    let moved = matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND);
    if see_other || (moved && next.method == Method::POST) {
        next.method = Method::GET;
        next.body = None;
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION] {
            next.headers.remove(name);
        }
    }
    if !same_origin(from, to) {
        for name in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HOST] {
            next.headers.remove(name);
        }
    }
    next
}

/// Whether two URLs share scheme, host and port (RFC 6454).
pub(super) fn same_origin(left: &HttpUrl, right: &HttpUrl) -> bool {
    left.is_https() == right.is_https() && left.endpoint() == right.endpoint()
}
