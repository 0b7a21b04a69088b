//! What of each window was already taken: a window is told again while it grows.

/// Windows that are remembered. With windows of 10 s and the longest attempts of a frozen ztunnel
/// (23 s) none still grows that is older than four others.
const KEPT: usize = 4;

/// Counts of a window so far; above 65,535 they stand still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) met: u16,
    pub(super) violated: u16,
    pub(super) inconclusive: u16,
    /// Met ones that were slow.
    pub(super) slow: u16,
    /// Met ones that were very slow.
    pub(super) very_slow: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    start: u32,
    counts: Counts,
}

/// The newest windows of a path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    windows: [Window; KEPT],
}

impl Taken {
    /// What is new in `told` of the window that began at `start`, seconds since 1970. Nothing, when
    /// it is older than what is remembered or says less than before.
    pub(super) fn news(&mut self, start: u32, told: Counts) -> Counts {
        let known = self.windows.iter_mut().find(|window| window.start == start);
        let window = match known {
            Some(window) => window,
            None => {
                let oldest = self.windows.iter_mut().min_by_key(|window| window.start);
                let oldest = oldest.expect("there are some");
                if oldest.start > start {
                    return Counts::default();
                }
                *oldest = Window { start, counts: Counts::default() };
                oldest
            }
        };
        let before = window.counts;
        let news = |told: u16, before: u16| told.saturating_sub(before);
        let most = |told: u16, before: u16| told.max(before);
        window.counts = both(told, before, most);
        both(told, before, news)
    }
}

fn both(a: Counts, b: Counts, of: impl Fn(u16, u16) -> u16) -> Counts {
    Counts {
        met: of(a.met, b.met),
        violated: of(a.violated, b.violated),
        inconclusive: of(a.inconclusive, b.inconclusive),
        slow: of(a.slow, b.slow),
        very_slow: of(a.very_slow, b.very_slow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(met: u16, violated: u16) -> Counts {
        Counts { met, violated, ..Counts::default() }
    }

    #[test]
    fn a_window_counts_once_however_often_it_is_told() {
        let mut taken = Taken::default();
        assert_eq!(taken.news(10, counts(1, 0)), counts(1, 0));
        assert_eq!(taken.news(10, counts(1, 0)), counts(0, 0));
        assert_eq!(taken.news(10, counts(2, 1)), counts(1, 1));
        assert_eq!(taken.news(20, counts(1, 0)), counts(1, 0));
        assert_eq!(taken.news(10, counts(3, 1)), counts(1, 0), "it still grew");
        assert_eq!(taken.news(10, counts(1, 0)), counts(0, 0), "an older telling comes late");
        assert_eq!(taken.news(10, counts(3, 1)), counts(0, 0));
    }

    #[test]
    fn what_is_older_than_is_remembered_tells_nothing_new() {
        let mut taken = Taken::default();
        for start in (100..170).step_by(10) {
            taken.news(start, counts(1, 0));
        }
        assert_eq!(taken.news(100, counts(1, 0)), counts(0, 0));
    }
}
