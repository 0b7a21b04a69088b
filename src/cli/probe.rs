//! `meshprobe probe`: one attempt from here, or a counted row of them.

mod mesh;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::attempt::{Attempt, Subject};
use crate::cli::flags::{
    CommonFlags, DnsFlags, HoldFlags, HttpFlags, IpFlags, Output, ProbeCommand, TcpFlags, TlsFlags,
    TrustFlags,
};
use crate::cli::{Exit, World, mesh as joining, render};
use crate::config::MeshConfig;
use crate::expectation::{Expectation, Verdict};
use crate::failure::{Fault, Reason};
use crate::net::Resolver;
use crate::outcome::Outcome;
use crate::probe::{Environment, Probe};
use crate::spec::{
    ClientIdentity, DnsModule, HoldModule, HttpModule, IpFamily, IpPreference, Module, ModuleKind,
    OwnCertificate, ProbeSpec, Roots, Search, TcpModule, Timeouts, TlsModule, TlsSettings, Verify,
};
use crate::target::TargetName;

/// A command that cannot be carried out as written.
struct Misuse(String);

/// What was asked for, resolved from the flags.
struct Request {
    address: String,
    module: Module,
    common: CommonFlags,
    /// Where a certificate of our own would come from.
    mesh: Option<MeshConfig>,
    /// What is not as one might think, told before the attempts.
    note: Option<String>,
}

pub(crate) async fn run(
    command: ProbeCommand,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let (request, spec, environment, probe) = match resolve(command, world) {
        Ok(resolved) => resolved,
        Err(Misuse(problem)) => {
            let problem = render::inert(&problem);
            writeln!(err, "error: {problem}\n\nFor more information, try '--help'.")?;
            return Ok(Exit::Usage);
        }
    };
    let need = joining::Need::of([&spec]);
    let joined = joining::join(need, request.mesh.as_ref(), &environment).await;
    for told in request.note.iter().chain(joined.err().iter()) {
        writeln!(err, "note: {}", render::inert(told))?;
    }
    attempts(&request, &probe, &spec, out).await
}

fn resolve(
    mut command: ProbeCommand,
    world: &World,
) -> Result<(Request, ProbeSpec, Environment, Probe), Misuse> {
    take_vantage(command.common(), world)?;
    let request = match command {
        ProbeCommand::Dns(flags) => dns(flags)?,
        ProbeCommand::Tcp(flags) => tcp(flags)?,
        ProbeCommand::Tls(flags) => tls(flags)?,
        ProbeCommand::Http(flags) => http(flags)?,
        ProbeCommand::Hold(flags) => hold(flags)?,
        ProbeCommand::Hbone(flags) => mesh::hbone(flags, world)?,
        ProbeCommand::Istiod(flags) => mesh::istiod(flags, world)?,
        ProbeCommand::Capture(flags) => mesh::capture(flags)?,
        ProbeCommand::Mtu(flags) => mesh::mtu(flags)?,
        ProbeCommand::Ztunnel(flags) => mesh::ztunnel(flags)?,
    };
    let spec = request
        .module
        .aim(&request.address)
        .map_err(|error| Misuse(format!("`{}`: {error}", request.address)))?;
    let resolver =
        Resolver::load(&request.common.resolv_conf, Path::new("/etc/hosts")).map_err(|error| {
            let path = request.common.resolv_conf.display();
            Misuse(format!("--resolv-conf {path}: {error}; name a file like /etc/resolv.conf"))
        })?;
    let environment = Environment { resolver: Arc::new(resolver), ..Environment::default() };
    let probe = Probe::prepare(&spec, &environment)
        .map_err(|error| Misuse(format!("{}: {error}", flag(error.field))))?;
    Ok((request, spec, environment, probe))
}

/// The side of the mesh, of the environment unless a flag says it.
fn take_vantage(common: &mut CommonFlags, world: &World) -> Result<(), Misuse> {
    let given = world.environment.get("MESHPROBE_VANTAGE").filter(|text| !text.is_empty());
    if let (None, Some(text)) = (common.vantage, given) {
        let vantage = text.parse().map_err(|error| {
            Misuse(format!("MESHPROBE_VANTAGE=`{text}` in the environment: {error}"))
        })?;
        common.vantage = Some(vantage);
    }
    Ok(())
}

/// The flag that a module's field is given by.
fn flag(field: &'static str) -> &'static str {
    match field {
        "tls.ca" => "--ca",
        "tls.cert" => "--cert",
        "tls.key" => "--key",
        field => field,
    }
}

async fn attempts(
    request: &Request,
    probe: &Probe,
    spec: &ProbeSpec,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let common = &request.common;
    let mut verdicts = Vec::new();
    // One for the whole row: in the pauses, too, Ctrl-C ends it.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let began = Instant::now();
    for n in 0..common.count {
        let slot = began + common.interval * n;
        if n > 0 {
            tokio::select! {
                () = tokio::time::sleep_until(slot) => {}
                _ = interrupt.recv() => break,
            }
        }
        let lag = if n == 0 { Duration::ZERO } else { slot.elapsed() };
        let (outcome, interrupted) = interruptible(probe, &mut interrupt).await;
        let attempt = judged(request, spec, outcome, lag);
        match common.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string(&attempt)?)?,
            Output::Text if common.count == 1 => render::attempt(&attempt, out)?,
            Output::Text => render::line(&attempt, out)?,
        }
        verdicts.push(attempt.verdict);
        if interrupted {
            break;
        }
    }
    if common.count > 1 && common.output == Output::Text {
        render::tally(&verdicts, out)?;
    }
    Ok(exit(&verdicts))
}

/// The worst verdict decides: violated, then inconclusive, then met.
pub(crate) fn exit(verdicts: &[Verdict]) -> Exit {
    if verdicts.contains(&Verdict::Violated) {
        Exit::Violated
    } else if verdicts.contains(&Verdict::Inconclusive) {
        Exit::Inconclusive
    } else {
        Exit::Met
    }
}

/// Executes `probe` until it ends or Ctrl-C comes.
async fn interruptible(probe: &Probe, interrupt: &mut Signal) -> (Outcome, bool) {
    let (started_at, started) = (SystemTime::now(), Instant::now());
    tokio::select! {
        outcome = probe.attempt() => (outcome, false),
        _ = interrupt.recv() => {
            let fault = Fault::new(Reason::Cancelled, "interrupted");
            (Outcome::spoiled(started_at, started.elapsed(), fault), true)
        }
    }
}

fn judged(request: &Request, spec: &ProbeSpec, outcome: Outcome, lag: Duration) -> Attempt {
    let subject = Subject {
        probe: spec.kind(),
        target: &label(&request.address),
        vantage: request.common.vantage,
        via: None,
        expect: &spec.expect,
    };
    Attempt::judged(subject, outcome, None, lag)
}

/// The address as a target name, cut to its length, other characters replaced by `_`.
fn label(address: &str) -> TargetName {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "._:/-".contains(c) { c } else { '_' };
    let text: String = address.chars().map(fit).take(128).collect();
    text.parse().expect("made of allowed characters, and an aimed address is not empty")
}

fn request(
    address: String,
    kind: ModuleKind,
    default: Expectation,
    common: CommonFlags,
) -> Result<Request, Misuse> {
    let expect = common.expect.clone().unwrap_or(default);
    let fits = match (&expect, &kind) {
        (Expectation::Reply, _) => true,
        (Expectation::Status(_), ModuleKind::Http(_)) => true,
        (Expectation::Status(_) | Expectation::Denied, ModuleKind::Hbone(module)) => {
            module.credentialed
        }
        (Expectation::Connect, ModuleKind::Tcp(_)) => true,
        (Expectation::Denied, ModuleKind::Tcp(_) | ModuleKind::Tls(_) | ModuleKind::Http(_)) => {
            true
        }
        (Expectation::Status(_) | Expectation::Connect | Expectation::Denied, _) => false,
    };
    if !fits {
        return Err(Misuse(format!(
            "--expect `{expect}` does not fit this probe: `status` is for http and hbone, `connect` \
             for tcp, `denied` for tcp, tls, http and hbone"
        )));
    }
    let timeouts = Timeouts::total(common.timeout);
    let module = Module { kind, timeouts, expect };
    Ok(Request { address, module, common, mesh: None, note: None })
}

fn dns(flags: DnsFlags) -> Result<Request, Misuse> {
    let module = DnsModule {
        name: None,
        server: flags.server,
        qtype: flags.qtype,
        transport: flags.transport,
        retries: flags.retries,
        search: if flags.search { Search::ResolvConf } else { Search::Off },
        rcodes: flags.rcode,
        min_answers: flags.min_answers,
        addresses: flags.address,
    };
    request(flags.name, ModuleKind::Dns(module), Expectation::Reply, flags.common)
}

fn tcp(flags: TcpFlags) -> Result<Request, Misuse> {
    let module = TcpModule {
        send: flags.send.map(|escaped| escaped.0),
        reply_regex: flags.reply_regex,
        ip: ip(&flags.ip),
    };
    request(flags.target, ModuleKind::Tcp(module), Expectation::Reply, flags.common)
}

fn tls(flags: TlsFlags) -> Result<Request, Misuse> {
    let module = TlsModule { tls: trust(flags.trust), ip: ip(&flags.ip) };
    request(flags.target, ModuleKind::Tls(module), Expectation::Reply, flags.common)
}

fn http(flags: HttpFlags) -> Result<Request, Misuse> {
    let module = HttpModule {
        method: flags.method,
        headers: flags.header,
        body: flags.data.map(String::into_bytes),
        version: flags.http_version,
        body_regex: flags.body_regex,
        body_limit: flags.body_limit,
        redirects: flags.redirects,
        decompress: flags.compressed,
        keepalive: flags.keepalive,
        tls: trust(flags.trust),
        ip: ip(&flags.ip),
    };
    let expect = flags.status.map_or(Expectation::Reply, Expectation::Status);
    request(flags.target, ModuleKind::Http(module), expect, flags.common)
}

fn hold(flags: HoldFlags) -> Result<Request, Misuse> {
    if flags.heartbeat > flags.hold {
        return Err(Misuse("--heartbeat is longer than --hold: none would be sent".to_owned()));
    }
    let module = HoldModule {
        heartbeat: flags.heartbeat,
        hold: flags.hold,
        tls: trust(flags.trust),
        ip: ip(&flags.ip),
    };
    request(flags.target, ModuleKind::Hold(module), Expectation::Reply, flags.common)
}

fn ip(flags: &IpFlags) -> IpPreference {
    match (flags.ipv4, flags.ipv6) {
        (false, false) => IpPreference::default(),
        (true, _) => IpPreference { family: IpFamily::V4, fallback: false, source: None },
        (false, true) => IpPreference { family: IpFamily::V6, fallback: false, source: None },
    }
}

fn trust(flags: TrustFlags) -> TlsSettings {
    let verify = match flags.spiffe_id {
        Some(id) => Verify::Spiffe(id),
        None if flags.insecure => Verify::Nothing,
        None => Verify::Name,
    };
    let identity = flags.cert.zip(flags.key);
    TlsSettings {
        roots: flags.ca.map_or(Roots::System, Roots::File),
        server_name: flags.server_name,
        verify,
        identity: identity
            .map(|(certificate, key)| OwnCertificate::Files(ClientIdentity { certificate, key })),
        alpn: flags.alpn,
        min_version: flags.tls_min,
        max_version: flags.tls_max,
        min_remaining: flags.min_remaining,
    }
}
