//! Where the lab's table goes: redrawn in place on a terminal, a line per change elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use crate::attempt::Attempt;
use crate::diagnosis;
use crate::incident;
use crate::lab::Report;
use crate::lab::board::{Board, Change};
use crate::lab::cell::Cell;
use crate::lab::fault::Fault;
use crate::lab::table;

/// Columns when the output is no terminal.
const PLAIN_WIDTH: usize = 240;

/// The output of a running lab.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Option<(usize, usize)>,
    drawn: usize,
    /// What is broken now, in words.
    broken: String,
    /// What diagnosis says of it.
    diagnosed: String,
}

impl Screen {
    /// A screen of `terminal`'s columns and lines, or plain lines without one.
    pub(super) fn new(terminal: Option<(usize, usize)>) -> Self {
        Self { terminal, drawn: 0, broken: String::new(), diagnosed: String::new() }
    }

    pub(super) fn open(&mut self, opening: &str, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{opening}")?;
        out.flush()
    }

    /// What is broken from now on.
    pub(super) fn announce(
        &mut self,
        at: Duration,
        there: &[Fault],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let names: Vec<_> =
            there.iter().map(|fault| format!("{fault} ({})", fault.kind.summary())).collect();
        let what = if names.is_empty() { "nothing".to_owned() } else { names.join("; ") };
        self.broken = format!("broken since {:.1}s: {what}", at.as_secs_f64());
        if self.terminal.is_none() {
            writeln!(out, "! {}", self.broken)?;
        }
        out.flush()
    }

    /// What diagnosis makes of it; plain output: a line for each incident that opens or ends.
    pub(super) fn diagnose(
        &mut self,
        report: &diagnosis::Report,
        changes: &[incident::Change],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.diagnosed = match report.diagnoses.first() {
            None => String::new(),
            Some(_) => format!("diagnosis: {}", table::diagnoses(report)),
        };
        if self.terminal.is_some() {
            return Ok(());
        }
        for change in changes {
            writeln!(out, "{}", table::incident(change))?;
        }
        out.flush()
    }

    /// Plain output: one line for each cell whose verdict changed.
    pub(super) fn note(
        &mut self,
        cell: &Cell,
        attempt: &Attempt,
        change: Option<Change>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(change) = change.filter(|_| self.terminal.is_none()) else { return Ok(()) };
        let why = attempt.failure.as_ref();
        writeln!(out, "{}", table::change(cell, change.from, change.to, why))?;
        out.flush()
    }

    /// Terminal: the table in place of the one before, cut to the window.
    pub(super) fn draw(&mut self, board: &Board, out: &mut dyn Write) -> io::Result<()> {
        let Some((columns, rows)) = self.terminal else { return Ok(()) };
        let mut lines = table::lines(board, columns);
        // The blank line below the headline is the place for what is broken.
        lines[1] = self.broken.chars().take(columns).collect();
        if !self.diagnosed.is_empty() {
            lines.insert(0, self.diagnosed.chars().take(columns).collect());
        }
        // The line below the table belongs to the cursor.
        let shown = lines.len().min(rows.saturating_sub(1));
        // A window made narrower cuts the lines instead of wrapping them.
        write!(out, "\x1b[?7l")?;
        if self.drawn > 0 {
            // The cursor may be behind an echoed `^C`.
            write!(out, "\r\x1b[{}A", self.drawn)?;
        }
        for line in &lines[..shown] {
            writeln!(out, "{line}\x1b[K")?;
        }
        write!(out, "\x1b[?7h")?;
        self.drawn = shown;
        out.flush()
    }

    /// The last word: the whole table, what each fault did, and the count of attempts.
    pub(super) fn close(
        &mut self,
        board: &Board,
        report: &Report,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let width = self.terminal.map_or(PLAIN_WIDTH, |(columns, _)| columns);
        if self.drawn > 0 {
            write!(out, "\r\x1b[{}A\x1b[J", self.drawn)?;
        } else {
            writeln!(out)?;
        }
        table::lines(board, width).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        writeln!(out)?;
        for finding in &report.findings {
            writeln!(out, "{}", table::finding(board, finding))?;
        }
        if !report.strays.is_empty() {
            writeln!(out, "{}", table::strays(&report.strays))?;
        }
        if !report.diagnosed.diagnoses.is_empty() {
            writeln!(out, "diagnosis: {}", table::diagnoses(&report.diagnosed))?;
        }
        for pair in report.flows.plaintext_of_users(&report.own_namespaces) {
            writeln!(out, "{}", table::caller(pair))?;
        }
        let [met, violated, inconclusive] = report.totals;
        let all = met + violated + inconclusive;
        writeln!(out, "{all} attempts: {met} met, {violated} violated, {inconclusive} inconclusive")
    }
}
