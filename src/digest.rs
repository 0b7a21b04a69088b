//! Latencies in few bytes: a sketch (DDSketch, arXiv 1908.10693) whose quantiles are within 1 %
//! of those of what went in, and stay so when sketches are merged, in any order.
//!
//! Sparse, because windows are short: a bin is there once something fell into it. Bounds are
//! fixed, so that all digests can be merged, and one that is read takes no more than one that was
//! made here.

use std::time::Duration;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Relative error of every quantile.
const ACCURACY: f64 = 0.01;
/// Ratio of the bounds of a bin.
const GAMMA: f64 = (1.0 + ACCURACY) / (1.0 - ACCURACY);
/// The bin of 1 µs and all that is shorter.
const FIRST: i16 = -690;
/// The bin of a day and all that is longer.
const LAST: i16 = 569;

/// Counts of latencies by bins: bin `i` holds those above γ^(i-1) and up to γ^i seconds, with
/// γ = 1.01 / 0.99.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest {
    /// By bin, ascending, none of them empty.
    bins: Vec<Bin>,
}

/// A bin and how much is in it.
pub type Bin = (i16, u32);

impl Digest {
    /// The most bins that a digest can have.
    pub const MOST_BINS: usize = (LAST - FIRST) as usize + 1;

    /// A digest of `bins`; `None` unless they ascend, are within bounds, and none is empty.
    pub fn of(bins: impl IntoIterator<Item = Bin>) -> Option<Self> {
        let mut digest = Self::default();
        for (bin, count) in bins {
            let ascends = digest.bins.last().is_none_or(|(last, _)| *last < bin);
            if !ascends || !(FIRST..=LAST).contains(&bin) || count == 0 {
                return None;
            }
            digest.bins.push((bin, count));
        }
        Some(digest)
    }

    /// Takes in one latency.
    pub fn add(&mut self, latency: Duration) {
        let bin = (latency.as_secs_f64().ln() / GAMMA.ln()).ceil();
        // As the logarithm of 0 is minus infinity, it is the first bin too.
        self.put(bin.clamp(FIRST.into(), LAST.into()) as i16, 1);
    }

    /// Takes in all that went into `other`.
    pub fn merge(&mut self, other: &Self) {
        for (bin, count) in &other.bins {
            self.put(*bin, *count);
        }
    }

    fn put(&mut self, bin: i16, count: u32) {
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 = self.bins[at].1.saturating_add(count),
            Err(at) => self.bins.insert(at, (bin, count)),
        }
    }

    /// How much went in.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// What `share` (0 to 1) of all is no longer than, seconds: the latency of rank
    /// `share * (count - 1)`, rounded down, within 1 %. `None` of nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share.clamp(0.0, 1.0) * self.count().checked_sub(1)? as f64) as u64;
        let mut seen = 0;
        let bin = self.bins.iter().find(|(_, count)| {
            seen += u64::from(*count);
            seen > rank
        });
        bin.map(|(bin, _)| Self::seconds(*bin))
    }

    /// What all latencies of a bin are taken for, seconds: within 1 % of each.
    pub fn seconds(bin: i16) -> f64 {
        GAMMA.powi(bin.into()) * 2.0 / (1.0 + GAMMA)
    }

    /// Those that are not empty, ascending.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Digest", 2)?;
        fields.serialize_field("accuracy", &ACCURACY)?;
        fields.serialize_field("bins", &self.bins)?;
        fields.end()
    }
}

/// Reads a digest; what cannot be merged with others (another accuracy, bins that are none) is
/// taken for none.
pub fn told<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Digest>, D::Error> {
    #[derive(Deserialize)]
    struct Written {
        accuracy: f64,
        bins: Bins,
    }
    let written = Option::<Written>::deserialize(from)?;
    let same = written.filter(|written| written.accuracy == ACCURACY);
    Ok(same.and_then(|written| Digest::of(written.bins.0)))
}

/// Bins as written: of too many none are kept.
struct Bins(Vec<Bin>);

impl<'de> Deserialize<'de> for Bins {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Bins;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of [bin, count]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bins, A::Error> {
                let mut bins = Vec::new();
                while let Some(bin) = list.next_element::<Bin>()? {
                    if bins.len() <= Digest::MOST_BINS {
                        bins.push(bin);
                    }
                }
                Ok(Bins(bins))
            }
        }
        from.deserialize_seq(All)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(nanos: &[u64]) -> Digest {
        let mut digest = Digest::default();
        nanos.iter().for_each(|nanos| digest.add(Duration::from_nanos(*nanos)));
        digest
    }

    fn read(text: &str) -> Option<Digest> {
        told(&mut serde_json::Deserializer::from_str(text)).expect("JSON of a digest")
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_percent(
            nanos in prop::collection::vec(1_000u64..86_400_000_000_000, 1..300),
            share in 0.0f64..=1.0,
        ) {
            let mut sorted = nanos.clone();
            sorted.sort_unstable();
            let exact = sorted[(share * (sorted.len() - 1) as f64) as usize] as f64 / 1e9;
            let told = digest(&nanos).quantile(share).expect("not empty");
            prop_assert!((told - exact).abs() <= exact * 0.010_001, "{told} {exact}");
        }

        #[test]
        fn merged_digests_are_the_digest_of_all(
            left in prop::collection::vec(0u64..100_000_000_000, 0..50),
            right in prop::collection::vec(0u64..100_000_000_000, 0..50),
        ) {
            let mut merged = digest(&left);
            merged.merge(&digest(&right));
            prop_assert_eq!(&merged, &digest(&[left, right].concat()));
            let text = serde_json::to_string(&merged).expect("it has a form");
            prop_assert_eq!(read(&text), Some(merged));
        }
    }

    #[test]
    fn the_shortest_and_the_longest_have_a_bin() {
        for nanos in [0, 1, 999, 86_400_000_000_000, u64::MAX] {
            let one = digest(&[nanos]);
            assert_eq!(Digest::of(one.bins().iter().copied()), Some(one));
        }
        let ends = [digest(&[1_000]), digest(&[86_400_000_000_000])];
        assert_eq!(ends.map(|it| it.bins()[0].0), [FIRST, LAST], "bounds are tight");
        assert_eq!(Digest::default().quantile(0.5), None);
    }

    #[test]
    fn one_form_is_read_and_what_cannot_be_merged_is_none() {
        let two = r#"{"accuracy":0.01,"bins":[[-345,3],[0,1]]}"#;
        assert_eq!(serde_json::to_string(&read(two)).expect("it has a form"), two);
        for other in [
            r#"{"accuracy":0.02,"bins":[[-345,3]]}"#,
            r#"{"accuracy":0.01,"bins":[[0,1],[-345,3]]}"#,
            r#"{"accuracy":0.01,"bins":[[0,1],[0,3]]}"#,
            r#"{"accuracy":0.01,"bins":[[0,0]]}"#,
            r#"{"accuracy":0.01,"bins":[[570,1]]}"#,
            "null",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        let many = vec![[0, 1]; 100_000];
        let many = serde_json::json!({ "accuracy": 0.01, "bins": many }).to_string();
        assert_eq!(read(&many), None);
        let full = (FIRST..=LAST).map(|bin| [i64::from(bin), 1]).collect::<Vec<_>>();
        let full = serde_json::json!({ "accuracy": 0.01, "bins": full }).to_string();
        assert_eq!(read(&full).map(|it| it.count()), Some(Digest::MOST_BINS as u64));
    }
}
