//! Whose turn it is to have a certificate signed: one attempt at a time, and seldom.
//!
//! Signing is work for istiod, so it has its own, slower rhythm than the rest of the ladder.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The turns of one probe.
#[derive(Debug)]
pub(super) struct Turns {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When istiod was last asked.
    last: Option<Instant>,
    /// An attempt under way has the turn.
    taken: bool,
}

/// The turn of one attempt. Dropped without having been used, it is the next attempt's.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
}

impl Turns {
    /// Turns with at least `every` from one use to the next.
    pub(super) fn every(every: Duration) -> Self {
        Self { every, state: Mutex::default() }
    }

    /// The turn, if it is due at `now` and no other attempt has it.
    pub(super) fn take(&self, now: Instant) -> Option<Turn<'_>> {
        let mut state = self.state.lock().expect("no panic while held");
        let due = state.last.is_none_or(|last| now.duration_since(last) >= self.every);
        if state.taken || !due {
            return None;
        }
        state.taken = true;
        Some(Turn { turns: self })
    }
}

impl Turn<'_> {
    /// istiod is asked at `now`, whatever comes of it.
    pub(super) fn used(self, now: Instant) {
        self.turns.state.lock().expect("no panic while held").last = Some(now);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.state.lock().expect("no panic while held").taken = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_turn_comes_again_only_after_its_interval() {
        let (turns, start) = (Turns::every(SECOND), Instant::now());
        turns.take(start).expect("the first is due").used(start);
        assert!(turns.take(start + SECOND / 2).is_none());
        assert!(turns.take(start + SECOND).is_some());
    }

    #[test]
    fn an_unused_turn_is_the_next_attempts() {
        let (turns, start) = (Turns::every(SECOND), Instant::now());
        drop(turns.take(start).expect("due"));
        assert!(turns.take(start).is_some());
    }

    #[test]
    fn attempts_at_the_same_time_share_no_turn() {
        let (turns, start) = (Turns::every(SECOND), Instant::now());
        let turn = turns.take(start).expect("due");
        assert!(turns.take(start).is_none());
        drop(turn);
    }
}
