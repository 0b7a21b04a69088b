//! How much a count of failures says of the failure rate behind it: exact one-sided bounds
//! (Clopper and Pearson, 1934), by the beta distribution.
//!
//! Exact rather than Wilson's: its coverage is never below what is stated, also where there were no
//! failures at all, which is where a gate is asked. It takes attempts for independent; attempts that
//! fail together because one thing broke say less than the bound makes of them.

/// Attempts beyond which a bound is not looked for.
const MOST: u64 = 1 << 40;
/// Steps of a bisection: what is left is below what a double can tell.
const STEPS: u32 = 64;

/// The failure rate that `failures` of `attempts` leave possible at `confidence`: with that
/// probability the true one is not above it. 1 without attempts.
pub fn upper(failures: u64, attempts: u64, confidence: f64) -> f64 {
    let failures = failures.min(attempts);
    if attempts == failures {
        return 1.0;
    }
    if failures == 0 {
        return 1.0 - (1.0 - confidence).powf(1.0 / attempts as f64);
    }
    root(|rate| below(failures, attempts, rate) - confidence)
}

/// The failure rate that `failures` of `attempts` show at `confidence`: with that probability the
/// true one is not below it. 0 without failures.
pub fn lower(failures: u64, attempts: u64, confidence: f64) -> f64 {
    let failures = failures.min(attempts);
    if failures == 0 {
        return 0.0;
    }
    root(|rate| below(failures - 1, attempts, rate) - (1.0 - confidence))
}

/// Whether `failures` of `attempts` show at `confidence` that the failure rate is at most `rate`:
/// whether [`upper`] is.
pub fn proves(failures: u64, attempts: u64, rate: f64, confidence: f64) -> bool {
    attempts > failures && below(failures, attempts, rate) >= confidence
}

/// How many further attempts without a failure [`proves`] takes; 0 when it holds. `None` when no
/// number will do.
pub fn missing(failures: u64, attempts: u64, rate: f64, confidence: f64) -> Option<u64> {
    let enough = |more: u64| proves(failures, attempts + more, rate, confidence);
    if enough(0) {
        return Some(0);
    }
    if rate <= 0.0 {
        return None;
    }
    let mut most = 1;
    while !enough(most) {
        most *= 2;
        if most > MOST {
            return None;
        }
    }
    let mut least = most / 2;
    while most - least > 1 {
        let middle = least + (most - least) / 2;
        if enough(middle) {
            most = middle;
        } else {
            least = middle;
        }
    }
    Some(most)
}

/// The probability that of `attempts`, each failing with `rate`, more than `failures` fail.
fn below(failures: u64, attempts: u64, rate: f64) -> f64 {
    if failures >= attempts {
        return 0.0;
    }
    if failures == 0 {
        return 1.0 - (1.0 - rate).powf(attempts as f64);
    }
    incomplete_beta((failures + 1) as f64, (attempts - failures) as f64, rate)
}

/// Where `rising`, which grows from 0 to 1, is zero.
fn root(rising: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if rising(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The regularised incomplete beta function I_x(a, b), by its continued fraction.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return f64::from(u8::from(x >= 1.0));
    }
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    // The fraction converges fast below the mean of the distribution; above it the other tail is.
    if x < (a + 1.0) / (a + b + 2.0) {
        front.exp() * fraction(a, b, x) / a
    } else {
        1.0 - front.exp() * fraction(b, a, 1.0 - x) / b
    }
}

/// Lentz's evaluation of the continued fraction of the incomplete beta function.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const ENOUGH: f64 = 1e-14;
    let kept = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    // It needs about the square root of the larger of a and b.
    let rounds = 200 + (a.max(b)).sqrt() as u32 * 4;
    for round in 1..=rounds {
        let m = f64::from(round);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / kept(1.0 + term * d);
            c = kept(1.0 + term / c);
            step = c * d;
            result *= step;
        }
        if (step - 1.0).abs() < ENOUGH {
            break;
        }
    }
    result
}

/// ln Γ(x) for x ≥ 1, by Stirling's series: better than 1e-12 from 10 on, where smaller arguments
/// are taken by Γ(x + 1) = x Γ(x).
fn ln_gamma(mut x: f64) -> f64 {
    let mut taken = 0.0;
    while x < 10.0 {
        taken -= x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series =
        1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square;
    taken + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series / x
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-9 + 1e-6 * expected.abs()
    }

    /// The tail of the binomial distribution, term by term.
    fn tail(failures: u64, attempts: u64, rate: f64) -> f64 {
        let mut term = (1.0 - rate).powf(attempts as f64);
        let mut sum = 0.0;
        for k in 0..=failures {
            sum += term;
            term *= (attempts - k) as f64 / (k + 1) as f64 * rate / (1.0 - rate);
        }
        1.0 - sum
    }

    #[test]
    fn three_nines_at_ninety_five_percent_take_2995_attempts_without_a_failure() {
        assert_eq!(missing(0, 0, 0.001, 0.95), Some(2995));
        assert!(proves(0, 2995, 0.001, 0.95) && !proves(0, 2994, 0.001, 0.95));
        assert_eq!(missing(0, 2000, 0.001, 0.95), Some(995));
        assert_eq!(missing(1, 0, 0.001, 0.95), Some(4742));
        assert_eq!(missing(0, 0, 0.0, 0.95), None);
    }

    #[test]
    fn bounds_are_those_of_published_tables() {
        // One-sided 95 %: 10 attempts with 0, 1 and 5 failures.
        for (failures, expected) in [(0, 0.258_865), (1, 0.394_163), (5, 0.777_559)] {
            assert!((upper(failures, 10, 0.95) - expected).abs() < 1e-5, "{failures}");
        }
        assert!((lower(1, 10, 0.95) - 0.005_116).abs() < 1e-5);
        assert_eq!((upper(0, 0, 0.95), lower(0, 0, 0.95)), (1.0, 0.0));
        assert_eq!((upper(7, 7, 0.95), lower(0, 7, 0.95)), (1.0, 0.0));
    }

    #[test]
    fn the_beta_function_is_the_tail_of_the_binomial() {
        for (failures, attempts, rate) in
            [(1, 10, 0.3), (3, 100, 0.01), (20, 3000, 0.005), (500, 5000, 0.11), (2, 3, 0.9)]
        {
            let expected = tail(failures, attempts, rate);
            assert!(near(below(failures, attempts, rate), expected), "{failures}/{attempts}");
        }
    }

    proptest! {
        #[test]
        fn a_further_success_lowers_the_bound_and_a_failure_raises_it(
            attempts in 1u64..200_000, share in 0.0f64..1.0, confidence in 0.5f64..0.9999,
        ) {
            let failures = (attempts as f64 * share * share) as u64;
            let now = upper(failures, attempts, confidence);
            prop_assert!(upper(failures, attempts + 1, confidence) <= now + 1e-12);
            prop_assert!(upper(failures + 1, attempts + 1, confidence) >= now - 1e-12);
            prop_assert!(upper(failures, attempts, (confidence + 1.0) / 2.0) >= now - 1e-12);
            let rate = failures as f64 / attempts as f64;
            prop_assert!(lower(failures, attempts, confidence) <= rate + 1e-9 && rate <= now + 1e-9);
        }

        #[test]
        fn what_is_missing_is_exactly_what_it_takes(
            failures in 0u64..20, more in 0u64..5_000, rate in 0.0005f64..0.2,
        ) {
            let attempts = failures + more;
            let missing = missing(failures, attempts, rate, 0.95).expect("some number will do");
            prop_assert!(proves(failures, attempts + missing, rate, 0.95));
            prop_assert!(missing == 0 || !proves(failures, attempts + missing - 1, rate, 0.95));
        }
    }
}
