//! `/probe?target=&module=`: one attempt on request, told as blackbox_exporter tells it.

mod page;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use url::form_urlencoded;

use crate::agent::admin::{Admin, Questions, Reply, exposition, text, whole};
use crate::attempt::{Attempt, Subject};
use crate::expectation::Expectation;
use crate::failure::{Fault, Phase, Reason};
use crate::net::Resolver;
use crate::outcome::{Facts, Outcome, Phases};
use crate::probe::{Environment, Probe};
use crate::spec::{Ask, IpPreference, ProbeSpec};
use crate::target::{Host, TargetName};

/// Prometheus waits this much longer than an attempt may take, for the way back.
const SCRAPE_OFFSET: f64 = 0.5;
/// An attempt is not made shorter than this by a scrape timeout.
const SHORTEST: f64 = 0.1;
/// Nor is a longer scrape timeout than this believed.
const LONGEST: f64 = 86_400.0;

/// A request that is answered without an attempt.
struct Refusal(StatusCode, String);

pub(super) async fn answer(admin: &Admin, request: &Request<Incoming>) -> Reply {
    match attempt(admin, request).await {
        Ok((attempt, lookup, debug)) => {
            let mut page = page::page(&attempt, lookup);
            if debug {
                // Comments: a scraper passes over them.
                let json = serde_json::to_string_pretty(&attempt).unwrap_or_default();
                json.lines().for_each(|line| page.push_str(&format!("# {line}\n")));
            }
            exposition(whole(page))
        }
        Err(Refusal(status, problem)) => text(status, format!("{problem}\n")),
    }
}

async fn attempt(
    admin: &Admin,
    request: &Request<Incoming>,
) -> Result<(Attempt, Option<Duration>, bool), Refusal> {
    let bad = |problem: String| Refusal(StatusCode::BAD_REQUEST, problem);
    let query = Query::read(request.uri().query().unwrap_or_default()).map_err(bad)?;
    let questions = admin.questions();
    let module = questions.modules.get(&query.module).ok_or_else(|| {
        let known: Vec<&str> = questions.modules.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        bad(format!("unknown module `{}`; known: {known}", query.module))
    })?;
    let mut spec = module
        .aim(&query.target)
        .map_err(|error| bad(format!("target `{}`: {error}", query.target)))?;
    if matches!(spec.ask, Ask::Http { .. }) && spec.expect == Expectation::Reply {
        // As blackbox_exporter has it: without stated statuses 2xx is good.
        spec.expect = Expectation::Status("2xx".parse().expect("a class"));
    }
    if let Ask::Istiod { module, .. } = &mut spec.ask {
        // How seldom is kept from attempt to attempt, and here each is the first.
        module.csr = None;
    }
    shorten(&mut spec, request).map_err(bad)?;
    let _place = admin.probes.try_acquire().map_err(|_| {
        let problem = "too many attempts under way: raise admin.max_probes";
        Refusal(StatusCode::TOO_MANY_REQUESTS, problem.to_owned())
    })?;
    let (outcome, lookup) = match admit(admin, &questions, &mut spec).await? {
        Admission::To(environment, lookup) => {
            let probe = Probe::prepare(&spec, &environment)
                .map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            (probe.attempt().await, lookup)
        }
        Admission::Nowhere(outcome) => (*outcome, None),
    };
    let name: TargetName = "probe".parse().expect("a valid name");
    let subject = Subject {
        probe: spec.kind(),
        target: &name,
        vantage: None,
        via: None,
        expect: &spec.expect,
    };
    Ok((Attempt::judged(subject, outcome, None, Duration::ZERO), lookup, query.debug))
}

struct Query {
    target: String,
    module: String,
    debug: bool,
}

impl Query {
    fn read(text: &str) -> Result<Self, String> {
        let (mut target, mut module, mut debug) = (None, None, false);
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let slot = match name.as_ref() {
                "target" => &mut target,
                "module" => &mut module,
                "debug" => {
                    debug = value == "true";
                    continue;
                }
                other => {
                    return Err(format!(
                        "unknown parameter `{other}`; known: target, module, debug"
                    ));
                }
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(format!("`{name}` is given twice"));
            }
        }
        let present = |value: Option<String>, name| {
            value.filter(|value| !value.is_empty()).ok_or(format!("parameter `{name}` is missing"))
        };
        Ok(Self { target: present(target, "target")?, module: present(module, "module")?, debug })
    }
}

/// The scrape's own timeout shortens the attempt: an answer after it would reach nobody.
fn shorten(spec: &mut ProbeSpec, request: &Request<Incoming>) -> Result<(), String> {
    const HEADER: &str = "x-prometheus-scrape-timeout-seconds";
    let Some(value) = request.headers().get(HEADER) else { return Ok(()) };
    let seconds: Option<f64> = value.to_str().ok().and_then(|value| value.parse().ok());
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    let seconds = seconds.ok_or_else(|| format!("{HEADER} must be a number of seconds above 0"))?;
    let mut bound = Duration::from_secs_f64((seconds - SCRAPE_OFFSET).clamp(SHORTEST, LONGEST));
    if let Ask::Hold { module, .. } = &mut spec.ask {
        // Its timeout is about everything but the holding: both have to fit.
        bound /= 2;
        module.hold = module.hold.min(bound);
    }
    spec.timeouts.total = spec.timeouts.total.min(bound);
    Ok(())
}

/// Where an attempt may go.
enum Admission {
    /// To what this environment knows, found out in this time.
    To(Environment, Option<Duration>),
    /// Its name has no address, and that is the outcome.
    Nowhere(Box<Outcome>),
}

/// Checks that the attempt stays within `admin.probe_networks`.
///
/// A name is resolved here, once, and pinned: the attempt cannot be led elsewhere by a second
/// answer, nor by a redirect. The time that took is part of the attempt's own.
async fn admit(
    admin: &Admin,
    questions: &Questions,
    spec: &mut ProbeSpec,
) -> Result<Admission, Refusal> {
    let environment = &questions.environment;
    // Where capture is looked for is the module's to say: a request only names a service.
    if admin.networks.is_empty() || matches!(spec.ask, Ask::Capture { .. }) {
        return Ok(Admission::To(environment.clone(), None));
    }
    if let Ask::Http { module, .. } = &mut spec.ask {
        module.redirects = 0;
    }
    let (started_at, began) = (SystemTime::now(), tokio::time::Instant::now());
    let nowhere = |fault| Ok(Admission::Nowhere(Box::new(unresolved(started_at, began, fault))));
    let (host, ip) = match destination(spec, &environment.resolver) {
        Ok(destination) => destination,
        Err(fault) => return nowhere(fault),
    };
    let forbidden = |address: IpAddr| {
        let problem = format!("{address} is outside admin.probe_networks");
        Refusal(StatusCode::FORBIDDEN, problem)
    };
    let allowed = |address: &IpAddr| {
        // `::ffff:10.0.0.1` leads to 10.0.0.1.
        let address = address.to_canonical();
        admin.networks.iter().any(|network| network.contains(&address))
    };
    if let Ask::Hbone { url: Some(url), .. } = &spec.ask
        && let Host::Ip(end) = url.endpoint().host
        && !allowed(&end)
    {
        // A waypoint leads on to where CONNECT names.
        return Err(forbidden(end));
    }
    let name = match host {
        Host::Ip(address) if allowed(&address) => {
            return Ok(Admission::To(environment.clone(), None));
        }
        Host::Ip(address) => return Err(forbidden(address)),
        Host::Name(name) => name,
    };
    let total = spec.timeouts.total;
    let bound = spec.timeouts.of(Phase::Resolve).map_or(total, |resolve| resolve.min(total));
    let deadline = began + bound;
    let found = tokio::time::timeout_at(deadline, environment.resolver.resolve(&name, ip)).await;
    let late = |_| Err(Fault::new(Reason::Timeout, format!("nothing within {bound:.1?}")));
    let address = match found.unwrap_or_else(late) {
        Ok(address) => address,
        Err(fault) => return nowhere(fault),
    };
    if !allowed(&address) {
        return Err(forbidden(address));
    }
    let resolver = Arc::new(Resolver::pinned(&name, address));
    let lookup = began.elapsed();
    spec.timeouts.total = total.saturating_sub(lookup);
    Ok(Admission::To(Environment { resolver, ..environment.clone() }, Some(lookup)))
}

/// The outcome of an attempt that got no further than its name.
fn unresolved(started_at: SystemTime, began: tokio::time::Instant, fault: Fault) -> Outcome {
    let duration = began.elapsed();
    let mut phases = Phases::default();
    phases.add(Phase::Resolve, duration);
    Outcome {
        started_at,
        duration,
        phases,
        failure: Some(fault.during(Phase::Resolve)),
        reply_bytes: 0,
        facts: Facts::default(),
    }
}

/// Where the first packet of the attempt itself goes.
fn destination(spec: &ProbeSpec, resolver: &Resolver) -> Result<(Host, IpPreference), Fault> {
    Ok(match &spec.ask {
        Ask::Dns { server: Some(server), .. } => (server.host.clone(), IpPreference::default()),
        Ask::Dns { server: None, .. } => {
            (Host::Ip(resolver.nameserver()?.ip()), IpPreference::default())
        }
        Ask::Tcp { module, endpoint } => (endpoint.host.clone(), module.ip),
        Ask::Tls { module, endpoint } => (endpoint.host.clone(), module.ip),
        Ask::Http { module, url } => (url.endpoint().host, module.ip),
        Ask::Hold { module, url } => (url.endpoint().host, module.ip),
        Ask::Hbone { module, peer, .. } => (peer.host.clone(), module.ip),
        Ask::Istiod { module, endpoint } => (endpoint.host.clone(), module.ip),
        Ask::Capture { module, .. } => (module.dns_server.host.clone(), IpPreference::default()),
        Ask::Mtu { module, url } => (url.endpoint().host, module.ip),
        Ask::Ztunnel { module, host } => (host.clone(), module.ip),
    })
}
