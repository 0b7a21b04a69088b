//! What the lab shows: one row per target, kept current by attempts. Pure text, no terminal.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::expectation::Verdict;
use crate::failure::Failure;
use crate::target::TargetName;

/// Latencies kept per target for the percentile; older ones make room.
const KEPT: usize = 512;

/// The state of every target, in the order of the plan.
#[derive(Debug)]
pub(super) struct Table {
    order: Vec<TargetName>,
    rows: BTreeMap<TargetName, Row>,
}

#[derive(Debug, Default)]
struct Row {
    expect: String,
    verdicts: [u64; Verdict::ALL.len()],
    last: Option<Verdict>,
    failure: Option<Failure>,
    latencies: Vec<Duration>,
    next: usize,
}

/// A target whose verdict is another than before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The verdict before; `None` on the first attempt.
    pub(super) from: Option<Verdict>,
    /// The verdict now.
    pub(super) to: Verdict,
}

impl Table {
    pub(super) fn new(order: Vec<TargetName>) -> Self {
        Self { order, rows: BTreeMap::new() }
    }

    /// Takes in an attempt; tells whether it changed its target's verdict.
    pub(super) fn note(&mut self, attempt: &Attempt) -> Option<Change> {
        let row = self.rows.entry(attempt.target.clone()).or_default();
        row.expect = attempt.expect.to_string();
        row.verdicts[attempt.verdict as usize] += 1;
        row.failure.clone_from(&attempt.failure);
        if attempt.success {
            if row.latencies.len() < KEPT {
                row.latencies.push(attempt.duration);
            } else {
                row.latencies[row.next % KEPT] = attempt.duration;
            }
            row.next += 1;
        }
        let from = row.last.replace(attempt.verdict);
        (from != Some(attempt.verdict)).then_some(Change { from, to: attempt.verdict })
    }

    /// Attempts by verdict over all targets.
    pub(super) fn totals(&self) -> [u64; Verdict::ALL.len()] {
        let mut totals = [0; Verdict::ALL.len()];
        for row in self.rows.values() {
            for (total, count) in totals.iter_mut().zip(row.verdicts) {
                *total += count;
            }
        }
        totals
    }

    /// Targets that no attempt has come from yet.
    pub(super) fn silent(&self) -> usize {
        self.order.iter().filter(|name| !self.rows.contains_key(name)).count()
    }

    /// The first line an operator needs: how things stand now.
    pub(super) fn headline(&self) -> String {
        let now = |verdict| self.rows.values().filter(|row| row.last == Some(verdict)).count();
        let (met, violated) = (now(Verdict::Met), now(Verdict::Violated));
        let (unsure, silent) = (now(Verdict::Inconclusive), self.silent());
        let worst = match (violated, unsure + silent) {
            (0, 0) => Verdict::Met,
            (0, _) => Verdict::Inconclusive,
            (_, _) => Verdict::Violated,
        };
        let mut line = format!("{} {met} of {} targets met", worst.mark(), self.order.len());
        for (count, what) in [(violated, "violated"), (unsure, "inconclusive"), (silent, "waiting")]
        {
            if count > 0 {
                let _ = write!(line, ", {count} {what}");
            }
        }
        line
    }

    /// The whole table, headline first, one line each, cut to `width` columns.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let name_width = self
            .order
            .iter()
            .map(|name| name.as_str().len())
            .max()
            .unwrap_or(0)
            .max("target".len());
        let mut lines = vec![
            self.headline(),
            String::new(),
            format!(
                "  {:name_width$}  {:12} {:>8} {:>8} {:>6} {:>9} {:>9}  {}",
                "target", "expect", "met", "violated", "unsure", "p50", "p99", "last failure"
            ),
        ];
        for name in &self.order {
            lines.push(match self.rows.get(name) {
                Some(row) => row.line(name, name_width),
                None => format!("  {name:name_width$}  waiting for its first result"),
            });
        }
        for line in &mut lines {
            if let Some((cut, _)) = line.char_indices().nth(width) {
                line.truncate(cut);
            }
            line.truncate(line.trim_end().len());
        }
        lines
    }
}

impl Row {
    fn line(&self, name: &TargetName, width: usize) -> String {
        let mark = self.last.unwrap_or(Verdict::Inconclusive).mark();
        let [met, violated, unsure] = self.verdicts;
        let failure = self.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        format!(
            "{mark} {:width$}  {:12} {met:>8} {violated:>8} {unsure:>6} {:>9} {:>9}  {failure}",
            name.as_str(),
            self.expect,
            self.quantile(0.5),
            self.quantile(0.99),
        )
    }

    /// Nearest-rank quantile of the kept latencies; a dash without any.
    fn quantile(&self, q: f64) -> String {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let rank = ((q * sorted.len() as f64).ceil() as usize).saturating_sub(1);
        sorted.get(rank).map_or("-".to_owned(), |at| format!("{:.2}ms", at.as_secs_f64() * 1e3))
    }
}
