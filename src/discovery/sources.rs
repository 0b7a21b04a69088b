//! Every watch there is: which kind, where, by which selector, and what is kept.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use tokio::task::{AbortHandle, JoinSet};

use crate::discovery::access::Client;
use crate::discovery::peer_authentication::peer_authentication;
use crate::discovery::reduce::{self, PodSeen, Slice};
use crate::discovery::seen::Seen;
use crate::discovery::service::{ServiceSeen, any_service, service};
use crate::discovery::settings::{Name, Settings};
use crate::discovery::watch::{Board, Place, Source, run};
use crate::discovery::watched::Watched;
use crate::discovery::webhook;

/// Selects meshprobe's agents.
const AGENTS: &str = "app.kubernetes.io/name=meshprobe,app.kubernetes.io/component=agent";
/// Selects ztunnel's pods.
const ZTUNNELS: &str = "app=ztunnel";
/// The headless Service of the controllers' channel.
const CHANNEL: &str = "meshprobe-controller-channel";
/// Pods that have not run to their end.
const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Starts watches.
pub(super) struct Sources {
    pub(super) client: Client,
    pub(super) settings: Arc<Settings>,
    pub(super) board: Arc<Board>,
}

impl Sources {
    /// Starts the watches that are always there.
    pub(super) fn start(&self, tasks: &mut JoinSet<()>) {
        self.cluster_wide(tasks);
        self.data_plane(tasks);
        self.webhooks(tasks);
        let settings = &self.settings;
        let agents = [&settings.ambient_namespace, &settings.plain_namespace];
        for namespace in agents {
            let at = namespace.clone();
            let place: Place<PodSeen> = Box::new(move |seen| seen.agents.get_mut(&at));
            self.pods(namespace, Some(AGENTS), None, place, tasks);
        }
        for scope in settings.scopes() {
            self.services(scope, tasks);
        }
        self.front(&settings.coredns, |seen| &mut seen.coredns.service, tasks);
        self.slices_of(&settings.coredns, |seen| &mut seen.coredns.slices, tasks);
        self.front(&settings.istiod, |seen| &mut seen.istiod.service, tasks);
        self.slices_of(&settings.istiod, |seen| &mut seen.istiod.slices, tasks);
        let channel = Name::new(&settings.plain_namespace, CHANNEL);
        self.slices_of(&channel, |seen| &mut seen.controllers, tasks);
    }

    /// Starts the watches of a namespace that has chosen Services.
    pub(super) fn start_in(&self, namespace: &str, tasks: &mut JoinSet<()>) -> [AbortHandle; 2] {
        let at = namespace.to_owned();
        let place: Place<PodSeen> = Box::new(move |seen| seen.pods.get_mut(&at));
        let pods = self.pods(namespace, None, Some(ALIVE), place, tasks);
        let at = namespace.to_owned();
        let slices = Source {
            api: self.namespaced::<EndpointSlice>(namespace),
            name: format!("endpointslices in {namespace}"),
            labels: None,
            fields: None,
            optional: false,
            reduce: Box::new(reduce::slice),
            place: Box::new(move |seen: &mut Seen| seen.slices.get_mut(&at)),
        };
        [pods, tasks.spawn(run(slices, Arc::clone(&self.board)))]
    }

    fn cluster_wide(&self, tasks: &mut JoinSet<()>) {
        let nodes = Source {
            api: Api::<Node>::all(self.client.0.clone()),
            name: "nodes".to_owned(),
            labels: None,
            fields: None,
            optional: false,
            reduce: Box::new(|node| Some(reduce::node(node))),
            place: Box::new(|seen| Some(&mut seen.nodes)),
        };
        tasks.spawn(run(nodes, Arc::clone(&self.board)));
        let namespaces = Source {
            api: Api::<Namespace>::all(self.client.0.clone()),
            name: "namespaces".to_owned(),
            labels: None,
            fields: None,
            optional: false,
            reduce: Box::new(|namespace| Some(reduce::namespace(namespace))),
            place: Box::new(|seen| Some(&mut seen.namespaces)),
        };
        tasks.spawn(run(namespaces, Arc::clone(&self.board)));
        let kind = GroupVersionKind::gvk("security.istio.io", "v1", "PeerAuthentication");
        let kind = ApiResource::from_gvk_with_plural(&kind, "peerauthentications");
        let policies = Source {
            api: Api::<DynamicObject>::all_with(self.client.0.clone(), &kind),
            name: "peerauthentications".to_owned(),
            labels: None,
            fields: None,
            optional: true,
            reduce: Box::new(|object| Some(peer_authentication(object))),
            place: Box::new(|seen| Some(&mut seen.peer_authentications)),
        };
        tasks.spawn(run(policies, Arc::clone(&self.board)));
    }

    fn data_plane(&self, tasks: &mut JoinSet<()>) {
        let namespace = &self.settings.istio_namespace;
        let place: Place<PodSeen> = Box::new(|seen| Some(&mut seen.ztunnels));
        self.pods(namespace, Some(ZTUNNELS), None, place, tasks);
        let daemon_sets = Source {
            api: self.namespaced::<DaemonSet>(namespace),
            name: format!("daemonsets in {namespace}"),
            labels: None,
            fields: None,
            optional: false,
            reduce: Box::new(reduce::daemon_set),
            place: Box::new(|seen| Some(&mut seen.daemon_sets)),
        };
        tasks.spawn(run(daemon_sets, Arc::clone(&self.board)));
    }

    fn webhooks(&self, tasks: &mut JoinSet<()>) {
        let validating = Source {
            api: Api::<ValidatingWebhookConfiguration>::all(self.client.0.clone()),
            name: "validatingwebhookconfigurations".to_owned(),
            labels: None,
            fields: None,
            optional: true,
            reduce: Box::new(webhook::validating),
            place: Box::new(|seen| Some(&mut seen.validating)),
        };
        tasks.spawn(run(validating, Arc::clone(&self.board)));
        let mutating = Source {
            api: Api::<MutatingWebhookConfiguration>::all(self.client.0.clone()),
            name: "mutatingwebhookconfigurations".to_owned(),
            labels: None,
            fields: None,
            optional: true,
            reduce: Box::new(webhook::mutating),
            place: Box::new(|seen| Some(&mut seen.mutating)),
        };
        tasks.spawn(run(mutating, Arc::clone(&self.board)));
    }

    fn services(&self, scope: Option<String>, tasks: &mut JoinSet<()>) {
        let settings = Arc::clone(&self.settings);
        let source = Source {
            api: match &scope {
                Some(namespace) => self.namespaced::<Service>(namespace),
                None => Api::all(self.client.0.clone()),
            },
            name: format!("services in {}", scope.as_deref().unwrap_or("the whole cluster")),
            labels: None,
            fields: None,
            optional: false,
            reduce: Box::new(move |object| service(object, &settings.services)),
            place: Box::new(move |seen: &mut Seen| seen.services.get_mut(&scope)),
        };
        tasks.spawn(run(source, Arc::clone(&self.board)));
    }

    fn pods(
        &self,
        namespace: &str,
        labels: Option<&str>,
        fields: Option<&str>,
        place: Place<PodSeen>,
        tasks: &mut JoinSet<()>,
    ) -> AbortHandle {
        let source = Source {
            api: self.namespaced::<Pod>(namespace),
            name: format!("pods in {namespace}"),
            labels: labels.map(str::to_owned),
            fields: fields.map(str::to_owned),
            optional: false,
            reduce: Box::new(reduce::pod),
            place,
        };
        tasks.spawn(run(source, Arc::clone(&self.board)))
    }

    fn front(
        &self,
        name: &Name,
        place: fn(&mut Seen) -> &mut Watched<ServiceSeen>,
        tasks: &mut JoinSet<()>,
    ) {
        let source = Source {
            api: self.namespaced::<Service>(&name.namespace),
            name: format!("services in {}", name.namespace),
            labels: None,
            fields: Some(format!("metadata.name={}", name.name)),
            optional: false,
            reduce: Box::new(|object| any_service(object, &[])),
            place: Box::new(move |seen| Some(place(seen))),
        };
        tasks.spawn(run(source, Arc::clone(&self.board)));
    }

    fn slices_of(
        &self,
        name: &Name,
        place: fn(&mut Seen) -> &mut Watched<Slice>,
        tasks: &mut JoinSet<()>,
    ) {
        let source = Source {
            api: self.namespaced::<EndpointSlice>(&name.namespace),
            name: format!("endpointslices in {}", name.namespace),
            labels: Some(format!("kubernetes.io/service-name={}", name.name)),
            fields: None,
            optional: false,
            reduce: Box::new(reduce::slice),
            place: Box::new(move |seen| Some(place(seen))),
        };
        tasks.spawn(run(source, Arc::clone(&self.board)));
    }

    fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.0.clone(), namespace)
    }
}
