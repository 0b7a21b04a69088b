//! How well one kind of fault of one component would do with every path that it touches, at any
//! rate.

use crate::diagnosis::index::{Contact, Healthy};
use crate::diagnosis::likelihood::{Cause, Failing, Rate, Row, SHOWS, Ways};
use crate::diagnosis::path::{Class, End};

/// What it costs, nats, when a fault shows otherwise on paths that it may leave alone than is
/// usual.
const UNUSUAL: f64 = 2.0;

/// How likely a fault shows on the paths of one class that it may leave alone: one question for
/// all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shown {
    end: End,
    class: Class,
    pub(super) shows: f64,
}

/// How likely the fault shows at `contact`, by what was found.
pub(super) fn shows(found: &[Shown], contact: &Contact) -> f64 {
    let same = |it: &&Shown| (it.end, it.class) == (contact.end, contact.class);
    found.iter().find(same).map_or(contact.signature.shows, |it| it.shows)
}

/// A failing path that the fault touches.
#[derive(Clone, Copy)]
struct Touched<'s, 'a> {
    path: &'s Failing<'a>,
    /// How likely it is without the fault.
    ways: Ways,
    /// The share of the attempts that meet the fault, by its place among all shares.
    share: usize,
    /// Which [`Shown`] is asked, where the fault may leave it alone.
    slot: Option<usize>,
    how: How<'s>,
}

#[derive(Clone, Copy)]
enum How<'s> {
    /// Nothing else acts there.
    Alone(Row),
    /// Beside others.
    Beside(&'s [Cause], Contact),
}

/// A fault with all that it touches.
#[derive(Default)]
pub(super) struct Weighing<'s, 'a> {
    touched: Vec<Touched<'s, 'a>>,
    /// Healthy paths with places of shares and slots.
    healthy: Vec<(&'s Healthy, usize, Option<usize>)>,
    shares: Vec<f32>,
    slots: Vec<Shown>,
    /// The most that failing paths may gain.
    hope: f64,
    /// How much of the healthy paths counts.
    part: f64,
}

impl<'s, 'a> Weighing<'s, 'a> {
    pub(super) fn new(hope: f64) -> Self {
        Self { hope, part: 1.0, ..Self::default() }
    }

    /// Adds a failing path, on which `causes` act and say `told`.
    pub(super) fn add(
        &mut self,
        path: &'s Failing<'a>,
        told: f64,
        causes: &'s [Cause],
        contact: Contact,
    ) {
        let (share, slot) = (self.share(&contact), self.slot(&contact));
        let how = match causes {
            [] => How::Alone(Row::new(path, contact.signature)),
            _ => How::Beside(causes, contact),
        };
        let ways = Ways::new(told, path.odd);
        self.touched.push(Touched { path, ways, share, slot, how });
    }

    /// Adds healthy paths.
    pub(super) fn add_healthy(&mut self, healthy: &'s Healthy, contact: Contact) {
        let (share, slot) = (self.share(&contact), self.slot(&contact));
        self.healthy.push((healthy, share, slot));
    }

    /// About `count` of its failing paths, which stand for the whole, if it has many more.
    pub(super) fn sample(&self, count: usize) -> Option<Self> {
        if self.touched.len() < 2 * count {
            return None;
        }
        // Neither all of one kind nor of one node: every path is drawn by its place alone.
        let of = (self.touched.len() / count) as u32;
        let drawn = |place: &u32| (place.wrapping_mul(0x9e37_79b1) >> 8).is_multiple_of(of);
        let chosen = std::iter::zip(0.., &self.touched).filter(|(place, _)| drawn(place));
        let touched: Vec<Touched<'s, 'a>> = chosen.map(|(_, touched)| *touched).collect();
        let part = touched.len() as f64 / self.touched.len() as f64;
        let (healthy, shares) = (self.healthy.clone(), self.shares.clone());
        let slots = self.slots.clone();
        Some(Self { touched, healthy, shares, slots, hope: f64::INFINITY, part })
    }

    fn share(&mut self, contact: &Contact) -> usize {
        let known = self.shares.iter().position(|share| *share == contact.share);
        known.unwrap_or_else(|| {
            self.shares.push(contact.share);
            self.shares.len() - 1
        })
    }

    fn slot(&mut self, contact: &Contact) -> Option<usize> {
        if contact.signature.is_certain() {
            return None;
        }
        let Contact { end, class, signature, .. } = *contact;
        let same = |it: &Shown| (it.end, it.class) == (end, class);
        let known = self.slots.iter().position(same);
        Some(known.unwrap_or_else(|| {
            self.slots.push(Shown { end, class, shows: signature.shows });
            self.slots.len() - 1
        }))
    }

    /// The gain at `rate`, before what the fault costs.
    pub(super) fn gain(&self, rate: f64) -> f64 {
        self.sums(rate, f64::NEG_INFINITY).map_or(f64::NEG_INFINITY, |sums| self.total(&sums))
    }

    /// The same, with how likely the fault shows where it may not; none if it is certainly below
    /// `least`.
    pub(super) fn at(&self, rate: f64, least: f64) -> Option<(f64, Vec<Shown>)> {
        let sums = self.sums(rate, least)?;
        let chosen = std::iter::zip(&self.slots, self.chosen(&sums));
        let shown = chosen.map(|(slot, (at, _))| Shown { shows: SHOWS[at], ..*slot }).collect();
        Some((self.total(&sums), shown))
    }

    /// By slot the likeliest of [`SHOWS`], and its gain.
    fn chosen(&self, sums: &Sums) -> impl Iterator<Item = (usize, f64)> {
        std::iter::zip(&self.slots, &sums.slots).map(|(slot, sums)| {
            let far = |at: usize| (SHOWS[at] - slot.shows).abs();
            let usual = (0..SHOWS.len()).min_by(|a, b| far(*a).total_cmp(&far(*b)));
            let cost = |at: usize| if Some(at) == usual { 0.0 } else { UNUSUAL };
            let gains = (0..SHOWS.len()).map(|at| (at, sums[at] - cost(at)));
            gains.max_by(|a, b| a.1.total_cmp(&b.1)).expect("some are tried")
        })
    }

    fn total(&self, sums: &Sums) -> f64 {
        sums.certain + self.chosen(sums).map(|(_, gain)| gain).sum::<f64>()
    }

    fn sums(&self, rate: f64, least: f64) -> Option<Sums> {
        let all = Rate::new(rate);
        let own: Vec<Rate> =
            self.shares.iter().map(|share| Rate::new(rate * f64::from(*share))).collect();
        let slots = vec![[0.0; SHOWS.len()]; self.slots.len()];
        let mut sums = Sums { certain: 0.0, slots };
        for (healthy, share, slot) in &self.healthy {
            let paths = f64::from(healthy.paths);
            let met = healthy.met as f64 / paths;
            sums.add(*slot, &Ways::healthy(met), own[*share].healthy(met), paths * self.part);
        }
        if self.total(&sums) + self.hope < least {
            return None;
        }
        for it in &self.touched {
            let shown = match &it.how {
                How::Alone(row) => row.shown(&own[it.share], &all),
                How::Beside(causes, contact) => {
                    let cause = Cause::at(contact, rate, contact.signature.shows, usize::MAX);
                    it.path.shown(causes, &cause)
                }
            };
            sums.add(it.slot, &it.ways, shown, 1.0);
        }
        Some(sums)
    }
}

/// Gains where the fault shows for certain, and by slot as likely as each of [`SHOWS`] says.
struct Sums {
    certain: f64,
    slots: Vec<[f64; SHOWS.len()]>,
}

impl Sums {
    fn add(&mut self, slot: Option<usize>, ways: &Ways, shown: f64, paths: f64) {
        let Some(slot) = slot else {
            self.certain += paths * ways.gain(shown);
            return;
        };
        for (sum, gain) in std::iter::zip(&mut self.slots[slot], ways.gains(shown)) {
            *sum += paths * gain;
        }
    }
}

/// The rate with the largest gain, and the gain, where `gain` tells those above `least` exactly:
/// the best of `rates`, and from there by `steps`.
pub(super) fn climb(
    rates: impl IntoIterator<Item = f64>,
    steps: &[f64],
    least: f64,
    gain: impl Fn(f64, f64) -> f64,
) -> (f64, f64) {
    let mut most = (1.0, least);
    let tried = |rate: f64, most: (f64, f64)| {
        let gain = gain(rate, most.1);
        if gain > most.1 { (rate, gain) } else { most }
    };
    for rate in rates {
        most = tried(rate, most);
    }
    // Between the rates of the grid, where many attempts tell them apart.
    if most.1 > least && most.0 < 0.9 {
        for step in steps {
            let from = most.0;
            for rate in [from * step, from / step] {
                most = tried(rate.min(0.95), most);
            }
        }
    }
    most
}
