//! What is probed continuously: targets, and the defaults they share.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::config::decode::{Field, Fields, listed};
use crate::config::mesh::Given;
use crate::config::module::{
    KINDS, Question, TIMEOUT, expectation, kind_block, question, timeouts, unasked,
};
use crate::config::quantity::print_duration;
use crate::config::server::{label, set, whole};
use crate::expectation::Expectation;
use crate::schedule::Cadence;
use crate::spec::{Ask, HttpUrl, Module, ModuleKind, TargetSpec};
use crate::target::{Endpoint, Host, TargetName, Via};

/// The most targets that one configuration may have.
pub const MAX_TARGETS: usize = 10_000;

/// How often istiod is asked when nothing is stated: its own clients ping it no faster.
const ISTIOD_INTERVAL: Duration = Duration::from_secs(15);
/// More often than this no xDS stream is opened on it.
const SHORTEST_XDS: Duration = Duration::from_secs(5);

/// The most attempts of one target that may be under way at once.
const MOST_IN_FLIGHT: u32 = 1000;

pub(super) const VIAS: [(&str, Via); 4] = [
    ("pod_ip", Via::PodIp),
    ("cluster_ip", Via::ClusterIp),
    ("hbone", Via::Hbone),
    ("external", Via::External),
];

/// What targets and modules take when they do not state it; `None` where it was wrong.
#[derive(Debug)]
pub(super) struct Defaults {
    /// Time between slots.
    pub(super) interval: Option<Duration>,
    /// Of a whole attempt.
    pub(super) timeout: Option<Duration>,
    jitter: f64,
    max_in_flight: u32,
}

/// `defaults`.
pub(super) fn defaults(field: Option<&Field<'_>>) -> Defaults {
    let mut defaults = Defaults {
        interval: Some(Duration::from_secs(5)),
        timeout: Some(Duration::from_secs(2)),
        jitter: 0.1,
        max_in_flight: 4,
    };
    let Some(mut fields) = field.map(Field::fields) else {
        return defaults;
    };
    let interval = fields.take("interval");
    set(&mut defaults.interval, interval.map(|f| f.duration(intervals())));
    let timeout = fields.take("timeout");
    set(&mut defaults.timeout, timeout.map(|f| f.duration(TIMEOUT)));
    let jitter = fields.take("jitter");
    set(&mut defaults.jitter, jitter.and_then(|f| f.real(0.0..=0.5)));
    let in_flight = whole(&mut fields, "max_in_flight", MOST_IN_FLIGHT);
    set(&mut defaults.max_in_flight, in_flight);
    fields.finish();
    defaults
}

fn intervals() -> std::ops::RangeInclusive<Duration> {
    Cadence::MIN_INTERVAL..=Cadence::MAX_INTERVAL
}

/// A decoded target.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The target; `None` when it cannot even be stood in for.
    pub(super) spec: Option<TargetSpec>,
    /// The path that field names such as `tls.ca` are relative to.
    pub(super) block: String,
    name: Option<TargetName>,
    /// What is expected, when that is known.
    expect: Option<Expectation>,
}

/// Modules by name: `None` when not even their kind is known.
pub(super) type Questions = BTreeMap<String, Option<Question>>;

/// `targets`. Without `modules` (they were no map) references to them are not checked.
pub(super) fn targets(
    field: &Field<'_>,
    defaults: &Defaults,
    given: &Given,
    modules: Option<&Questions>,
) -> Vec<Decoded> {
    let items = field.items();
    if items.len() > MAX_TARGETS {
        let problem = format!("has {} targets", items.len());
        field.unvalued(problem, format!("write at most {MAX_TARGETS}"));
        return Vec::new();
    }
    let mut controls = Vec::with_capacity(items.len());
    let mut decoded: Vec<Decoded> = Vec::with_capacity(items.len());
    let mut seen: HashMap<TargetName, usize> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let (target, names) = target(item, defaults, given, modules);
        if let (Some(name), Some(field)) = (&target.name, &names.name) {
            match seen.get(name) {
                Some(first) => field.wrong(
                    format!("is the name of targets[{first}] already"),
                    "give each target a name of its own",
                ),
                None => {
                    seen.insert(name.clone(), index);
                }
            }
        }
        controls.push(names.control);
        decoded.push(target);
    }
    for (index, control) in controls.into_iter().enumerate() {
        let name = control.and_then(|field| check_control(&field, index, &decoded, &seen));
        if let Some(spec) = &mut decoded[index].spec {
            spec.control = name;
        }
    }
    decoded
}

/// The fields that can only be checked when all targets are known.
struct Names<'a> {
    name: Option<Field<'a>>,
    control: Option<Field<'a>>,
}

fn target<'a>(
    field: &Field<'a>,
    defaults: &Defaults,
    given: &Given,
    modules: Option<&Questions>,
) -> (Decoded, Names<'a>) {
    let mut fields = field.fields();
    let name_field = fields.require("name", "write a name that is unique among the targets");
    let name = name_field.as_ref().and_then(|f| f.parse("a target name"));
    let address = fields.require("address", "write host:port, a URL, or for dns a name");
    let address = address.and_then(|field| Some((field.filled()?, field)));
    let question = asked(&mut fields, given, modules);
    let probe = question.as_ref().zip(address);
    let probe = probe.and_then(|(question, (address, field))| {
        // User information of a URL is refused, and not shown.
        let secret = address.contains('@');
        let field = if secret { field.hidden() } else { field };
        let what = format!("an address for {}", question.kind());
        field.accept(question.module.aim(address), &what)
    });
    let max_in_flight = whole(&mut fields, "max_in_flight", MOST_IN_FLIGHT);
    let max_in_flight = max_in_flight.unwrap_or(defaults.max_in_flight);
    let cadence = cadence(&mut fields, defaults, question.as_ref(), max_in_flight);
    let via = fields.take("via").and_then(|f| f.word(&VIAS));
    let subject = fields.take("subject").and_then(|f| f.parse("a subject"));
    let destination_node = fields.take("destination_node").and_then(|f| label(&f));
    let names = Names { name: name_field, control: fields.take("control") };
    fields.finish();
    let spec = name.clone().zip(probe).map(|(name, probe)| TargetSpec {
        name,
        probe,
        cadence,
        max_in_flight,
        via,
        subject,
        destination_node,
        control: None,
    });
    let expect = question.as_ref().filter(|q| q.sound);
    let decoded = Decoded {
        spec,
        name,
        expect: expect.map(|question| question.module.expect.clone()),
        block: question.map(|question| question.block).unwrap_or_default(),
    };
    (decoded, names)
}

/// What the target asks: a block of its own, or a module with what it overrides.
fn asked(fields: &mut Fields<'_>, given: &Given, modules: Option<&Questions>) -> Option<Question> {
    let block = kind_block(fields, given);
    let module = fields.take("module");
    if let Some(block) = block {
        if let Some(module) = module {
            let problem = format!("stands beside {}", block.0);
            module.wrong(problem, "leave one of the two out");
        }
        return Some(question(fields, block, given));
    }
    if module.is_none() {
        let keys: Vec<&str> = ["module"].into_iter().chain(KINDS).collect();
        fields.one_of_is_missing(&keys, "name a module, or write one of the blocks");
    }
    let base = module.and_then(|field| find(&field, modules));
    let before = fields.parent().mistakes();
    let Some(base) = base else {
        unasked(fields);
        return None;
    };
    let inherited = base.module.timeouts;
    let total = base.sound.then_some(inherited.total);
    let timeouts = timeouts(fields, total, inherited.phases, Some(base.kind()));
    let expect = expectation(fields, &base.module.kind);
    Some(Question {
        module: Module {
            kind: base.module.kind.clone(),
            timeouts,
            expect: expect.unwrap_or_else(|| base.module.expect.clone()),
        },
        sound: base.sound && fields.parent().mistakes() == before,
        block: base.block.clone(),
    })
}

fn find<'q>(field: &Field<'_>, modules: Option<&'q Questions>) -> Option<&'q Question> {
    let (name, modules) = (field.filled()?, modules?);
    if let Some(question) = modules.get(name) {
        return question.as_ref();
    }
    let names = || modules.keys().map(String::as_str);
    let fix = match field.guess(name, names()) {
        Some(near) => format!("did you mean {near}?"),
        None if modules.is_empty() => "define it under `modules`".to_owned(),
        None => {
            let mut known: Vec<String> = names().take(8).map(str::to_owned).collect();
            if modules.len() > known.len() {
                known.push("others".to_owned());
            }
            format!("define it under `modules`, where there are {}", listed(known, "and"))
        }
    };
    field.wrong("is not a module", fix);
    None
}

fn cadence(
    fields: &mut Fields<'_>,
    defaults: &Defaults,
    question: Option<&Question>,
    max_in_flight: u32,
) -> Cadence {
    let (mut hold, mut istiod) = (None, None);
    match question.map(|question| &question.module.kind) {
        Some(ModuleKind::Hold(module)) => hold = Some(module.hold),
        Some(ModuleKind::Istiod(module)) => istiod = Some(module),
        Some(_) | None => {}
    }
    let least = hold.unwrap_or_default().max(istiod.map_or(Duration::ZERO, |_| ISTIOD_INTERVAL));
    let stated = fields.take("interval");
    let interval = match &stated {
        Some(field) => field.duration(intervals()),
        // Connections are held one after the other unless stated otherwise.
        None => defaults.interval.map(|interval| interval.max(least)),
    };
    if let (Some(field), Some(interval)) = (&stated, interval)
        && istiod.is_some_and(|module| module.xds)
        && interval < SHORTEST_XDS
    {
        let fix = format!("write at least {}, or `xds: false`", print_duration(SHORTEST_XDS));
        field.wrong("opens xDS streams on istiod too often", fix);
    }
    if let (Some(field), Some(interval), Some(hold)) = (&stated, interval, hold)
        && interval.saturating_mul(max_in_flight) < hold
    {
        let needed = hold.as_nanos().div_ceil(interval.as_nanos());
        field.wrong(
            format!("would need {needed} connections at once, max_in_flight is {max_in_flight}"),
            "write a longer interval, a shorter `hold` or a higher `max_in_flight`",
        );
    }
    let jitter = fields.take("jitter").and_then(|f| f.real(0.0..=0.5));
    Cadence::new(interval.unwrap_or(Cadence::MAX_INTERVAL), jitter.unwrap_or(defaults.jitter))
        .expect("both are in the range that Cadence demands")
}

fn check_control(
    field: &Field<'_>,
    index: usize,
    decoded: &[Decoded],
    seen: &HashMap<TargetName, usize>,
) -> Option<TargetName> {
    let name: TargetName = field.parse("a target name")?;
    let target = &decoded[index];
    let Some(control) = seen.get(&name).map(|index| &decoded[*index]) else {
        let names = decoded.iter().filter_map(|d| d.name.as_ref());
        let near = field.guess(name.as_str(), names.map(TargetName::as_str));
        let guess = near.map(|near| format!("did you mean {near}?"));
        let fix = guess.unwrap_or_else(|| "name another target of this file".to_owned());
        field.wrong("is not a target", fix);
        return None;
    };
    if target.name.as_ref() == Some(&name) {
        field.wrong("is the target itself", "name another target, to the same address");
    } else if control.expect == Some(Expectation::Denied) {
        field.wrong("expects to be denied itself", "name a target that must be answered");
    } else if target.expect.as_ref().is_some_and(|e| *e != Expectation::Denied) {
        field.wrong(
            "controls nothing, because no denial is expected here",
            "leave it out, or write `expect: denied`",
        );
    } else if let (Some(denied), Some(control)) = (&target.spec, &control.spec) {
        same_place(field, &denied.probe.ask, &control.probe.ask);
    }
    Some(name)
}

/// A reply from elsewhere says nothing of who was denied here.
fn same_place(field: &Field<'_>, denied: &Ask, control: &Ask) {
    let Some(asked) = place(denied) else {
        return;
    };
    match place(control) {
        Some(answered) if answered == asked => {}
        Some(answered) => field.wrong(
            format!("leads to {answered}, and this target to {asked}"),
            "name a target to the same host and port, or give both the same",
        ),
        None => field.wrong(
            "asks no host and port of its own",
            format!("name a target that leads to {asked}"),
        ),
    }
}

/// Whose word a reply to `ask` is; of a request through a tunnel, who is at its far end.
///
/// Names are compared as text: nothing is resolved here.
fn place(ask: &Ask) -> Option<Endpoint> {
    let endpoint = match ask {
        Ask::Dns { server, .. } => server.clone()?,
        Ask::Tcp { endpoint, .. } | Ask::Tls { endpoint, .. } | Ask::Istiod { endpoint, .. } => {
            endpoint.clone()
        }
        Ask::Http { url, .. } | Ask::Hold { url, .. } | Ask::Mtu { url, .. } => url.endpoint(),
        Ask::Hbone { peer, url, .. } => url.as_ref().map_or(peer.clone(), HttpUrl::endpoint),
        Ask::Capture { .. } | Ask::Ztunnel { .. } => return None,
    };
    let host = match endpoint.host {
        Host::Name(name) => Host::Name(name.trim_end_matches('.').to_ascii_lowercase()),
        Host::Ip(ip) => Host::Ip(ip.to_canonical()),
    };
    Some(Endpoint { host, ..endpoint })
}
