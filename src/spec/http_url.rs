//! URLs that an HTTP request can be made of.

use url::Url;

use crate::spec::InvalidAddress;
use crate::target::{Endpoint, Host};

/// An `http://` or `https://` URL of at most 8192 characters, with a host and no user
/// information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// Parses a URL; without a scheme it is taken as `http://`.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        };
        Self::accept(url.map_err(|_| InvalidAddress::Url)?)
    }

    /// The target of a redirect from here.
    pub fn join(&self, location: &str) -> Result<Self, InvalidAddress> {
        Self::accept(self.0.join(location).map_err(|_| InvalidAddress::Url)?)
    }

    fn accept(url: Url) -> Result<Self, InvalidAddress> {
        let bare = url.username().is_empty() && url.password().is_none();
        let scheme = matches!(url.scheme(), "http" | "https");
        let port = url.port() != Some(0);
        let length = url.as_str().len() <= 8192;
        if bare && scheme && port && length && url.has_host() {
            Ok(Self(url))
        } else {
            Err(InvalidAddress::Url)
        }
    }

    /// Whether the scheme is https.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Where to connect to.
    pub fn endpoint(&self) -> Endpoint {
        let host = match self.0.host().expect("checked in accept") {
            url::Host::Domain(name) => Host::Name(name.to_owned()),
            url::Host::Ipv4(ip) => Host::Ip(ip.into()),
            url::Host::Ipv6(ip) => Host::Ip(ip.into()),
        };
        let port = self.0.port_or_known_default().expect("http and https have default ports");
        Endpoint { host, port }
    }

    /// `host[:port]` as a Host header or `:authority` has it.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Path and query, as a request line has them.
    pub fn path_and_query(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}
