//! The effective configuration as YAML: every default filled in, secrets hidden.

mod controllers;
mod mesh;
mod slo;

use http::HeaderName;

use crate::config::module::{HTTP_VERSIONS, IP_PREFERENCES, TLS_VERSIONS, TRANSPORTS};
use crate::config::quantity::{print_duration, print_size};
use crate::config::target::VIAS;
use crate::config::yaml::Yaml;
use crate::config::{AdminConfig, Config, ResponderConfig};
use crate::failure::Phase;
use crate::slo::Slo;
use crate::spec::{
    Ask, DnsModule, HoldModule, HttpModule, IpPreference, Module, ModuleKind, OwnCertificate,
    Roots, Search, TargetSpec, TcpModule, Timeouts, TlsModule, TlsSettings, Verify,
};

impl Config {
    /// The effective configuration: [`super::parse`] reads an equal one back, but for the values
    /// of secret headers, which are `<secret>`.
    pub fn to_yaml(&self) -> String {
        let modules = self.modules.iter();
        let modules = modules.map(|(name, module)| (key(name), Yaml::Map(module_keys(module))));
        let mut root = Map::default();
        root.add("node", Yaml::text(&self.identity.node));
        root.maybe("zone", self.identity.zone.as_ref().map(Yaml::text));
        let vantage = self.identity.vantage;
        root.maybe("vantage", vantage.map(|v| Yaml::text(v.as_str())));
        root.add("admin", admin(&self.admin));
        root.maybe("responder", self.responder.as_ref().map(responder));
        let mut limits = Map::default();
        limits.add("max_in_flight", Yaml::value(self.limits.max_in_flight));
        limits.add("max_schedule_lag", duration(self.limits.max_schedule_lag));
        root.add("limits", limits.done());
        let buckets = self.buckets.iter().map(Yaml::value).collect();
        root.add("buckets", Yaml::List(buckets));
        if !self.slos.is_empty() {
            root.add("slos", Yaml::List(self.slos.iter().map(slo::slo).collect()));
        }
        let resolv_conf = self.resolv_conf.to_string_lossy();
        root.add("resolv_conf", Yaml::text(resolv_conf));
        root.maybe("mesh", self.mesh.as_ref().map(mesh::mesh));
        let controllers = self.controllers.as_ref();
        root.maybe("controller", controllers.map(controllers::controllers));
        root.add("modules", Yaml::Map(modules.collect()));
        let targets = self.targets.iter().map(target).collect();
        root.add("targets", Yaml::List(targets));
        root.done().document()
    }
}

/// The list `slos` as it stands in a configuration.
pub fn slos(slos: &[Slo]) -> String {
    let mut root = Map::default();
    root.add("slos", Yaml::List(slos.iter().map(slo::slo).collect()));
    root.done().document()
}

/// The entries of a map, in the order in which they are added.
#[derive(Default)]
struct Map(Vec<(String, Yaml)>);

impl Map {
    fn add(&mut self, key: &str, value: Yaml) {
        self.0.push((key.to_owned(), value));
    }

    fn maybe(&mut self, key: &str, value: Option<Yaml>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    fn done(self) -> Yaml {
        Yaml::Map(self.0)
    }
}

fn key(text: &str) -> String {
    match Yaml::text(text) {
        Yaml::Plain(plain) => plain,
        Yaml::Block(_) | Yaml::List(_) | Yaml::Map(_) => unreachable!("text is a scalar"),
    }
}

fn duration(duration: std::time::Duration) -> Yaml {
    Yaml::text(print_duration(duration))
}

fn size(bytes: u64) -> Yaml {
    Yaml::Plain(print_size(bytes))
}

/// The word that stands for `value`.
fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> Yaml {
    let found = words.iter().find(|(_, known)| known == value);
    Yaml::text(found.expect("the table of words is complete").0)
}

fn admin(admin: &AdminConfig) -> Yaml {
    let mut map = Map::default();
    map.add("listen", Yaml::text(admin.listen.to_string()));
    map.add("max_connections", Yaml::value(admin.max_connections));
    map.add("max_probes", Yaml::value(admin.max_probes));
    map.add("probe_networks", Yaml::texts(&admin.probe_networks));
    map.done()
}

fn responder(responder: &ResponderConfig) -> Yaml {
    let mut map = Map::default();
    map.add("listen", Yaml::texts(&responder.listen));
    map.add("max_connections", Yaml::value(responder.max_connections));
    map.add("max_body", size(responder.max_body));
    let rate = responder.max_requests_per_second;
    map.add("max_requests_per_second", Yaml::value(rate));
    map.add("idle_timeout", duration(responder.idle_timeout));
    map.done()
}

fn target(target: &TargetSpec) -> Yaml {
    let (address, kind) = aimed(&target.probe.ask);
    let mut map = Map::default();
    map.add("name", Yaml::text(target.name.as_str()));
    map.add("address", Yaml::text(address));
    map.add("interval", duration(target.cadence.interval()));
    map.add("jitter", Yaml::value(target.cadence.jitter()));
    map.add("max_in_flight", Yaml::value(target.max_in_flight));
    map.maybe("via", target.via.map(|via| word(&VIAS, &via)));
    map.maybe("subject", target.subject.as_ref().map(|it| Yaml::text(it.as_str())));
    map.maybe("destination_node", target.destination_node.as_ref().map(Yaml::text));
    let control = target.control.as_ref();
    map.maybe("control", control.map(|name| Yaml::text(name.as_str())));
    map.0.extend(module_keys(&Module {
        kind,
        timeouts: target.probe.timeouts,
        expect: target.probe.expect.clone(),
    }));
    map.done()
}

/// A question taken apart into the address and what is asked of it.
fn aimed(ask: &Ask) -> (String, ModuleKind) {
    match ask {
        Ask::Dns { module, name, server } => {
            let server = server.as_ref().filter(|_| module.name.is_some());
            let address = server.map_or_else(|| name.clone(), ToString::to_string);
            (address, ModuleKind::Dns(module.clone()))
        }
        Ask::Tcp { module, endpoint } => (endpoint.to_string(), ModuleKind::Tcp(module.clone())),
        Ask::Tls { module, endpoint } => (endpoint.to_string(), ModuleKind::Tls(module.clone())),
        Ask::Http { module, url } => (url.as_str().to_owned(), ModuleKind::Http(module.clone())),
        Ask::Hold { module, url } => (url.as_str().to_owned(), ModuleKind::Hold(module.clone())),
        Ask::Hbone { module, peer, url } => {
            let address =
                url.as_ref().map_or_else(|| peer.to_string(), |url| url.as_str().to_owned());
            (address, ModuleKind::Hbone(Box::new(module.clone())))
        }
        Ask::Istiod { module, endpoint } => {
            (endpoint.to_string(), ModuleKind::Istiod(Box::new(module.clone())))
        }
        Ask::Capture { module, name } => (name.clone(), ModuleKind::Capture(module.clone())),
        Ask::Mtu { module, url } => (url.as_str().to_owned(), ModuleKind::Mtu(module.clone())),
        Ask::Ztunnel { module, host } => (host.to_string(), ModuleKind::Ztunnel(module.clone())),
    }
}

fn module_keys(module: &Module) -> Vec<(String, Yaml)> {
    let mut map = Map::default();
    map.add("expect", Yaml::text(module.expect.to_string()));
    map.add("timeout", duration(module.timeouts.total));
    map.maybe("timeouts", phases(&module.timeouts));
    match &module.kind {
        ModuleKind::Dns(module) => map.add("dns", dns(module)),
        ModuleKind::Tcp(module) => map.add("tcp", tcp(module)),
        ModuleKind::Tls(module) => map.add("tls", tls_module(module)),
        ModuleKind::Http(module) => map.add("http", http(module)),
        ModuleKind::Hold(module) => map.add("hold", hold(module)),
        ModuleKind::Hbone(module) => map.add("hbone", mesh::hbone(module)),
        ModuleKind::Istiod(module) => map.add("istiod", mesh::istiod(module)),
        ModuleKind::Capture(module) => map.add("capture", mesh::capture(module)),
        ModuleKind::Mtu(module) => map.add("mtu", mesh::mtu(module)),
        ModuleKind::Ztunnel(module) => map.add("ztunnel", mesh::ztunnel(module)),
    }
    map.0
}

fn phases(timeouts: &Timeouts) -> Option<Yaml> {
    let mut map = Map::default();
    for phase in Phase::ALL {
        map.maybe(phase.as_str(), timeouts.of(phase).map(duration));
    }
    (!map.0.is_empty()).then(|| map.done())
}

fn ip(preference: IpPreference) -> Yaml {
    word(&IP_PREFERENCES, &preference)
}

fn dns(module: &DnsModule) -> Yaml {
    let mut map = Map::default();
    map.maybe("name", module.name.as_ref().map(Yaml::text));
    let server = module.server.as_ref();
    map.maybe("server", server.map(|server| Yaml::text(server.to_string())));
    map.add("qtype", Yaml::text(module.qtype.as_str()));
    map.add("transport", word(&TRANSPORTS, &module.transport));
    map.add("retries", Yaml::value(module.retries));
    map.add("search", search(&module.search));
    map.add("rcodes", Yaml::texts(&module.rcodes));
    map.add("min_answers", Yaml::value(module.min_answers));
    if !module.addresses.is_empty() {
        map.add("addresses", Yaml::texts(&module.addresses));
    }
    map.done()
}

fn search(search: &Search) -> Yaml {
    match search {
        Search::Off => Yaml::text("off"),
        Search::ResolvConf => Yaml::text("resolv_conf"),
        Search::List { domains, ndots } => {
            let mut map = Map::default();
            map.add("domains", Yaml::texts(domains));
            map.add("ndots", Yaml::value(ndots));
            map.done()
        }
    }
}

fn tcp(module: &TcpModule) -> Yaml {
    let mut map = Map::default();
    map.maybe("send", module.send.as_deref().map(bytes));
    let regex = module.reply_regex.as_ref();
    map.maybe("reply_regex", regex.map(|regex| Yaml::text(regex.as_str())));
    map.add("ip", ip(module.ip));
    map.done()
}

fn bytes(bytes: &[u8]) -> Yaml {
    Yaml::text(String::from_utf8_lossy(bytes))
}

fn tls_module(module: &TlsModule) -> Yaml {
    let mut map = tls(&module.tls);
    map.add("ip", ip(module.ip));
    map.done()
}

fn tls(tls: &TlsSettings) -> Map {
    let mut map = Map::default();
    if let Roots::File(path) = &tls.roots {
        map.add("ca", Yaml::text(path.to_string_lossy()));
    }
    map.maybe("server_name", tls.server_name.as_ref().map(Yaml::text));
    match &tls.verify {
        Verify::Name => map.add("verify", Yaml::text("name")),
        Verify::Spiffe(id) => map.add("spiffe_id", Yaml::text(id)),
        Verify::Chain => map.add("verify", Yaml::text("chain")),
        Verify::Nothing => map.add("verify", Yaml::text("none")),
    }
    if let Some(OwnCertificate::Files(identity)) = &tls.identity {
        let certificate = identity.certificate.to_string_lossy();
        map.add("cert", Yaml::text(certificate));
        map.add("key", Yaml::text(identity.key.to_string_lossy()));
    }
    if !tls.alpn.is_empty() {
        map.add("alpn", Yaml::texts(&tls.alpn));
    }
    let version = |version| word(&TLS_VERSIONS, &version);
    map.maybe("min_version", tls.min_version.map(version));
    map.maybe("max_version", tls.max_version.map(version));
    map.maybe("min_remaining", tls.min_remaining.map(Yaml::value));
    map
}

fn http(module: &HttpModule) -> Yaml {
    let mut map = Map::default();
    request(&mut map, module);
    map.add("version", word(&HTTP_VERSIONS, &module.version));
    map.add("redirects", Yaml::value(module.redirects));
    map.add("decompress", Yaml::value(module.decompress));
    map.add("keepalive", Yaml::value(module.keepalive));
    map.add("tls", tls(&module.tls).done());
    map.add("ip", ip(module.ip));
    map.done()
}

/// What a request through a tunnel has as well.
fn request(map: &mut Map, module: &HttpModule) {
    map.add("method", Yaml::text(module.method.as_str()));
    if !module.headers.is_empty() {
        map.add("headers", headers(module));
    }
    map.maybe("body", module.body.as_deref().map(bytes));
    let regex = module.body_regex.as_ref();
    map.maybe("body_regex", regex.map(|regex| Yaml::text(regex.as_str())));
    map.add("body_limit", size(module.body_limit));
}

fn headers(module: &HttpModule) -> Yaml {
    let mut names: Vec<&HeaderName> = Vec::new();
    for (name, _) in &module.headers {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut map = Map::default();
    for name in names {
        let same = module.headers.iter().filter(|(other, _)| other == name);
        let mut values: Vec<_> = same
            .map(|(_, value)| match value.is_sensitive() {
                true => Yaml::text("<secret>"),
                false => bytes(value.as_bytes()),
            })
            .collect();
        let value = match values.len() {
            1 => values.remove(0),
            _ => Yaml::List(values),
        };
        map.add(&key(name.as_str()), value);
    }
    map.done()
}

fn hold(module: &HoldModule) -> Yaml {
    let mut map = Map::default();
    map.add("heartbeat", duration(module.heartbeat));
    map.add("hold", duration(module.hold));
    map.add("tls", tls(&module.tls).done());
    map.add("ip", ip(module.ip));
    map.done()
}
