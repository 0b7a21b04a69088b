//! Durations and sizes as people write them: `1m30s`, `64KiB`.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Parses a duration: numbers with `h`, `m`, `s` or `ms`, the larger unit first, each once; a
/// number may have a fraction (`1.5s`) that is a whole number of milliseconds. `None` otherwise.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = 0u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        let (_, unit) = units.find(|(unit, _)| *unit == name)?;
        total = total.checked_add(times(number, *unit)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(total))
}

/// `number`, maybe with a fraction, times `unit`; `None` unless that is whole.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.ends_with('.') || fraction.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(fraction.len() as u32);
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<u64>().ok()?.checked_mul(unit)?,
    };
    (part % scale == 0).then_some(())?;
    whole.checked_add(part / scale)
}

/// Writes a duration so that [`parse_duration`] reads it back; finer than 1 ms is cut off.
pub fn print_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis() as u64;
    if rest == 0 {
        return "0s".to_owned();
    }
    if rest < 60_000 && !rest.is_multiple_of(1000) {
        return format!("{rest}ms");
    }
    let mut text = String::new();
    for (name, unit) in UNITS {
        if rest >= unit {
            text += &format!("{}{name}", rest / unit);
            rest %= unit;
        }
    }
    text
}

/// Parses a size: bytes, or a whole number with `KiB`, `MiB` or `GiB`. `None` otherwise.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let suffixed =
        SIZES.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)));
    let (number, unit) = suffixed.unwrap_or((text, 1));
    let digits = number.chars().all(|c| c.is_ascii_digit());
    digits.then(|| number.parse::<u64>().ok())??.checked_mul(unit)
}

/// Writes a size so that [`parse_size`] reads it back.
pub fn print_size(bytes: u64) -> String {
    SIZES
        .iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit))
        .map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("1500ms", 1500),
            ("5s", 5000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1.5s", 1500),
            ("0.001s", 1),
            ("1h1ms", 3_600_001),
            (" 2s ", 2000),
            ("0s", 0),
        ] {
            let expected = Some(Duration::from_millis(millis));
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "5 minutes",
            "-5s",
            "1s1s",
            "30s1m",
            "0.5ms",
            "1.s",
            ".5s",
            "1.2.3s",
            "1d",
            "5S",
            "99999999999999999999s",
            "9999999999999999h",
            "0.0000000001s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("64KiB", 65536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30), ("10", 10)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "KiB", "64kb", "64K", "-1", "+1", "1.5KiB", "99999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_quantities_read_back(millis in 0u64..100_000_000_000, bytes in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Some(duration));
            prop_assert_eq!(parse_size(&print_size(bytes)), Some(bytes));
            prop_assert_eq!(parse_size(&print_size(bytes << 20 >> 20 << 20)), Some(bytes << 20 >> 20 << 20));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
