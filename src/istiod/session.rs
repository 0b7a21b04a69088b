//! The two calls that a workload makes to istiod, over one connection.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tonic::client::Grpc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::failure::{Fault, Reason};
use crate::istiod::Token;
use crate::istiod::channel::{Call, Channel};
use crate::istiod::fault::{broken, http2_fault, local_fault, status_fault};
use crate::istiod::messages::{
    ADDRESS_TYPE, CREATE_CERTIFICATE, CertificateRequest, CertificateResponse, DELTA_RESOURCES,
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Struct, Value,
};
use crate::istiod::wire::{Ended, Wire};
use crate::net::Stream;
use crate::spec::PodIdentity;
use crate::target::Endpoint;

/// Largest message that is taken, bytes.
const MESSAGE_LIMIT: usize = 4 * 1024 * 1024;
/// Flow control windows that we grant, bytes.
const WINDOW: u32 = 256 * 1024;
/// Largest header list that is taken, bytes.
const HEAD_LIMIT: u32 = 64 * 1024;
/// As many streams as no peer can grant: it stands there until the peer's settings came.
const NO_SETTINGS_YET: usize = usize::MAX - 1;

/// An HTTP/2 connection to istiod, driven by whoever awaits a call on it.
///
/// Nothing here has a deadline of its own: dropping a call's future ends it, and after that the
/// session is only good for being dropped.
pub struct Session {
    grpc: Grpc<Channel>,
    line: Line,
}

/// A signed certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// PEM: leaf, then intermediates.
    pub chain_pem: String,
    /// PEM: the roots that istiod stands under, one or more; empty when it sent none.
    pub roots_pem: String,
}

impl Session {
    /// Begins HTTP/2 over `stream` and waits for the peer's settings.
    ///
    /// `authority` is whom the calls are addressed to. `tls_protocol` when ALPN did not agree on
    /// h2.
    pub async fn begin(stream: TlsStream<Stream>, authority: &Endpoint) -> Result<Self, Fault> {
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            let detail = "the server did not agree on h2 by ALPN";
            return Err(Fault::new(Reason::TlsProtocol, detail));
        }
        let origin = Uri::builder()
            .scheme("https")
            .authority(authority.to_string())
            .path_and_query("/")
            .build()
            .map_err(|error| Fault::new(Reason::Unclassified, format!("{authority}: {error}")))?;
        let wire = Wire::new(stream);
        let ended = wire.ended();
        let (sender, driver) = h2::client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(NO_SETTINGS_YET)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEAD_LIMIT)
            .handshake(wire)
            .await
            .map_err(|error| http2_fault(&error, ended.fault()))?;
        let (channel, call) = Channel::new(sender);
        let mut line = Line { driver, outcome: None, call, ended };
        line.settings().await?;
        let grpc = Grpc::with_origin(channel, origin).max_decoding_message_size(MESSAGE_LIMIT);
        Ok(Self { grpc, line })
    }

    /// Has the request `csr_pem` signed for `validity`; zero leaves it to istiod.
    ///
    /// `cluster_id` is the metadata `clusterid`. Whether the certificate is what was asked for is
    /// the caller's to check.
    pub async fn create_certificate(
        &mut self,
        token: &Token,
        cluster_id: &str,
        csr_pem: &str,
        validity: Duration,
    ) -> Result<Signed, Fault> {
        let message = CertificateRequest {
            csr: csr_pem.to_owned(),
            validity_duration: i64::try_from(validity.as_secs()).unwrap_or(i64::MAX),
        };
        let request = authorized(message, token, cluster_id)?;
        let (grpc, codec) = (&mut self.grpc, ProstCodec::<_, CertificateResponse>::default());
        let calling = async {
            grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            grpc.unary(request, PathAndQuery::from_static(CREATE_CERTIFICATE), codec).await
        };
        let response = self.line.call(calling, token).await?.into_inner();
        Signed::from_chain(response.cert_chain)
    }

    /// Subscribes as `pod` to the addresses `names` (`<network>/<ip>`), gives the first answer,
    /// acknowledges it, and ends the subscription.
    pub async fn delta_subscribe(
        &mut self,
        token: &Token,
        cluster_id: &str,
        pod: &PodIdentity,
        names: Vec<String>,
    ) -> Result<DeltaDiscoveryResponse, Fault> {
        // Never more under way than the subscription and its acknowledgement.
        let (requests, stream) = mpsc::channel(2);
        let _ = requests.try_send(DeltaDiscoveryRequest {
            node: Some(node(pod, cluster_id)),
            type_url: ADDRESS_TYPE.to_owned(),
            resource_names_subscribe: names,
            ..DeltaDiscoveryRequest::default()
        });
        let request = authorized(ReceiverStream::new(stream), token, cluster_id)?;
        let (grpc, codec) = (&mut self.grpc, ProstCodec::<_, DeltaDiscoveryResponse>::default());
        let subscribing = async {
            grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
            let path = PathAndQuery::from_static(DELTA_RESOURCES);
            let mut answers = grpc.streaming(request, path, codec).await?.into_inner();
            loop {
                match answers.message().await? {
                    Some(answer) if answer.type_url != ADDRESS_TYPE => {}
                    answer => return Ok((answer, answers)),
                }
            }
        };
        let (answer, answers) = self.line.call(subscribing, token).await?;
        let ended = || Fault::new(Reason::Closed, "istiod ended the stream without an answer");
        let answer = answer.ok_or_else(ended)?;
        let _ = requests.try_send(DeltaDiscoveryRequest {
            type_url: ADDRESS_TYPE.to_owned(),
            response_nonce: answer.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        });
        drop(requests);
        self.line.sent().await;
        drop(answers);
        Ok(answer)
    }

    /// Says GOAWAY, and waits for nothing.
    pub async fn close(self) {
        let Self { grpc, mut line } = self;
        drop(grpc);
        poll_fn(|context| {
            line.drive(context);
            Poll::Ready(())
        })
        .await;
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Signed {
    /// How many certificates the root bundle has.
    pub fn roots(&self) -> u32 {
        let count = self.roots_pem.matches("-----BEGIN CERTIFICATE-----").count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The last element is the root bundle, unless the leaf is alone.
    fn from_chain(mut chain: Vec<String>) -> Result<Self, Fault> {
        let roots_pem =
            if chain.len() > 1 { chain.pop().unwrap_or_default() } else { String::new() };
        if chain.is_empty() {
            return Err(Fault::new(Reason::CertUntrusted, "istiod signed nothing: an empty chain"));
        }
        // Not every element ends with the end of a line.
        Ok(Self { chain_pem: chain.join("\n"), roots_pem })
    }
}

/// The connection below the calls.
struct Line {
    driver: h2::client::Connection<Wire, Bytes>,
    outcome: Option<Result<(), h2::Error>>,
    call: Arc<Call>,
    ended: Ended,
}

impl Line {
    async fn settings(&mut self) -> Result<(), Fault> {
        poll_fn(|context| {
            let over = self.drive(context);
            if self.driver.max_concurrent_send_streams() != NO_SETTINGS_YET {
                return Poll::Ready(Ok(()));
            }
            if over { Poll::Ready(Err(self.end())) } else { Poll::Pending }
        })
        .await
    }

    /// Drives the connection until `calling` has its result.
    async fn call<T>(
        &mut self,
        calling: impl Future<Output = Result<T, Status>>,
        token: &Token,
    ) -> Result<T, Fault> {
        let mut calling = pin!(calling);
        let result = poll_fn(|context| {
            if let Poll::Ready(result) = calling.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            let _ = self.call.poll_sent(context);
            if !self.drive(context) {
                return Poll::Pending;
            }
            // What came before the end may be a whole answer.
            match calling.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => Poll::Ready(None),
            }
        })
        .await;
        let mut fault = match result {
            Some(Ok(value)) => return Ok(value),
            Some(Err(status)) => self.told(&status),
            None => self.end(),
        };
        fault.detail = token.hidden_in(&fault.detail);
        Err(fault)
    }

    /// Drives the connection until the request of the last call has left, or never will.
    async fn sent(&mut self) {
        poll_fn(|context| {
            let sent = self.call.poll_sent(context);
            if self.drive(context) { Poll::Ready(()) } else { sent }
        })
        .await;
    }

    /// Moves what can be moved; whether the connection is over.
    fn drive(&mut self, context: &mut Context<'_>) -> bool {
        if self.outcome.is_none()
            && let Poll::Ready(result) = Pin::new(&mut self.driver).poll(context)
        {
            self.outcome = Some(result);
        }
        self.outcome.is_some()
    }

    /// Tells a failed call, by how the connection ended where its stream has only that it did.
    fn told(&self, status: &Status) -> Fault {
        match broken(status) {
            Some(error) if error.is_io() => {
                self.failed().unwrap_or_else(|| http2_fault(error, self.ended.fault()))
            }
            Some(error) => http2_fault(error, self.ended.fault()),
            None if self.call.was_refused() => status_fault(status),
            None => local_fault(status),
        }
    }

    fn end(&self) -> Fault {
        let closed = || Fault::new(Reason::Closed, "closed by the peer");
        self.failed().or_else(|| self.ended.fault()).unwrap_or_else(closed)
    }

    /// How the connection failed, if it did.
    fn failed(&self) -> Option<Fault> {
        match &self.outcome {
            Some(Err(error)) => Some(http2_fault(error, self.ended.fault())),
            Some(Ok(())) | None => None,
        }
    }
}

/// `message` with who asks, which is no library's to show.
fn authorized<M>(message: M, token: &Token, cluster_id: &str) -> Result<Request<M>, Fault> {
    let mut request = Request::new(message);
    let cluster = MetadataValue::try_from(cluster_id).map_err(|_| {
        Fault::new(Reason::NoIdentity, "the cluster id cannot be sent: it must be ASCII")
    })?;
    let mut fields = http::HeaderMap::new();
    fields.insert(http::header::AUTHORIZATION, token.authorization());
    *request.metadata_mut() = MetadataMap::from_headers(fields);
    if !cluster_id.is_empty() {
        request.metadata_mut().insert("clusterid", cluster);
    }
    Ok(request)
}

/// Who asks, as ztunnels say it; istiod holds namespace and service account against the token.
fn node(pod: &PodIdentity, cluster_id: &str) -> Node {
    let PodIdentity { name, namespace, service_account, ip, network } = pod;
    let text = |text: &str| Value { string_value: Some(text.to_owned()) };
    let fields = [
        ("NAME", text(name)),
        ("NAMESPACE", text(namespace)),
        ("SERVICE_ACCOUNT", text(service_account)),
        ("INSTANCE_IPS", text(&ip.to_string())),
        ("CLUSTER_ID", text(cluster_id)),
        ("NETWORK", text(network)),
    ];
    let fields: BTreeMap<_, _> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Node {
        id: format!("ztunnel~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(elements: &[&str]) -> Vec<String> {
        elements.iter().map(|element| (*element).to_owned()).collect()
    }

    #[test]
    fn the_last_element_of_a_chain_is_the_root_bundle() {
        let signed = Signed::from_chain(chain(&["leaf", "above", "roots"])).expect("a chain");
        assert_eq!((&*signed.chain_pem, &*signed.roots_pem), ("leaf\nabove", "roots"));
        let alone = Signed::from_chain(chain(&["leaf"])).expect("a chain");
        assert_eq!((&*alone.chain_pem, &*alone.roots_pem), ("leaf", ""));
        let nothing = Signed::from_chain(Vec::new()).expect_err("nothing");
        assert_eq!(nothing.reason, Reason::CertUntrusted);
    }
}
