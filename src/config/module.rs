//! Questions: what is asked, within which time, and what must come back. The parts that a module
//! and a target with a block of its own share.

mod dns;
mod http;
mod mesh;
mod tls;

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use dns::TRANSPORTS;
pub(super) use http::VERSIONS as HTTP_VERSIONS;
pub(super) use mesh::ANY;
pub(super) use tls::{VERSIONS as TLS_VERSIONS, name as server_name};

use crate::config::decode::{Field, Fields};
use crate::config::mesh::Given;
use crate::config::server::set;
use crate::expectation::Expectation;
use crate::failure::Phase;
use crate::spec::{
    HoldModule, IpFamily, IpPreference, Module, ModuleKind, TcpModule, Timeouts, TlsModule,
};
use crate::target::ProbeKind;

/// The keys that state a kind of question.
pub(super) const KINDS: [&str; 10] =
    ["dns", "tcp", "tls", "http", "hold", "hbone", "istiod", "capture", "mtu", "ztunnel"];

pub(super) const IP_PREFERENCES: [(&str, IpPreference); 4] = [
    ("v4", prefer(IpFamily::V4, true)),
    ("v6", prefer(IpFamily::V6, true)),
    ("v4_only", prefer(IpFamily::V4, false)),
    ("v6_only", prefer(IpFamily::V6, false)),
];

pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
const HOLD: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(12 * 3600);

const fn prefer(family: IpFamily, fallback: bool) -> IpPreference {
    IpPreference { family, fallback, source: None }
}

/// A decoded question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The question; stand-ins where it was wrong.
    pub(super) module: Module,
    /// Whether nothing in it was wrong: what depends on it is only checked then.
    pub(super) sound: bool,
    /// The path that field names such as `tls.ca` are relative to.
    pub(super) block: String,
}

impl Question {
    /// The kind of probe that asks it.
    pub(super) fn kind(&self) -> ProbeKind {
        kind_of(&self.module.kind)
    }
}

fn kind_of(kind: &ModuleKind) -> ProbeKind {
    match kind {
        ModuleKind::Dns(_) => ProbeKind::Dns,
        ModuleKind::Tcp(_) => ProbeKind::Tcp,
        ModuleKind::Tls(_) => ProbeKind::Tls,
        ModuleKind::Http(_) => ProbeKind::Http,
        ModuleKind::Hold(_) => ProbeKind::Hold,
        ModuleKind::Hbone(_) => ProbeKind::Hbone,
        ModuleKind::Istiod(_) => ProbeKind::Istiod,
        ModuleKind::Capture(_) => ProbeKind::Capture,
        ModuleKind::Mtu(_) => ProbeKind::Mtu,
        ModuleKind::Ztunnel(_) => ProbeKind::Ztunnel,
    }
}

/// One of `modules`; `None` when not even its kind is known.
pub(super) fn module(field: &Field<'_>, given: &Given) -> Option<Question> {
    let before = field.mistakes();
    let mut fields = field.fields();
    let block = kind_block(&mut fields, given);
    if block.is_none() {
        fields.one_of_is_missing(&KINDS, "write one of them, e.g. `http: {}`");
    }
    let question = block.map(|block| question(&mut fields, block, given));
    if question.is_none() {
        unasked(&mut fields);
    }
    fields.finish();
    let sound = field.mistakes() == before;
    question.map(|question| Question { sound, ..question })
}

/// What stands beside a question that is not known: only checked for being readable.
pub(super) fn unasked(fields: &mut Fields<'_>) {
    let expect = fields.take("expect");
    expect.and_then(|field| field.parse::<Expectation>("an expectation"));
    timeouts(fields, None, [None; Phase::ALL.len()], None);
}

/// The block that states the kind; all others are mistakes.
pub(super) fn kind_block<'a>(
    fields: &mut Fields<'a>,
    given: &Given,
) -> Option<(ProbeKind, Field<'a>)> {
    let mut found: Option<(ProbeKind, Field<'a>)> = None;
    for kind in ProbeKind::ALL {
        let Some(field) = fields.take(kind.as_str()).map(Field::noted) else {
            continue;
        };
        match &found {
            None => found = Some((kind, field)),
            Some((first, _)) => {
                // Its own mistakes are told as well.
                decode_kind(kind, &field, given);
                let problem = format!("stands beside {first}");
                field.unvalued(problem, "ask one question in each module or target");
            }
        }
    }
    found
}

/// The question in `block`, with `expect`, `timeout` and `timeouts` beside it.
pub(super) fn question(
    fields: &mut Fields<'_>,
    (kind, field): (ProbeKind, Field<'_>),
    given: &Given,
) -> Question {
    let before = field.mistakes();
    let decoded = decode_kind(kind, &field, given);
    let block = match kind {
        // The keys of `tls` stand in the block itself.
        ProbeKind::Tls => field.path.rsplit_once('.').map(|(path, _)| path.to_owned()),
        ProbeKind::Dns
        | ProbeKind::Tcp
        | ProbeKind::Http
        | ProbeKind::Hold
        | ProbeKind::Hbone
        | ProbeKind::Istiod
        | ProbeKind::Capture
        | ProbeKind::Mtu
        | ProbeKind::Ztunnel => None,
    };
    let timeouts = timeouts(fields, given.timeout, [None; Phase::ALL.len()], Some(kind));
    Question {
        module: Module {
            expect: expectation(fields, &decoded).unwrap_or(Expectation::Reply),
            timeouts,
            kind: decoded,
        },
        sound: field.mistakes() == before,
        block: block.unwrap_or(field.path),
    }
}

fn decode_kind(kind: ProbeKind, field: &Field<'_>, given: &Given) -> ModuleKind {
    let mut fields = field.fields();
    let decoded = match kind {
        ProbeKind::Dns => ModuleKind::Dns(dns::dns(&mut fields)),
        ProbeKind::Tcp => ModuleKind::Tcp(tcp(&mut fields)),
        ProbeKind::Tls => {
            ModuleKind::Tls(TlsModule { tls: tls::settings(&mut fields), ip: ip(&mut fields) })
        }
        ProbeKind::Http => ModuleKind::Http(http::http(&mut fields)),
        ProbeKind::Hold => ModuleKind::Hold(hold(&mut fields)),
        ProbeKind::Hbone => ModuleKind::Hbone(Box::new(mesh::hbone(&mut fields, given))),
        ProbeKind::Istiod => ModuleKind::Istiod(Box::new(mesh::istiod(&mut fields, given))),
        ProbeKind::Capture => ModuleKind::Capture(mesh::capture(&mut fields, given)),
        ProbeKind::Mtu => ModuleKind::Mtu(mesh::mtu(&mut fields)),
        ProbeKind::Ztunnel => ModuleKind::Ztunnel(mesh::ztunnel(&mut fields)),
    };
    fields.finish();
    decoded
}

/// `expect`, if it is there and fits `asked`.
pub(super) fn expectation(fields: &mut Fields<'_>, asked: &ModuleKind) -> Option<Expectation> {
    let field = fields.take("expect")?;
    let expect = field.parse("an expectation")?;
    let [status, denied, connect] = match asked {
        ModuleKind::Dns(_)
        | ModuleKind::Hold(_)
        | ModuleKind::Istiod(_)
        | ModuleKind::Capture(_)
        | ModuleKind::Mtu(_)
        | ModuleKind::Ztunnel(_) => [false, false, false],
        ModuleKind::Tcp(_) => [false, true, true],
        ModuleKind::Tls(_) => [false, true, false],
        ModuleKind::Http(_) => [true, true, false],
        // Without a certificate nothing is requested that could be answered or denied.
        ModuleKind::Hbone(module) => [module.credentialed, module.credentialed, false],
    };
    let fits = match expect {
        Expectation::Reply => true,
        Expectation::Status(_) => status,
        Expectation::Denied => denied,
        Expectation::Connect => connect,
    };
    if !fits {
        let fitting = match [status, denied, connect] {
            [true, _, _] => "reply, denied, or `status` with a list",
            [false, true, true] => "reply, denied or connect",
            [false, true, false] => "reply or denied",
            [false, false, _] => "reply",
        };
        let kind = kind_of(asked);
        let bare = matches!(asked, ModuleKind::Hbone(module) if !module.credentialed);
        let how = if bare { " without a certificate" } else { "" };
        field.wrong(format!("does not fit {kind}{how}"), format!("write {fitting}"));
    }
    fits.then_some(expect)
}

/// `timeout` and `timeouts` over what is inherited; an unknown inherited total is not checked
/// against.
pub(super) fn timeouts(
    fields: &mut Fields<'_>,
    inherited_total: Option<Duration>,
    inherited_phases: [Option<Duration>; Phase::ALL.len()],
    kind: Option<ProbeKind>,
) -> Timeouts {
    let total = match fields.take("timeout") {
        Some(field) => field.duration(TIMEOUT),
        None => inherited_total,
    };
    let most = total.unwrap_or(*TIMEOUT.end());
    // A bound that is wider than the whole is none.
    let mut phases = inherited_phases.map(|phase| phase.filter(|bound| *bound <= most));
    if let Some(mut fields) = fields.take("timeouts").map(|field| field.fields()) {
        for phase in Phase::ALL {
            let Some(field) = fields.take(phase.as_str()) else {
                continue;
            };
            let bound = field.duration(TIMEOUT);
            if kind == Some(ProbeKind::Hold) && phase == Phase::Transfer {
                let fix = "leave it out; `hold` says how long that is";
                field.wrong("bounds the holding itself", fix);
            } else if phase == Phase::Tunnel && kind.is_some_and(|kind| kind != ProbeKind::Hbone) {
                field.wrong("bounds a phase that only hbone has", "leave it out");
            } else if bound.is_some_and(|bound| bound > most) {
                field.wrong(
                    "is longer than the timeout of the whole attempt",
                    "write less, or raise `timeout` beside `timeouts`",
                );
            }
            set(&mut phases[phase as usize], bound.map(Some));
        }
        fields.finish();
    }
    Timeouts { total: most, phases }
}

fn tcp(fields: &mut Fields<'_>) -> TcpModule {
    let send = fields.take("send").and_then(|field| field.filled());
    let regex = fields.take("reply_regex").and_then(|field| field.regex());
    TcpModule {
        send: send.map(|text| text.as_bytes().to_vec()),
        reply_regex: regex,
        ip: ip(fields),
    }
}

fn hold(fields: &mut Fields<'_>) -> HoldModule {
    let mut module = HoldModule {
        heartbeat: Duration::from_secs(1),
        hold: Duration::from_secs(60),
        tls: tls::block(fields),
        ip: ip(fields),
    };
    if let Some(field) = fields.take("hold") {
        // A wrong one is stood in for by one that nothing is too short for.
        module.hold = field.duration(HOLD).unwrap_or(Duration::ZERO);
    }
    let range = Duration::from_millis(10)..=Duration::from_secs(3600);
    if let Some(field) = fields.take("heartbeat")
        && let Some(heartbeat) = field.duration(range)
    {
        module.heartbeat = heartbeat;
        if heartbeat > module.hold && !module.hold.is_zero() {
            field.wrong("is longer than `hold`", "write less, or raise `hold`");
        }
    }
    module
}

/// `ip`.
fn ip(fields: &mut Fields<'_>) -> IpPreference {
    let field = fields.take("ip");
    field.and_then(|field| field.word(&IP_PREFERENCES)).unwrap_or_default()
}
