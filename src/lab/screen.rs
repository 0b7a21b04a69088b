//! Where the lab's table goes: redrawn in place on a terminal, a line per change elsewhere.

use std::io::{self, Write};

use crate::attempt::Attempt;
use crate::lab::table::{Change, Table};

/// Columns when the output is no terminal.
const PLAIN_WIDTH: usize = 200;

/// The output of a running lab.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Option<(usize, usize)>,
    drawn: usize,
}

impl Screen {
    /// A screen of `terminal`'s columns and lines, or plain lines without one.
    pub(super) fn new(terminal: Option<(usize, usize)>) -> Self {
        Self { terminal, drawn: 0 }
    }

    pub(super) fn open(&mut self, opening: &str, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{opening}")?;
        out.flush()
    }

    /// Plain output: one line for each target whose verdict changed.
    pub(super) fn note(
        &mut self,
        attempt: &Attempt,
        change: Option<Change>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(change) = change.filter(|_| self.terminal.is_none()) else { return Ok(()) };
        let from = change.from.map(|from| format!(" (was {from})")).unwrap_or_default();
        write!(out, "{} {}: {}{from}", change.to.mark(), attempt.target, change.to)?;
        match &attempt.failure {
            Some(failure) => writeln!(out, ": {failure}")?,
            None => writeln!(out, " in {:.2}ms", attempt.duration.as_secs_f64() * 1e3)?,
        }
        out.flush()
    }

    /// Terminal: the table in place of the one before, cut to the window.
    pub(super) fn draw(&mut self, table: &Table, out: &mut dyn Write) -> io::Result<()> {
        let Some((columns, rows)) = self.terminal else { return Ok(()) };
        let lines = table.lines(columns);
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

    /// The last word: the whole table and the count of attempts.
    pub(super) fn close(&mut self, table: &Table, out: &mut dyn Write) -> io::Result<()> {
        match self.terminal {
            Some((columns, _)) => {
                if self.drawn > 0 {
                    write!(out, "\r\x1b[{}A\x1b[J", self.drawn)?;
                }
                table.lines(columns).iter().try_for_each(|line| writeln!(out, "{line}"))?;
            }
            None => {
                writeln!(out)?;
                table.lines(PLAIN_WIDTH).iter().try_for_each(|line| writeln!(out, "{line}"))?;
            }
        }
        let [met, violated, inconclusive] = table.totals();
        let all = met + violated + inconclusive;
        writeln!(
            out,
            "\n{all} attempts: {met} met, {violated} violated, {inconclusive} inconclusive"
        )
    }
}
