//! `meshprobe diagnose`: what is broken, as a controller sees it or by observations from a file.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use time::OffsetDateTime;

use crate::analysis::Diagnoses;
use crate::cli::flags::{DiagnoseFlags, DiagnoseOutput};
use crate::cli::{Exit, World, ask, render, runtime};
use crate::diagnosis::{Diagnosis, Evidence, Line, Report, Topology, lines};
use crate::expectation::Verdict;
use crate::observation::rfc3339;

/// Malformed lines that are told one by one.
const MOST_TOLD: u64 = 20;
/// The largest topology that is read, bytes.
const MOST_TOPOLOGY: u64 = 64 * 1024 * 1024;

pub(crate) fn run(
    flags: &DiagnoseFlags,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    match flags.observations.as_deref().zip(flags.topology.as_deref()) {
        Some((observations, topology)) => of_files(observations, topology, flags, out, err),
        None => runtime()?.block_on(of_controller(flags, world, out)),
    }
}

/// What a controller concluded last.
async fn of_controller(
    flags: &DiagnoseFlags,
    world: &World,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let body = ask::get(&flags.controller, world, "/v1/diagnoses").await?;
    let mut told: Diagnoses =
        serde_json::from_slice(&body).context("that is no answer of a controller")?;
    if let Some(node) = &flags.controller.node {
        narrow(&mut told.report, node);
    }
    match flags.output {
        DiagnoseOutput::Table => {
            table(&told.report, out)?;
            // Those are of the whole mesh.
            let slow = flags.controller.node.is_none().then(|| told.slow.words()).flatten();
            if let Some(slow) = slow {
                writeln!(out, "{}", render::inert(&slow))?;
            }
        }
        DiagnoseOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(&told)?)?,
    }
    Ok(exit(&told.report))
}

/// Leaves of `report` what is said of `node`.
fn narrow(report: &mut Report, node: &str) {
    let all = report.diagnoses.len();
    let of_node = |component: &str| component.split('/').any(|part| part == node);
    report.diagnoses.retain(|diagnosis| of_node(&diagnosis.component));
    if report.diagnoses.len() < all {
        // Counted over the whole mesh: others explain them.
        report.broken_paths = 0;
    }
}

fn of_files(
    observations: &Path,
    topology_file: &Path,
    flags: &DiagnoseFlags,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let input = Path::new("-");
    if observations == input && topology_file == input {
        writeln!(
            err,
            "error: standard input is one file: give --topology or --observations another"
        )?;
        return Ok(Exit::Usage);
    }
    let topology = topology(topology_file)?;
    let mut evidence = Evidence::new(&topology);
    let mut malformed = 0;
    let (name, input) = open(observations)?;
    let read = lines(BufReader::with_capacity(1 << 20, input), |line| match line {
        Line::Read(observation) => evidence.add(&observation),
        Line::Malformed { number, problem } => {
            malformed += 1;
            if malformed <= MOST_TOLD {
                let problem = render::inert(&problem).to_string();
                let _ = writeln!(err, "{name}:{number}: not an observation: {problem}; left out");
            }
        }
    });
    read.with_context(|| format!("{name} cannot be read"))?;
    if malformed > MOST_TOLD {
        writeln!(err, "{name}: {malformed} lines are no observations")?;
    }
    let now = evidence.last().unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let report = Report { malformed_lines: malformed, ..evidence.diagnose(now) };
    match flags.output {
        DiagnoseOutput::Table => table(&report, out)?,
        DiagnoseOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(exit(&report))
}

fn topology(path: &Path) -> anyhow::Result<Topology> {
    let (name, input) = open(path)?;
    let mut json = Vec::new();
    input
        .take(MOST_TOPOLOGY + 1)
        .read_to_end(&mut json)
        .with_context(|| format!("{name} cannot be read"))?;
    if json.len() as u64 > MOST_TOPOLOGY {
        bail!("{name}: larger than {MOST_TOPOLOGY} bytes");
    }
    Topology::read(&json).with_context(|| name)
}

fn open(path: &Path) -> anyhow::Result<(String, Box<dyn Read>)> {
    if path == Path::new("-") {
        return Ok(("standard input".to_owned(), Box::new(io::stdin())));
    }
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    Ok((name, Box::new(file)))
}

/// Violated when anything is broken, be it known what or not; inconclusive without a single attempt
/// that can tell, or when nothing is broken as far as some of the agents tell and others do not.
pub(crate) fn exit(report: &Report) -> Exit {
    let missing = report.agents < report.expected_agents;
    match report {
        Report { conclusive_attempts: 0, .. } => Exit::Inconclusive,
        Report { broken_paths: 1.., .. } => Exit::Violated,
        Report { diagnoses, .. } if !diagnoses.iter().all(is_ours) => Exit::Violated,
        Report { diagnoses, .. } if missing || !diagnoses.is_empty() => Exit::Inconclusive,
        Report { .. } => Exit::Met,
    }
}

/// Whether an agent of our own is what is ill: that says nothing of the mesh.
fn is_ours(diagnosis: &Diagnosis) -> bool {
    diagnosis.component.starts_with("agent/")
}

/// A report for people.
pub(crate) fn table(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for diagnosis in &report.diagnoses {
        entry(diagnosis, out)?;
    }
    let Report { conclusive_attempts: attempts, agents, expected_agents, broken_paths, .. } =
        report;
    let mut seen = format!("{attempts} conclusive attempts of {agents} agents");
    if agents < expected_agents {
        seen = format!("{seen} (of {expected_agents})");
    }
    match (exit(report), report.diagnoses.len()) {
        (Exit::Met, _) => {
            writeln!(out, "{} nothing is broken, by {seen}", Verdict::Met.mark())?;
        }
        (Exit::Violated, 0) => {
            let mark = Verdict::Violated.mark();
            let paths = match broken_paths {
                1 => "1 path is".to_owned(),
                paths => format!("{paths} paths are"),
            };
            let cause = match report.withheld {
                0 => "no component explains it",
                _ => "what explains it is not sure yet",
            };
            writeln!(out, "{mark} {paths} broken, and {cause}, by {seen}")?;
        }
        (Exit::Violated, count) => writeln!(
            out,
            "{count} broken by {seen}; {:.1} % of what failed is explained",
            report.explained_fraction * 100.0
        )?,
        _ => writeln!(out, "{} not enough evidence: {seen}", Verdict::Inconclusive.mark())?,
    }
    match report.malformed_lines {
        0 => Ok(()),
        1 => writeln!(out, "1 line was left out: it is no observation"),
        lines => writeln!(out, "{lines} lines were left out: they are no observations"),
    }
}

fn entry(diagnosis: &Diagnosis, out: &mut dyn Write) -> io::Result<()> {
    let since = diagnosis.since.map(|since| format!(" since {}", rfc3339::seconds(since)));
    let since = since.unwrap_or_default();
    let component = render::inert(&diagnosis.component).to_string();
    let sure = diagnosis.confidence * 100.0;
    writeln!(
        out,
        "{} {component} {}{since}, {sure:.1} % sure",
        Verdict::Violated.mark(),
        diagnosis.fault
    )?;
    for said in &diagnosis.evidence {
        writeln!(out, "    {}", render::inert(said))?;
    }
    writeln!(out, "    next: {}\n", render::inert(&diagnosis.next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::FaultWord;

    fn report(component: &str, fault: FaultWord, broken_paths: usize) -> Report {
        let diagnosis = Diagnosis {
            component: component.to_owned(),
            fault,
            since: None,
            confidence: 0.9,
            evidence: Vec::new(),
            next: String::new(),
            alternatives: Vec::new(),
        };
        let diagnoses = vec![diagnosis];
        Report { diagnoses, broken_paths, conclusive_attempts: 9, agents: 2, ..Report::default() }
    }

    #[test]
    fn an_agent_of_our_own_that_is_ill_leaves_the_mesh_unknown() {
        let starved = |broken| exit(&report("agent/node-1/plain", FaultWord::Starved, broken));
        assert_eq!((starved(0), starved(1)), (Exit::Inconclusive, Exit::Violated));
        assert_eq!(exit(&report("ztunnel/node-1", FaultWord::Dead, 0)), Exit::Violated);
    }

    #[test]
    fn a_node_is_not_broken_by_what_is_said_of_another() {
        let mut report = report("ztunnel/node-2", FaultWord::Dead, 40);
        narrow(&mut report, "node-2");
        assert_eq!((report.diagnoses.len(), exit(&report)), (1, Exit::Violated));
        narrow(&mut report, "node-5");
        assert_eq!((report.diagnoses.len(), exit(&report)), (0, Exit::Met));
    }
}
