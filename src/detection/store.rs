//! The paths of one agent: found by name, in little memory.

use std::sync::Arc;

use crate::detection::path::State;

/// Paths, each name once.
#[derive(Debug, Default)]
pub(super) struct Paths {
    states: Vec<State>,
    /// Places in `states`, in the order of names.
    order: Vec<u32>,
    /// The one that was found last. The next is guessed to be the same or the one after it, for
    /// agents tell their paths in one order, and several windows of each.
    found: usize,
}

impl Paths {
    /// The path of this name.
    pub(super) fn find(&mut self, name: &str) -> Option<&mut State> {
        let is_here = |at: &usize| self.states.get(*at).is_some_and(|it| *it.asked.name == *name);
        let guessed = [self.found, self.found + 1].into_iter().find(is_here);
        let at = match guessed {
            Some(at) => at,
            None => self.order[self.place(name).ok()?] as usize,
        };
        self.found = at;
        self.states.get_mut(at)
    }

    /// Adds `state`, or puts it in the place of the one of the same name.
    pub(super) fn put(&mut self, state: State) {
        match self.place(&state.asked.name) {
            Ok(place) => self.states[self.order[place] as usize] = state,
            Err(place) => {
                // Doubling would waste half of what a large fleet takes.
                let more = self.states.len() / 16 + 2;
                if self.states.len() == self.states.capacity() {
                    self.states.reserve_exact(more);
                    self.order.reserve_exact(more);
                }
                let at = u32::try_from(self.states.len()).expect("an agent has fewer paths");
                self.order.insert(place, at);
                self.states.push(state);
            }
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        let of = |at: u32| -> &Arc<str> { &self.states[at as usize].asked.name };
        self.order.binary_search_by(|at| (**of(*at)).cmp(name))
    }

    /// Forgets paths that `keep` refuses.
    pub(super) fn retain(&mut self, keep: impl Fn(&State) -> bool) {
        let before = self.states.len();
        self.states.retain(keep);
        if self.states.len() == before {
            return;
        }
        self.order = (0..self.states.len() as u32).collect();
        let states = &self.states;
        self.order
            .sort_by(|a, b| states[*a as usize].asked.name.cmp(&states[*b as usize].asked.name));
        self.found = 0;
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &State> {
        self.states.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }
}
