//! `meshprobe check` without a configuration: what the agents of every node see, as a controller
//! tells it.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

use crate::cli::check::{Category, Check, result};
use crate::cli::flags::{CheckFlags, CheckOutput};
use crate::cli::{Exit, World, ask, probe, render};
use crate::controller::view::{Agent, Link, Node, Nodes, Remark, Row};
use crate::expectation::Verdict;
use crate::failure::Reason;
use crate::observation::Expected;
use crate::target::Vantage;

/// The JSON of `linkerd check`, and what the controller told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    success: bool,
    categories: Vec<Category>,
    fleet: Nodes,
}

/// A heading and its lines.
struct Section {
    title: String,
    lines: Vec<Line>,
}

/// A verdict, what it is about, and why it is not met.
struct Line {
    verdict: Verdict,
    what: String,
    why: Vec<String>,
    hint: Option<&'static str>,
}

impl Line {
    fn new(verdict: Verdict, what: String) -> Self {
        Self { verdict, what, why: Vec::new(), hint: None }
    }
}

pub(crate) async fn check(
    flags: &CheckFlags,
    world: &World,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let path = match &flags.controller.node {
        Some(node) => format!("/v1/nodes/{node}"),
        None => "/v1/nodes".to_owned(),
    };
    let body = ask::get(&flags.controller, world, &path).await?;
    let fleet: Nodes =
        serde_json::from_slice(&body).context("that is no answer of a controller")?;
    let sections = sections(&fleet);
    let verdicts: Vec<Verdict> =
        sections.iter().flat_map(|section| section.lines.iter().map(|line| line.verdict)).collect();
    let exit = probe::exit(&verdicts);
    match flags.output {
        CheckOutput::Table => table(&sections, true, exit, out)?,
        CheckOutput::Short => table(&sections, false, exit, out)?,
        CheckOutput::Json => {
            let categories = sections.into_iter().map(category).collect();
            let report = Report { success: exit == Exit::Met, categories, fleet };
            writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        }
    }
    Ok(exit)
}

/// The controller first, then every node and vantage, then what is left open.
fn sections(fleet: &Nodes) -> Vec<Section> {
    let mut sections = vec![controller(fleet)];
    for node in &fleet.nodes {
        for vantage in Vantage::ALL {
            sections.push(side(node, vantage));
        }
    }
    for (title, remarks, verdict) in [
        ("what was asked for", &fleet.findings, Verdict::Violated),
        ("what is not probed", &fleet.unknown, Verdict::Inconclusive),
    ] {
        let lines: Vec<Line> = remarks.iter().map(|remark| said(remark, verdict)).collect();
        if !lines.is_empty() {
            sections.push(Section { title: title.to_owned(), lines });
        }
    }
    sections
}

fn controller(fleet: &Nodes) -> Section {
    let mut read = Line::new(
        if fleet.synced { Verdict::Met } else { Verdict::Inconclusive },
        "the cluster was read".to_owned(),
    );
    read.why = fleet.waiting.iter().map(|kind| format!("not yet: {kind}")).collect();
    let stale = fleet.stale_seconds.filter(|seconds| *seconds > 300);
    let mut fresh = Line::new(
        if stale.is_some() { Verdict::Inconclusive } else { Verdict::Met },
        "the API server is heard of".to_owned(),
    );
    fresh.why = stale.iter().map(|seconds| format!("silent for {seconds} s")).collect();
    let mut policies = Line::new(
        if fleet.peer_authentications { Verdict::Met } else { Verdict::Inconclusive },
        "PeerAuthentications can be read".to_owned(),
    );
    if !fleet.peer_authentications {
        policies.why.push("where STRICT holds is not known: no denial is expected".to_owned());
    }
    let mut lines = vec![read, fresh, policies];
    if fleet.nodes.is_empty() {
        lines.push(Line::new(Verdict::Inconclusive, "the cluster has nodes".to_owned()));
    }
    Section { title: "controller".to_owned(), lines }
}

fn side(node: &Node, vantage: Vantage) -> Section {
    let agents: Vec<&Agent> = node.agents.iter().filter(|agent| agent.vantage == vantage).collect();
    let mut lines = Vec::new();
    if agents.is_empty() {
        let mut missing = Line::new(Verdict::Inconclusive, "an agent is there".to_owned());
        missing.why.push("no pod of this vantage runs on the node: a blind spot".to_owned());
        lines.push(missing);
    }
    for agent in agents {
        lines.push(linked(agent));
        if agent.rows.is_empty() {
            let mut blind = Line::new(Verdict::Inconclusive, "it sees something".to_owned());
            blind.why.push("no target was attempted in the last minute".to_owned());
            lines.push(blind);
        }
        lines.extend(agent.rows.iter().map(row));
    }
    let zone = node.zone.as_ref().map(|zone| format!(" ({zone})")).unwrap_or_default();
    let unready = if node.ready { "" } else { ", not Ready" };
    Section { title: format!("{}{zone}{unready}, {vantage}", node.name), lines }
}

fn linked(agent: &Agent) -> Line {
    let what = format!("agent {}: plan {}", agent.pod, agent.link.as_str());
    let verdict = match agent.link {
        Link::Current => Verdict::Met,
        Link::Outdated | Link::Lost | Link::Never => Verdict::Inconclusive,
    };
    let mut line = Line::new(verdict, what);
    match agent.link {
        Link::Current => {}
        Link::Outdated => line.why.push("it runs another plan than it is to run".to_owned()),
        Link::Lost => {
            let seconds = agent.silent_seconds.unwrap_or_default();
            line.why.push(format!("not heard of for {seconds} s"));
        }
        Link::Never => line.why.push("this controller never heard of it".to_owned()),
    }
    line
}

fn row(row: &Row) -> Line {
    let counts = Verdict::ALL.into_iter().filter_map(|verdict| {
        let count = row.verdicts.get(&verdict).filter(|count| **count > 0)?;
        Some(format!("{count} {}", verdict.as_str()))
    });
    let counts: Vec<String> = counts.collect();
    let mut line = Line::new(row.verdict(), format!("{}: {}", row.row, counts.join(", ")));
    for unmet in &row.unmet {
        let reason = unmet.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
        let expect = match unmet.expect {
            Expected::Denied => "a denial",
            Expected::Reply => "a reply",
        };
        line.why.push(format!("{}: expected {expect}{reason}", unmet.target));
    }
    let reason = row.unmet.iter().find_map(|unmet| unmet.reason.as_deref());
    let known = Reason::ALL.iter().find(|known| Some(known.as_str()) == reason);
    line.hint = known.map(|reason| reason.hint());
    line
}

fn said(remark: &Remark, verdict: Verdict) -> Line {
    let namespace =
        if remark.namespace.is_empty() { String::new() } else { format!("{}/", remark.namespace) };
    let what = format!("{} {namespace}{}: {}", remark.kind, remark.name, remark.reason);
    Line { why: vec![remark.message.clone()], ..Line::new(verdict, what) }
}

fn category(section: Section) -> Category {
    let checks = section.lines.into_iter().map(|line| Check {
        result: result(line.verdict),
        description: line.what,
        hint: line.hint,
        error: (!line.why.is_empty()).then(|| line.why.join("; ")),
    });
    Category { category_name: section.title, checks: checks.collect() }
}

fn table(sections: &[Section], all: bool, exit: Exit, out: &mut dyn Write) -> io::Result<()> {
    for Section { title, lines } in sections {
        let shown: Vec<&Line> =
            lines.iter().filter(|line| all || line.verdict != Verdict::Met).collect();
        if shown.is_empty() {
            continue;
        }
        let title = render::inert(title).to_string();
        writeln!(out, "{title}\n{}", "-".repeat(title.chars().count()))?;
        for line in shown {
            writeln!(out, "{} {}", line.verdict.mark(), render::inert(&line.what))?;
            for why in &line.why {
                writeln!(out, "    {}", render::inert(why))?;
            }
            if let Some(hint) = line.hint {
                writeln!(out, "    {hint}")?;
            }
        }
        writeln!(out)?;
    }
    let worst = match exit {
        Exit::Met => Verdict::Met,
        Exit::Violated => Verdict::Violated,
        Exit::Inconclusive | Exit::CouldNotRun | Exit::Usage => Verdict::Inconclusive,
    };
    writeln!(out, "Status check results are {}", worst.mark())
}
