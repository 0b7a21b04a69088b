//! The flows of one ztunnel: counters into connections. Bounded.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use time::OffsetDateTime;

use super::rate;
use crate::flow::{Flow, FlowDestination, FlowSecurity, FlowSource};
use crate::outcome::{FlowCounter, ZtunnelFacts};

/// Flows that are kept, of plaintext and of mTLS each: as many as one look can show.
const MOST: usize = 1000;

/// What became of flows.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The namespace whose calls are probes.
    own: Option<String>,
    entries: BTreeMap<Key, Entry>,
    /// Series of the last look that have no entry, of plaintext and of mTLS.
    dropped: [u64; FlowSecurity::ALL.len()],
}

type Key = (FlowSecurity, FlowDestination, FlowSource);

#[derive(Debug)]
struct Entry {
    /// As the last look had them; `None` when it did not have the flow.
    counters: Option<Counters>,
    opened_before: u64,
    opened: u64,
    denied: u64,
    rate: f64,
    first_seen: OffsetDateTime,
    last_seen: Option<OffsetDateTime>,
}

#[derive(Debug, Clone, Copy)]
struct Counters {
    opened: u64,
    denied: u64,
}

/// How counters relate to those of the look before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Not at all: there was none, or it was of another ztunnel. All was counted before.
    Unknown,
    /// They began at 0 since then.
    SinceStart,
    /// They went on.
    SinceLast,
}

impl Growth {
    /// What came since the look before to a counter that was `before` and is `now`.
    pub(super) fn of(self, now: u64, before: Option<u64>) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::SinceStart => now,
            Self::SinceLast => now.saturating_sub(before.unwrap_or(0)),
        }
    }
}

impl Ledger {
    /// An empty one; what comes from the namespace `own` is of probers.
    pub(super) fn new(own: Option<&str>) -> Self {
        let own = own.map(str::to_owned);
        Self { own, entries: BTreeMap::new(), dropped: Default::default() }
    }

    /// Whether a counter of `facts` is smaller than it was, or gone: a ztunnel forgets none while
    /// it lives.
    pub(super) fn went_back(&self, facts: &ZtunnelFacts) -> bool {
        let mut known = self.entries.values().filter(|entry| entry.counters.is_some()).count();
        for flow in &facts.flows {
            let before = self.entries.get(&key(flow)).and_then(|entry| entry.counters);
            known -= usize::from(before.is_some());
            if before.is_some_and(|it| flow.opened < it.opened || flow.denied < it.denied) {
                return true;
            }
        }
        // Of too many, new ones can have put old ones out.
        known > 0 && facts.unkept_flows.is_none()
    }

    /// Takes what a look showed; gives the plaintext connections of others than probers that came
    /// since the one before.
    pub(super) fn take(
        &mut self,
        facts: &ZtunnelFacts,
        growth: Growth,
        window: Option<Duration>,
        now: OffsetDateTime,
    ) -> u64 {
        let unkept = [facts.unkept_flows.plaintext, facts.unkept_flows.mutual_tls];
        let dropped_before = std::mem::replace(&mut self.dropped, unkept);
        let here: HashSet<Key> = facts.flows.iter().map(key).collect();
        for (_, entry) in self.entries.iter_mut().filter(|(key, _)| !here.contains(*key)) {
            entry.counters = None;
            entry.rate = 0.0;
        }
        let mut plaintext: u64 = 0;
        for flow in &facts.flows {
            let (key, kind) = (key(flow), flow.security as usize);
            if !self.entries.contains_key(&key) && !self.make_room(flow.security) {
                self.dropped[kind] += 1;
                continue;
            }
            let entry = self.entries.entry(key).or_insert_with(|| Entry::new(now));
            // One that is new here may be one that was dropped so far.
            let told = entry.counters.is_some() || dropped_before[kind] == 0;
            let growth = match growth {
                Growth::SinceLast if !told => Growth::Unknown,
                growth => growth,
            };
            let opened = entry.take(flow, growth, now);
            entry.rate = rate(opened, window);
            if flow.security == FlowSecurity::Plaintext && !is_of(&flow.source, self.own.as_deref())
            {
                plaintext = plaintext.saturating_add(opened);
            }
        }
        plaintext
    }

    /// Whether one more may be kept: one that no look has any more may have to go.
    fn make_room(&mut self, security: FlowSecurity) -> bool {
        let of_kind = |(key, _): &(&Key, &Entry)| key.0 == security;
        if self.entries.iter().filter(of_kind).count() < MOST {
            return true;
        }
        let gone = self.entries.iter().filter(of_kind).filter(|(_, it)| it.counters.is_none());
        let oldest = gone.min_by_key(|(_, it)| it.last_seen.unwrap_or(it.first_seen));
        let Some(key) = oldest.map(|(key, _)| key.clone()) else { return false };
        self.entries.remove(&key);
        true
    }

    /// Every flow that is known, without the node.
    pub(super) fn flows(&self) -> impl Iterator<Item = Flow> {
        self.entries.iter().map(|((security, destination, source), entry)| Flow {
            node: String::new(),
            source: source.clone(),
            destination: destination.clone(),
            security: *security,
            opened_before: entry.opened_before,
            opened: entry.opened,
            denied: entry.denied,
            rate_per_second: entry.rate,
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
        })
    }

    /// How many plaintext flows are known, without those of probers.
    pub(super) fn plaintext_pairs(&self) -> u64 {
        let pairs = self.entries.keys().filter(|(security, _, source)| {
            *security == FlowSecurity::Plaintext && !is_of(source, self.own.as_deref())
        });
        pairs.count() as u64
    }

    /// Series of `security` that the last look had and that are not kept.
    pub(super) fn dropped(&self, security: FlowSecurity) -> u64 {
        self.dropped[security as usize]
    }
}

fn is_of(source: &FlowSource, namespace: Option<&str>) -> bool {
    namespace.is_some() && source.namespace.as_deref() == namespace
}

fn key(flow: &FlowCounter) -> Key {
    (flow.security, flow.destination.clone(), flow.source.clone())
}

impl Entry {
    /// Takes the counters of a look; gives what was opened since the one before.
    fn take(&mut self, flow: &FlowCounter, growth: Growth, now: OffsetDateTime) -> u64 {
        let before = self.counters.replace(Counters { opened: flow.opened, denied: flow.denied });
        if growth == Growth::Unknown {
            self.opened_before = self.opened_before.saturating_add(flow.opened);
        }
        let opened = growth.of(flow.opened, before.map(|it| it.opened));
        let denied = growth.of(flow.denied, before.map(|it| it.denied));
        self.opened = self.opened.saturating_add(opened);
        self.denied = self.denied.saturating_add(denied);
        if opened > 0 {
            self.last_seen = Some(now);
        }
        opened
    }

    fn new(now: OffsetDateTime) -> Self {
        Self {
            counters: None,
            opened_before: 0,
            opened: 0,
            denied: 0,
            rate: 0.0,
            first_seen: now,
            last_seen: None,
        }
    }
}
