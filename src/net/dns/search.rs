//! How a relative name becomes the names that are asked (resolv.conf(5): `search`, `ndots`). Pure.

use hickory_proto::rr::Name;

use crate::failure::{Fault, Reason};

/// Suffixes for relative names, and when a name is tried without them first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchList {
    /// Suffixes, in order.
    pub domains: Vec<Name>,
    /// Names with fewer dots try the suffixes first.
    pub ndots: u8,
}

impl Default for SearchList {
    /// No suffixes: every name is taken as it is.
    fn default() -> Self {
        Self { domains: Vec::new(), ndots: 1 }
    }
}

impl SearchList {
    /// The list with suffixes as text. `nxdomain` when one of them can be no name.
    pub fn new(domains: &[String], ndots: u8) -> Result<Self, Fault> {
        let domains = domains.iter().map(|domain| absolute(domain));
        Ok(Self { domains: domains.collect::<Result<_, _>>()?, ndots })
    }

    /// The names to ask for `name`, in order, each once.
    ///
    /// A trailing dot takes the name as it is. A suffix that makes the name too long (RFC 1035:
    /// 255 octets) is passed over. `nxdomain` when `name` can be no name itself.
    pub fn expand(&self, name: &str) -> Result<Vec<Name>, Fault> {
        let bare = absolute(name)?;
        if name.ends_with('.') {
            return Ok(vec![bare]);
        }
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let suffixed =
            self.domains.iter().filter_map(|domain| bare.clone().append_domain(domain).ok());
        let mut names: Vec<Name> = suffixed.collect();
        if dots >= usize::from(self.ndots) {
            names.insert(0, bare);
        } else {
            names.push(bare);
        }
        let mut distinct: Vec<Name> = Vec::with_capacity(names.len());
        for name in names {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        Ok(distinct)
    }
}

/// `text` as a fully qualified name, byte for byte. `nxdomain` when it can be none.
pub fn absolute(text: &str) -> Result<Name, Fault> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() && !text.is_empty() {
        return Ok(Name::root());
    }
    Name::from_labels(bare.split('.').map(str::as_bytes)).map_err(|_| {
        Fault::new(
            Reason::Nxdomain,
            format!("`{text}` can be no DNS name: labels of 1 to 63 bytes, 255 in all"),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(list: &SearchList, name: &str) -> Vec<String> {
        let names = list.expand(name).expect("valid");
        names.iter().map(crate::net::dns::text::name).collect()
    }

    fn pod() -> SearchList {
        let domains = ["ns.svc.cluster.local", "svc.cluster.local.", "corp"];
        SearchList::new(&domains.map(str::to_owned), 5).expect("valid")
    }

    #[test]
    fn few_dots_try_the_suffixes_first() {
        assert_eq!(
            texts(&pod(), "istiod.istio-system"),
            [
                "istiod.istio-system.ns.svc.cluster.local.",
                "istiod.istio-system.svc.cluster.local.",
                "istiod.istio-system.corp.",
                "istiod.istio-system.",
            ]
        );
    }

    #[test]
    fn a_trailing_dot_is_asked_as_it_is() {
        assert_eq!(texts(&pod(), "istiod."), ["istiod."]);
        assert_eq!(texts(&pod(), "."), ["."]);
    }

    #[test]
    fn the_root_as_suffix_is_not_asked_twice() {
        let list = SearchList::new(&[".".to_owned()], 1).expect("valid");
        assert_eq!(texts(&list, "host"), ["host."]);
    }

    #[test]
    fn what_can_be_no_name_is_told() {
        let long = "a".repeat(64);
        for text in ["", "..", "a..b", ".a", long.as_str()] {
            assert!(pod().expand(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_suffix_that_makes_the_name_too_long_is_passed_over() {
        let name = ["a"; 120].join(".");
        assert_eq!(texts(&pod(), &name).len(), 2, "bare and .corp");
    }

    proptest! {
        #[test]
        fn every_name_is_asked_once_and_bare_comes_first_or_last_by_its_dots(
            labels in prop::collection::vec("[a-z0-9_-]{1,12}", 1..7),
            domains in prop::collection::vec("[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", 0..6),
            ndots in 0_u8..=15,
        ) {
            let name = labels.join(".");
            let asked = texts(&SearchList::new(&domains, ndots).expect("valid"), &name);
            let bare = format!("{name}.");
            let bare_first = labels.len() > usize::from(ndots);
            let position = if bare_first { 0 } else { asked.len() - 1 };
            prop_assert_eq!(&asked[position], &bare);
            let mut suffixes: Vec<String> = Vec::new();
            for domain in &domains {
                let full = format!("{name}.{domain}.");
                if !suffixes.contains(&full) {
                    suffixes.push(full);
                }
            }
            let rest: Vec<_> = asked.iter().filter(|asked| **asked != bare).cloned().collect();
            prop_assert_eq!(rest, suffixes);
            prop_assert_eq!(asked.iter().filter(|asked| **asked == bare).count(), 1);
        }

        #[test]
        fn any_text_expands_or_is_told(text in ".{0,300}") {
            let _ = pod().expand(&text);
        }
    }
}
