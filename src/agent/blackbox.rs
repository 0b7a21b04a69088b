//! `/probe?target=&module=`: one attempt on request, told as blackbox_exporter tells it.
//!
//! Dashboards and alerts made for blackbox_exporter keep working; `probe_failure_info` adds the
//! phase and the reason that it has no word for.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Request, StatusCode};
use hyper::body::Incoming;
use url::form_urlencoded;

use crate::agent::admin::{Admin, Questions, Reply, exposition, text, whole};
use crate::expectation::{Expectation, Verdict};
use crate::failure::{Phase, Reason};
use crate::net::Resolver;
use crate::outcome::{Attempt, Subject};
use crate::probe::{Environment, Probe};
use crate::spec::{Ask, IpPreference, ProbeSpec};
use crate::target::{Host, ProbeKind, TargetName};

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
            let mut page = page(&attempt, lookup);
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
        bad(format!("unknown module `{}`; known: {}", query.module, known.join(", ")))
    })?;
    let mut spec = module
        .aim(&query.target)
        .map_err(|error| bad(format!("target `{}`: {error}", query.target)))?;
    if matches!(spec.ask, Ask::Http { .. }) && spec.expect == Expectation::Reply {
        // As blackbox_exporter has it: without stated statuses 2xx is good.
        spec.expect = Expectation::Status("2xx".parse().expect("a class"));
    }
    shorten(&mut spec, request).map_err(bad)?;
    let _place = admin.probes.try_acquire().map_err(|_| {
        let problem = "too many attempts under way: raise admin.max_probes";
        Refusal(StatusCode::TOO_MANY_REQUESTS, problem.to_owned())
    })?;
    let (environment, lookup) = admit(admin, &questions, &mut spec).await?;
    let probe = Probe::prepare(&spec, &environment)
        .map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let outcome = probe.attempt().await;
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

/// Checks that the attempt stays within `admin.probe_networks`.
///
/// A name is resolved here, once, and pinned: the attempt cannot be led elsewhere by a second
/// answer, nor by a redirect.
async fn admit(
    admin: &Admin,
    questions: &Questions,
    spec: &mut ProbeSpec,
) -> Result<(Environment, Option<Duration>), Refusal> {
    if admin.networks.is_empty() {
        return Ok((questions.environment.clone(), None));
    }
    let resolver = &questions.environment.resolver;
    let (host, ip) = destination(spec, resolver)?;
    if let Ask::Http { module, .. } = &mut spec.ask {
        module.redirects = 0;
    }
    let forbidden = |address: IpAddr| {
        let problem = format!("{address} is outside admin.probe_networks");
        Refusal(StatusCode::FORBIDDEN, problem)
    };
    let allowed = |address: &IpAddr| {
        // `::ffff:10.0.0.1` leads to 10.0.0.1.
        let address = address.to_canonical();
        admin.networks.iter().any(|network| network.contains(&address))
    };
    let name = match host {
        Host::Ip(address) if allowed(&address) => return Ok((questions.environment.clone(), None)),
        Host::Ip(address) => return Err(forbidden(address)),
        Host::Name(name) => name,
    };
    let began = tokio::time::Instant::now();
    let deadline = began + spec.timeouts.total;
    let found = tokio::time::timeout_at(deadline, resolver.resolve(&name, ip)).await;
    let unresolved =
        |problem: String| Refusal(StatusCode::BAD_GATEWAY, format!("{name}: {problem}"));
    let address = found
        .map_err(|_| unresolved("no answer in time".to_owned()))?
        .map_err(|fault| unresolved(fault.to_string()))?;
    if !allowed(&address) {
        return Err(forbidden(address));
    }
    let resolver = Arc::new(Resolver::pinned(&name, address));
    Ok((Environment { resolver }, Some(began.elapsed())))
}

/// Where the first packet of the attempt itself goes.
fn destination(spec: &ProbeSpec, resolver: &Resolver) -> Result<(Host, IpPreference), Refusal> {
    Ok(match &spec.ask {
        Ask::Dns { server: Some(server), .. } => (server.host.clone(), IpPreference::default()),
        Ask::Dns { server: None, .. } => {
            let server = resolver
                .nameserver()
                .map_err(|fault| Refusal(StatusCode::BAD_GATEWAY, fault.to_string()))?;
            (Host::Ip(server.ip()), IpPreference::default())
        }
        Ask::Tcp { module, endpoint } => (endpoint.host.clone(), module.ip),
        Ask::Tls { module, endpoint } => (endpoint.host.clone(), module.ip),
        Ask::Http { module, url } => (url.endpoint().host, module.ip),
        Ask::Hold { module, url } => (url.endpoint().host, module.ip),
    })
}

/// Lines of the text format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(String::new(), value)]);
    }

    fn gauges(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (String, f64)>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in rows {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

fn page(attempt: &Attempt, lookup: Option<Duration>) -> String {
    let mut page = Page::default();
    let met = attempt.verdict == Verdict::Met;
    page.gauge("probe_success", "Whether the expectation was met", f64::from(u8::from(met)));
    let took = attempt.duration + lookup.unwrap_or_default();
    page.gauge("probe_duration_seconds", "How long the attempt took", took.as_secs_f64());
    if let Some(failure) = &attempt.failure {
        let labels = format!("{{phase=\"{}\",reason=\"{}\"}}", failure.phase, failure.reason);
        page.gauges("probe_failure_info", "What kept the attempt from success", [(labels, 1.0)]);
    }
    let resolve = lookup.or(attempt.phases.of(Phase::Resolve)).unwrap_or_default();
    let help = "How long the target's own name took to resolve";
    page.gauge("probe_dns_lookup_time_seconds", help, resolve.as_secs_f64());
    if let Some(address) = attempt.facts.remote_address {
        let version = if address.is_ipv4() { 4.0 } else { 6.0 };
        page.gauge("probe_ip_protocol", "Whether IPv4 or IPv6 was used", version);
    }
    match attempt.probe {
        ProbeKind::Http | ProbeKind::Hold => http(&mut page, attempt),
        ProbeKind::Dns => dns(&mut page, attempt),
        ProbeKind::Tcp | ProbeKind::Tls => {}
    }
    tls(&mut page, attempt);
    page.0
}

fn phases(attempt: &Attempt) -> impl Iterator<Item = (String, f64)> + '_ {
    let labelled = |(phase, duration): (Phase, Duration)| {
        (format!("{{phase=\"{phase}\"}}"), duration.as_secs_f64())
    };
    attempt.phases.iter().map(labelled)
}

fn http(page: &mut Page, attempt: &Attempt) {
    let help = "How long each phase of the request took, redirects added up";
    page.gauges("probe_http_duration_seconds", help, phases(attempt));
    let ssl = f64::from(u8::from(attempt.facts.tls.is_some()));
    page.gauge("probe_http_ssl", "Whether TLS was used", ssl);
    let mismatch = attempt.failure.as_ref().is_some_and(|f| f.reason == Reason::BodyMismatch);
    let help = "Whether the body did not match";
    page.gauge("probe_failed_due_to_regex", help, f64::from(u8::from(mismatch)));
    let Some(http) = &attempt.facts.http else {
        page.gauge("probe_http_status_code", "Status of the last response", 0.0);
        return;
    };
    page.gauge("probe_http_status_code", "Status of the last response", http.status.into());
    let version: f64 = http.version.trim_start_matches("HTTP/").parse().unwrap_or_default();
    page.gauge("probe_http_version", "HTTP version of the last response", version);
    page.gauge("probe_http_redirects", "Redirects followed", http.redirects.into());
    let length = http.content_length.map_or(-1.0, |length| length as f64);
    page.gauge("probe_http_content_length", "Content-Length, or -1", length);
    let body = http.decompressed_bytes.unwrap_or(http.body_bytes);
    let help = "Length of the body after decompression";
    page.gauge("probe_http_uncompressed_body_length", help, body as f64);
}

fn dns(page: &mut Page, attempt: &Attempt) {
    let help = "How long each phase of the query took";
    page.gauges("probe_dns_duration_seconds", help, phases(attempt));
    let answered = attempt.facts.dns.as_ref().filter(|dns| dns.rcode.is_some());
    let help = "Whether a reply came, of whatever RCODE";
    page.gauge("probe_dns_query_succeeded", help, f64::from(u8::from(answered.is_some())));
    if let Some([answers, authorities, additionals]) = answered.and_then(|dns| dns.sections) {
        page.gauge("probe_dns_answer_rrs", "Records in the answer section", answers.into());
        let help = "Records in the authority section";
        page.gauge("probe_dns_authority_rrs", help, authorities.into());
        let help = "Records in the additional section";
        page.gauge("probe_dns_additional_rrs", help, additionals.into());
    }
}

fn tls(page: &mut Page, attempt: &Attempt) {
    let Some(tls) = &attempt.facts.tls else { return };
    if let Some(earliest) = tls.not_after {
        let help = "Earliest notAfter of the chain";
        page.gauge("probe_ssl_earliest_cert_expiry", help, unix(earliest));
    }
    if let Some(leaf) = tls.chain.first() {
        let help = "notAfter of the leaf";
        page.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", help, unix(leaf.not_after));
    }
    if let Some(version) = tls.version {
        let version = version.replace("TLSv", "TLS ");
        let labels = format!("{{version=\"{version}\"}}");
        page.gauges("probe_tls_version_info", "The TLS version", [(labels, 1.0)]);
    }
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
