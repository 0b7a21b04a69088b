//! DeltaAggregatedResources: one stream, its subscriptions and the answers to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::condition::{Answers, IstiodCondition, Xds};
use super::tokens::Bearer;
use super::{Prepared, Shared, view};
use crate::istiod::messages::{
    ADDRESS_TYPE, AUTHORIZATION_TYPE, Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node,
    Resource,
};

/// Names that one stream may watch.
const MAX_NAMES: usize = 10_000;
/// Answers that wait for a slow reader.
const QUEUE: usize = 4;

/// What a stream sends.
pub(super) type Responses = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

/// Answers one stream, until either side ends it.
pub(super) async fn open(
    shared: Arc<Shared>,
    current: watch::Receiver<Arc<Prepared>>,
    request: Request<Streaming<DeltaDiscoveryRequest>>,
) -> Result<Response<Responses>, Status> {
    if current.borrow().condition.xds == Xds::Unavailable {
        return Err(Status::unavailable("discovery is not ready"));
    }
    let bearer = shared
        .bearer(request.metadata())
        .ok_or_else(|| Status::unauthenticated("authentication failure"))?;
    let (answers, responses) = mpsc::channel(QUEUE);
    let stop = shared.stop.clone();
    let stream = Stream { shared: Arc::clone(&shared), current, bearer, types: BTreeMap::new() };
    let served = stream.serve(request.into_inner(), answers);
    shared.tasks.spawn(stop.run_until_cancelled_owned(served));
    Ok(Response::new(ReceiverStream::new(responses)))
}

struct Stream {
    shared: Arc<Shared>,
    current: watch::Receiver<Arc<Prepared>>,
    bearer: Bearer,
    types: BTreeMap<String, Watched>,
}

/// What a stream watches of one type.
#[derive(Default)]
struct Watched {
    everything: bool,
    names: BTreeSet<String>,
    /// Answers so far.
    sent: u64,
}

impl Stream {
    async fn serve(
        mut self,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        answers: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    ) {
        let mut known = false;
        loop {
            let request = tokio::select! {
                request = requests.message() => request,
                () = answers.closed() => return,
            };
            let Ok(Some(request)) = request else { return };
            if !known && let Err(status) = self.admit(request.node.as_ref()) {
                let _ = answers.send(Err(status)).await;
                return;
            }
            known = true;
            let condition = self.current.borrow().condition.clone();
            let silent = condition.xds == Xds::Silent || condition.answers == Answers::Silent;
            if silent {
                continue;
            }
            match self.answer(request, &condition) {
                Ok(None) => {}
                Ok(Some(response)) => {
                    if answers.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
                Err(status) => {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            }
        }
    }

    /// Whether `node` may be told what the bearer of the token asks.
    fn admit(&self, node: Option<&Node>) -> Result<(), Status> {
        let node = node.ok_or_else(|| Status::invalid_argument("the first request has no node"))?;
        let named = |name: &str| {
            let field = node.metadata.as_ref()?.fields.get(name)?;
            field.string_value.clone().filter(|text| !text.is_empty())
        };
        let parts: Vec<&str> = node.id.split('~').collect();
        let [_, ip, _, domain] = parts.as_slice() else {
            return Err(Status::invalid_argument("a node id has four parts"));
        };
        if ip.parse::<std::net::IpAddr>().is_err() {
            return Err(Status::invalid_argument("the node id names no address"));
        }
        let namespace =
            named("NAMESPACE").unwrap_or_else(|| domain.split('.').next().unwrap_or("").to_owned());
        let account = named("SERVICE_ACCOUNT");
        let matches = namespace == self.bearer.namespace
            && account.is_none_or(|account| account == self.bearer.service_account);
        if matches {
            return Ok(());
        }
        Err(Status::permission_denied("authorization failed: the node is not the token's"))
    }

    /// The answer to a request; none to an acknowledgement.
    fn answer(
        &mut self,
        request: DeltaDiscoveryRequest,
        condition: &IstiodCondition,
    ) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        let held = match request.type_url.as_str() {
            ADDRESS_TYPE => view::addresses(&self.shared.world, condition),
            AUTHORIZATION_TYPE => view::authorizations(&self.shared.world),
            // Types that only Envoys ask for.
            _ => return Ok(None),
        };
        let first = !self.types.contains_key(&request.type_url);
        let watched = self.types.entry(request.type_url.clone()).or_default();
        for name in &request.resource_names_unsubscribe {
            watched.names.remove(name);
        }
        let asked: BTreeSet<String> = request.resource_names_subscribe.into_iter().collect();
        let everything = asked.contains("*") || (first && asked.is_empty());
        watched.everything |= everything;
        watched.names.extend(asked.iter().filter(|name| *name != "*").cloned());
        if watched.names.len() > MAX_NAMES {
            return Err(Status::resource_exhausted("too many names in one stream"));
        }
        if !everything && asked.is_empty() {
            return Ok(None);
        }
        watched.sent += 1;
        let (mut resources, removed_resources) = select(held, &asked, everything);
        if condition.xds == Xds::Garbage {
            resources = vec![garbage(&request.type_url)];
        }
        Ok(Some(DeltaDiscoveryResponse {
            system_version_info: watched.sent.to_string(),
            resources,
            nonce: format!("{}-{}", watched.sent, request.type_url.len()),
            type_url: request.type_url,
            removed_resources,
        }))
    }
}

/// The resources that answer to `asked`, and the names that none answers to.
fn select(
    held: Vec<Resource>,
    asked: &BTreeSet<String>,
    everything: bool,
) -> (Vec<Resource>, Vec<String>) {
    let named = |resource: &Resource, name: &String| {
        resource.name == *name || resource.aliases.contains(name)
    };
    let absent = |name: &&String| *name != "*" && !held.iter().any(|held| named(held, name));
    let removed = asked.iter().filter(absent).cloned().collect();
    let wanted = |resource: &Resource| everything || asked.iter().any(|name| named(resource, name));
    (held.into_iter().filter(wanted).collect(), removed)
}

fn garbage(type_url: &str) -> Resource {
    let any = Any { type_url: type_url.to_owned(), value: vec![0xff; 32] };
    Resource { name: "garbage".to_owned(), resource: Some(any), ..Resource::default() }
}
