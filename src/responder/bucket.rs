//! A token bucket: how many requests per second are served. Time is an argument.

use tokio::time::Instant;

/// Holds one second's worth of tokens; full at the start.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: per_second.into(), tokens: per_second.into(), filled: now }
    }

    /// Takes a token, if there is a whole one at `now`.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second);
        self.filled = self.filled.max(now);
        let whole = self.tokens >= 1.0;
        if whole {
            self.tokens -= 1.0;
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(bucket: &mut Bucket, now: Instant, tries: u32) -> u32 {
        (0..tries).filter(|_| bucket.take(now)).count() as u32
    }

    #[test]
    fn a_burst_gets_one_second_worth_and_no_more() {
        let now = Instant::now();
        assert_eq!(taken(&mut Bucket::new(5, now), now, 100), 5);
    }

    #[test]
    fn tokens_come_back_at_the_rate_and_never_pile_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        assert_eq!(taken(&mut bucket, start, 100), 10);
        let later = start + Duration::from_millis(350);
        assert_eq!(taken(&mut bucket, later, 100), 3);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(taken(&mut bucket, much_later, 100), 10);
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, start + Duration::from_secs(10));
        assert!(bucket.take(start + Duration::from_secs(10)));
        assert!(!bucket.take(start));
        assert!(!bucket.take(start + Duration::from_secs(10)));
    }
}
