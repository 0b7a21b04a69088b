//! Names of targets: of any text, and still a label's value.

use crate::target::{SubjectName, TargetName};
use crate::topology::score;

/// `parts` in a row as a target's name. What no name may contain becomes `-`; a name that was
/// changed or is too long ends in a hash of what it was.
pub(super) fn target_name(parts: &[&str]) -> TargetName {
    let text = parts.concat();
    text.parse().unwrap_or_else(|_| fitted(&text, TargetName::LONGEST).parse().expect("fitted"))
}

/// `parts` in a row as a subject's name, mended as a target's is.
pub(super) fn subject_name(parts: &[&str]) -> SubjectName {
    let text = parts.concat();
    let longest = SubjectName::LONGEST;
    text.parse().unwrap_or_else(|_| fitted(&text, longest).parse().expect("fitted"))
}

/// Allowed characters only, `longest` of them at most.
fn fitted(text: &str, longest: usize) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
    let clean = text.chars().map(|c| if allowed(c) { c } else { '-' });
    let hash = format!("-{:016x}", score(&[text]));
    let kept: String = clean.take(longest - hash.len()).collect();
    format!("{kept}{hash}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_that_differ_stay_different(left in "\\PC{0,200}", right in "\\PC{0,200}") {
            let [one, other] = [&left, &right].map(|text| target_name(&["peer/", text]));
            prop_assert_eq!(one == other, left == right);
            let [one, other] = [&left, &right].map(|text| subject_name(&["coredns/", text]));
            prop_assert_eq!(one == other, left == right);
        }
    }

    #[test]
    fn a_fitting_name_is_left_as_it_is() {
        assert_eq!(target_name(&["peer/", "node-1"]).as_str(), "peer/node-1");
        let long = "x".repeat(123);
        assert_eq!(target_name(&["peer/", &long]).as_str(), format!("peer/{long}"));
        let longer = target_name(&["peer/", &long, "x"]);
        assert_eq!(longer.as_str().len(), TargetName::LONGEST);
        assert!(longer.as_str().starts_with("peer/xxx"));
    }
}
