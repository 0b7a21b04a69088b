//! What the lab has seen: the state of every cell, and what each fault turned. Pure; time is an
//! argument.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::expectation::Verdict;
use crate::failure::{Blame, Failure};
use crate::lab::cell::Cell;
use crate::lab::fault::Fault;
use crate::lab::signature::{Effect, Layout, Sight, effect};

/// Latencies kept per cell for percentiles; older ones make room.
const KEPT: usize = 128;

/// Attempts over the whole life of a lab: met, violated, inconclusive.
pub type Totals = [u64; Verdict::ALL.len()];

/// Attempts that began this soon after a fault came, or before, may show anything.
const TRANSIENT: Duration = Duration::from_millis(500);

/// Every cell's state.
#[derive(Debug)]
pub struct Board {
    cells: BTreeMap<Cell, State>,
    faults: Vec<Fault>,
    layout: Layout,
    /// How long after its end a fault may still be felt: the longest attempt.
    tail: Duration,
}

/// One cell.
#[derive(Debug, Default)]
pub struct State {
    /// Attempts by verdict.
    pub verdicts: Totals,
    /// The newest verdict.
    pub last: Option<Verdict>,
    /// The newest failure that made a verdict other than met.
    pub failure: Option<Failure>,
    /// Latencies of successes.
    latencies: Vec<Duration>,
    next: usize,
    /// By fault: attempts that were not met while it was felt and should have turned this cell.
    turned: BTreeMap<usize, BTreeMap<Sight, u64>>,
    /// Attempts that were not met without a fault that turns this cell.
    stray: BTreeMap<Sight, u64>,
}

/// A cell whose verdict is another than before.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The verdict before; `None` on the first attempt.
    pub from: Option<Verdict>,
    /// The verdict now.
    pub to: Verdict,
}

/// What a fault did, held against the signature table.
#[derive(Debug)]
pub struct Finding {
    /// The fault.
    pub fault: Fault,
    /// Cells that turned as the table says.
    pub as_stated: Vec<Cell>,
    /// Cells that the table names and that did not turn.
    pub unmoved: Vec<Cell>,
    /// Cells that turned in another way than the table says.
    pub otherwise: Vec<(Cell, Vec<Sight>)>,
}

impl Board {
    /// A board of `cells`, on which `faults` will show.
    pub fn new(cells: Vec<Cell>, faults: Vec<Fault>, layout: Layout, tail: Duration) -> Self {
        let cells = cells.into_iter().map(|cell| (cell, State::default())).collect();
        Self { cells, faults, layout, tail }
    }

    /// Takes in an attempt that ended `at` after the start of the lab and, with its control, `took`
    /// so long.
    pub fn note(
        &mut self,
        cell: Cell,
        attempt: &Attempt,
        at: Duration,
        took: Duration,
    ) -> Option<Change> {
        let felt = |fault: &Fault| {
            let end = fault.duration.map(|duration| fault.start + duration + self.tail);
            at >= fault.start && end.is_none_or(|end| at <= end)
        };
        let stated = |fault: &Fault| effect(fault, &cell, &self.layout).is_some();
        let felt: Vec<usize> = (0..self.faults.len())
            .filter(|index| felt(&self.faults[*index]) && stated(&self.faults[*index]))
            .collect();
        let began = at.saturating_sub(took);
        let clear = |fault: &Fault| {
            let end = fault.duration.map(|duration| fault.start + duration);
            began >= fault.start + TRANSIENT && end.is_none_or(|end| at <= end)
        };
        let fits = |index: usize, sight: &Sight| {
            let effect = effect(&self.faults[index], &cell, &self.layout);
            effect.is_some_and(|effect| effect.allows(sight))
        };
        let state = self.cells.get_mut(&cell)?;
        state.verdicts[attempt.verdict as usize] += 1;
        if attempt.verdict == Verdict::Met {
            state.keep(attempt.duration);
        } else if let Some(failure) = &attempt.failure {
            state.failure = Some(failure.clone());
            let sight = (attempt.verdict, failure.phase, failure.reason);
            let control = attempt.control.as_ref().and_then(|control| control.failure.as_ref());
            let mut reasons = [Some(failure), control].into_iter().flatten();
            let ours = reasons.any(|failure| failure.reason.blame() == Blame::Prober);
            for index in felt.iter().filter(|_| !ours) {
                if !clear(&self.faults[*index]) && !fits(*index, &sight) {
                    continue;
                }
                *state.turned.entry(*index).or_default().entry(sight).or_default() += 1;
            }
            if felt.is_empty() && !ours {
                *state.stray.entry(sight).or_default() += 1;
            }
        }
        let from = state.last.replace(attempt.verdict);
        (from != Some(attempt.verdict)).then_some(Change { from, to: attempt.verdict })
    }

    /// Cells and their states, in the order of the table.
    pub fn cells(&self) -> impl Iterator<Item = (&Cell, &State)> {
        self.cells.iter()
    }

    /// Attempts by verdict over all cells.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for state in self.cells.values() {
            for (total, count) in totals.iter_mut().zip(state.verdicts) {
                *total += count;
            }
        }
        totals
    }

    /// The first line an operator needs: how things stand now.
    pub fn headline(&self) -> String {
        let now = |verdict| self.cells.values().filter(|s| s.last == Some(verdict)).count();
        let (met, violated) = (now(Verdict::Met), now(Verdict::Violated));
        let unsure = now(Verdict::Inconclusive);
        let waiting = self.cells.len() - met - violated - unsure;
        let worst = match (violated, unsure + waiting) {
            (0, 0) => Verdict::Met,
            (0, _) => Verdict::Inconclusive,
            (_, _) => Verdict::Violated,
        };
        let mut line = format!("{} {met} of {} cells met", worst.mark(), self.cells.len());
        let rest = [(violated, "violated"), (unsure, "inconclusive"), (waiting, "waiting")];
        for (count, what) in rest {
            if count > 0 {
                let _ = write!(line, ", {count} {what}");
            }
        }
        line
    }

    /// What each fault did.
    pub fn findings(&self) -> Vec<Finding> {
        (0..self.faults.len()).map(|index| self.finding(index)).collect()
    }

    /// Cells that were not met although no fault turns them.
    pub fn strays(&self) -> Vec<(Cell, Vec<Sight>)> {
        let strays = self.cells.iter().filter(|(_, state)| !state.stray.is_empty());
        strays.map(|(cell, state)| (*cell, state.stray.keys().copied().collect())).collect()
    }

    /// What the table says of `cell` under `fault`.
    pub fn stated(&self, fault: &Fault, cell: &Cell) -> Option<Effect> {
        effect(fault, cell, &self.layout)
    }

    fn finding(&self, index: usize) -> Finding {
        let fault = self.faults[index];
        let mut finding =
            Finding { fault, as_stated: Vec::new(), unmoved: Vec::new(), otherwise: Vec::new() };
        for (cell, state) in &self.cells {
            let Some(effect) = self.stated(&fault, cell) else { continue };
            let Some(seen) = state.turned.get(&index) else {
                if !effect.may_hide {
                    finding.unmoved.push(*cell);
                }
                continue;
            };
            let wrong: Vec<Sight> = seen.keys().filter(|s| !effect.allows(s)).copied().collect();
            if wrong.is_empty() {
                finding.as_stated.push(*cell);
            } else {
                finding.otherwise.push((*cell, wrong));
            }
        }
        finding
    }
}

impl State {
    fn keep(&mut self, latency: Duration) {
        if self.latencies.len() < KEPT {
            self.latencies.push(latency);
        } else {
            self.latencies[self.next % KEPT] = latency;
        }
        self.next += 1;
    }

    /// The kept latencies, in no order.
    pub fn latencies(&self) -> &[Duration] {
        &self.latencies
    }
}
