//! Random numbers, the same in every run.

/// SplitMix64 (Steele, Lea, Flood 2014): all that a simulation needs.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to 1, never 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn fails(&mut self, rate: f64) -> bool {
        self.unit() < rate
    }

    /// Successes before the next failure.
    pub(crate) fn gap(&mut self, rate: f64) -> u64 {
        ((1.0 - self.unit()).ln() / (1.0 - rate).ln()) as u64
    }

    /// Normally distributed (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}
