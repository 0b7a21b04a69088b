//! Everything that the watches know, in one place. Pure.

use std::collections::BTreeMap;
use std::fmt;

use crate::cluster::mtls::PeerAuthentication;
use crate::cluster::{DaemonSet, Finding, Namespace, Node, Webhook};
use crate::discovery::reduce::{PodSeen, Slice};
use crate::discovery::service::ServiceSeen;
use crate::discovery::settings::Settings;
use crate::discovery::watched::{Health, Standing, Watched};

/// What every watch knows. Those of chosen Services' namespaces come and go.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Nodes.
    pub nodes: Watched<Node>,
    /// Namespaces.
    pub namespaces: Watched<Namespace>,
    /// Agents by namespace.
    pub agents: BTreeMap<String, Watched<PodSeen>>,
    /// Services that somebody wants called, by the namespace that is watched; `None` is all.
    pub services: BTreeMap<Option<String>, Watched<ServiceSeen>>,
    /// Pods of chosen Services' namespaces, by namespace.
    pub pods: BTreeMap<String, Watched<PodSeen>>,
    /// EndpointSlices of chosen Services' namespaces, by namespace.
    pub slices: BTreeMap<String, Watched<Slice>>,
    /// CoreDNS.
    pub coredns: Front,
    /// istiod.
    pub istiod: Front,
    /// EndpointSlices of the controllers' own channel.
    pub controllers: Watched<Slice>,
    /// ztunnel's pods.
    pub ztunnels: Watched<PodSeen>,
    /// The data plane's DaemonSets.
    pub daemon_sets: Watched<DaemonSet>,
    /// Services behind ValidatingWebhookConfigurations.
    pub validating: Watched<Vec<Webhook>>,
    /// Services behind MutatingWebhookConfigurations.
    pub mutating: Watched<Vec<Webhook>>,
    /// PeerAuthentications, and what is wrong with those that cannot be read.
    pub peer_authentications: Watched<Result<PeerAuthentication, Box<Finding>>>,
}

/// A Service of the control plane and what is behind it.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// The Service, one or none.
    pub service: Watched<ServiceSeen>,
    /// Its EndpointSlices.
    pub slices: Watched<Slice>,
}

/// Which watch: a kind, as the API calls it, and the namespace that it is confined to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchName {
    /// Plural and lower case, as in a Role: `pods`.
    pub resource: &'static str,
    /// `None` for the whole cluster.
    pub namespace: Option<String>,
}

/// `pods`, or `pods in default`.
impl fmt::Display for WatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

impl Seen {
    /// Nothing yet, with a place for each watch that `settings` make necessary from the start.
    pub fn new(settings: &Settings) -> Self {
        let namespaces = [&settings.ambient_namespace, &settings.plain_namespace];
        Self {
            agents: namespaces.map(|name| (name.clone(), Watched::default())).into(),
            services: settings.scopes().into_iter().map(|is| (is, Watched::default())).collect(),
            ..Self::default()
        }
    }

    /// How each watch is doing; `objects` of it are kept.
    pub fn healths(&self, settings: &Settings) -> Vec<(WatchName, &Health, usize)> {
        let name = |resource: &'static str, namespace: Option<&String>| WatchName {
            resource,
            namespace: namespace.cloned(),
        };
        let istio = Some(&settings.istio_namespace);
        let coredns = Some(&settings.coredns.namespace);
        let istiod = Some(&settings.istiod.namespace);
        let plain = Some(&settings.plain_namespace);
        let mut all = vec![
            one(name("nodes", None), &self.nodes),
            one(name("namespaces", None), &self.namespaces),
            one(name("services", coredns), &self.coredns.service),
            one(name("endpointslices", coredns), &self.coredns.slices),
            one(name("services", istiod), &self.istiod.service),
            one(name("endpointslices", istiod), &self.istiod.slices),
            one(name("endpointslices", plain), &self.controllers),
            one(name("pods", istio), &self.ztunnels),
            one(name("daemonsets", istio), &self.daemon_sets),
            one(name("validatingwebhookconfigurations", None), &self.validating),
            one(name("mutatingwebhookconfigurations", None), &self.mutating),
            one(name("peerauthentications", None), &self.peer_authentications),
        ];
        all.extend(self.agents.iter().map(|(at, is)| one(name("pods", Some(at)), is)));
        all.extend(self.services.iter().map(|(at, is)| one(name("services", at.as_ref()), is)));
        all.extend(self.pods.iter().map(|(at, is)| one(name("pods", Some(at)), is)));
        all.extend(self.slices.iter().map(|(at, is)| one(name("endpointslices", Some(at)), is)));
        all
    }

    /// The watches of which nothing is known yet.
    pub fn waiting(&self, settings: &Settings) -> Vec<WatchName> {
        let all = self.healths(settings).into_iter();
        let waiting = all.filter(|(_, health, _)| health.standing == Standing::Waiting);
        waiting.map(|(name, _, _)| name).collect()
    }
}

fn one<T: PartialEq>(name: WatchName, watched: &Watched<T>) -> (WatchName, &Health, usize) {
    (name, &watched.health, watched.objects().len())
}
