//! What a page is asked for, and links to other pages. Pure.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use url::form_urlencoded::{self, Serializer};

use crate::gate::Scope;
use crate::gate::answer::Ask;
use crate::page::matrix::Opened;
use crate::page::paths::RowKey;
use crate::target::{TargetName, Vantage};

/// Zones that may be open at once.
const MOST_OPEN: usize = 40;
/// Longest value that is read.
const LONGEST: usize = 512;

/// Which page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum View {
    /// Everything at a glance.
    #[default]
    Overview,
    /// One node.
    Node,
    /// One target.
    Target,
}

/// What a page is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// Which page.
    pub(super) view: View,
    /// The row of the truth table that is shown.
    pub(super) row: Option<RowKey>,
    /// Which zones are open.
    pub(super) opened: Opened,
    /// The namespace of which the gate is shown; the mesh's without one.
    pub(super) namespace: Option<String>,
    /// The instant that is asked about; now without one.
    pub(super) at: Option<OffsetDateTime>,
    /// The name of a node or a target.
    pub(super) name: Option<String>,
    /// The side of the mesh that asks a target.
    pub(super) vantage: Option<Vantage>,
    /// What could not be read, each in a sentence; the rest is used.
    pub(super) mistakes: Vec<String>,
}

impl View {
    const ALL: [Self; 3] = [Self::Overview, Self::Node, Self::Target];

    /// The page at `path`.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|view| path.strip_prefix('/') == Some(view.path()))
    }

    /// Its path without the slash: links are relative, so that the page may stand behind a prefix.
    fn path(self) -> &'static str {
        match self {
            Self::Overview => "",
            Self::Node => "node",
            Self::Target => "target",
        }
    }
}

impl Query {
    /// Reads the query of `view`; for events `view=` in it names the view.
    pub(super) fn read(view: View, text: &str) -> Self {
        let mut query = Self { view, ..Self::default() };
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            if value.len() > LONGEST {
                query.mistakes.push(format!("{key}: longer than {LONGEST} bytes, and left out"));
                continue;
            }
            if let Err(problem) = query.take(&key, &value) {
                query.mistakes.push(problem);
            }
        }
        query
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let told = |what: &str| Err(format!("{key}={value:?}: {what}"));
        // A form sends what was left empty.
        if value.is_empty() && !["from", "to"].contains(&key) {
            return Ok(());
        }
        match key {
            "view" => match View::ALL.into_iter().find(|view| view.path() == value) {
                Some(view) => self.view = view,
                None => return told("write node or target"),
            },
            "row" => match RowKey::read(value) {
                Some(row) => self.row = Some(row),
                None => return told("write VANTAGE.ROW, such as ambient.peer"),
            },
            "from" | "to" => {
                let Opened { from, to } = &mut self.opened;
                let zones = if key == "from" { from } else { to };
                if zones.len() >= MOST_OPEN {
                    return told("too many zones are open");
                }
                zones.insert(value.to_owned());
            }
            "namespace" => match Ask::read(&serialized(&[(key, value)]), Default::default()) {
                Ok(_) => self.namespace = Some(value.to_owned()),
                Err(problem) => return Err(problem.to_string()),
            },
            "at" => match instant(value) {
                Some(at) => self.at = Some(at),
                None => {
                    return told("write an instant of RFC 3339, such as 2026-01-02T03:04:05Z");
                }
            },
            "name" => self.name = Some(value.to_owned()),
            "vantage" => match value.parse() {
                Ok(vantage) => self.vantage = Some(vantage),
                Err(_) => return told("write ambient or plain"),
            },
            _ => return told("no such key"),
        }
        Ok(())
    }

    /// Whose gate is asked for.
    pub(super) fn scope(&self) -> Scope {
        self.namespace.as_deref().map_or(Scope::Mesh, Scope::of)
    }

    /// A link to this page.
    pub(super) fn link(&self) -> String {
        let query = self.text(false);
        match (self.view.path(), query.is_empty()) {
            ("", true) => "./".to_owned(),
            (path, true) => path.to_owned(),
            (path, false) => format!("{path}?{query}"),
        }
    }

    /// Where its changes are told.
    pub(super) fn events(&self) -> String {
        format!("events?{}", self.text(true))
    }

    fn text(&self, names_view: bool) -> String {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        if names_view && self.view != View::Overview {
            pairs.push(("view", self.view.path().to_owned()));
        }
        pairs.extend(self.row.as_ref().map(|row| ("row", row.to_word())));
        pairs.extend(self.opened.from.iter().map(|zone| ("from", zone.clone())));
        pairs.extend(self.opened.to.iter().map(|zone| ("to", zone.clone())));
        pairs.extend(self.namespace.clone().map(|namespace| ("namespace", namespace)));
        pairs.extend(self.at.and_then(|at| Some(("at", at.format(&Rfc3339).ok()?))));
        pairs.extend(self.name.clone().map(|name| ("name", name)));
        pairs.extend(self.vantage.map(|vantage| ("vantage", vantage.to_string())));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, it)| (*key, it.as_str())).collect();
        serialized(&pairs)
    }

    /// The overview with `row` shown.
    #[must_use]
    pub(super) fn with_row(&self, row: &RowKey) -> Self {
        Self { row: Some(row.clone()), ..self.overview() }
    }

    /// The overview with a zone of those who ask (`asks`) or are asked opened, or closed.
    #[must_use]
    pub(super) fn toggled(&self, asks: bool, zone: &str) -> Self {
        let mut other = self.overview();
        let zones = if asks { &mut other.opened.from } else { &mut other.opened.to };
        if !zones.remove(zone) {
            zones.insert(zone.to_owned());
        }
        other
    }

    /// The overview that this belongs to, with nothing left of what could not be read.
    #[must_use]
    pub(super) fn overview(&self) -> Self {
        let it = self.clone();
        Self { view: View::Overview, name: None, vantage: None, mistakes: Vec::new(), ..it }
    }

    /// The page of a node.
    #[must_use]
    pub(super) fn node(&self, name: &str) -> Self {
        Self { view: View::Node, at: self.at, name: Some(name.to_owned()), ..Self::default() }
    }

    /// The page of what the row `key` asks of `far`; `None` when the target's name may be another, as
    /// too long ones are shortened.
    pub(super) fn asked(&self, key: &RowKey, far: &str) -> Option<Self> {
        let name = format!("{}/{far}", key.name);
        (name.len() <= TargetName::LONGEST).then(|| self.target(key.vantage, &name))
    }

    /// The page of a target that agents on one side of the mesh ask.
    #[must_use]
    pub(super) fn target(&self, vantage: Vantage, name: &str) -> Self {
        let (name, vantage) = (Some(name.to_owned()), Some(vantage));
        Self { view: View::Target, at: self.at, name, vantage, ..Self::default() }
    }
}

/// An instant of RFC 3339, in UTC: what is shown says no other offset.
fn instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)
}

fn serialized(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_link_leads_where_it_came_from(
            zones in proptest::collection::btree_set("\\PC{0,9}", 0..4), row in "\\PC{1,9}",
        ) {
            let opened = Opened { from: zones.clone(), to: zones };
            let row = Some(RowKey { vantage: Vantage::Plain, name: row });
            let query = Query { row, opened, ..Query::default() };
            let link = query.link();
            prop_assert_eq!(Query::read(View::Overview, &link[1..]), query);
        }

        #[test]
        fn a_page_of_any_name_is_found_again(name in "\\PC{1,99}") {
            let query = Query::default().target(Vantage::Ambient, &name);
            let link = query.link();
            let (path, text) = link.split_once('?').expect("a query");
            let view = View::at(&format!("/{path}")).expect("a page");
            prop_assert_eq!(Query::read(view, text), query.clone());
            let events = query.events();
            let (_, text) = events.split_once('?').expect("a query");
            prop_assert_eq!(Query::read(View::Overview, text), query);
        }
    }

    #[test]
    fn each_mistake_is_told_and_the_rest_is_used() {
        let text = "row=peer&at=yesterday&vantage=x&colour=red&namespace=A_b&from=a&name=";
        let query = Query::read(View::Overview, text);
        assert_eq!(query.mistakes.len(), 5, "{:?}", query.mistakes);
        assert!(query.mistakes[1].contains("RFC 3339"), "{:?}", query.mistakes);
        assert_eq!((query.opened.from.len(), query.name), (1, None));
    }

    #[test]
    fn a_name_that_was_shortened_is_not_guessed() {
        let key = RowKey { vantage: Vantage::Plain, name: "peer".to_owned() };
        let asked = |letters| Query::default().asked(&key, &"x".repeat(letters));
        assert_eq!(
            asked(123),
            Some(Query::default().target(Vantage::Plain, &format!("peer/{}", "x".repeat(123))))
        );
        assert_eq!(asked(124), None);
    }

    #[test]
    fn an_instant_is_shown_in_utc_whatever_its_offset() {
        let query = Query::read(View::Overview, "at=2026-01-02T00:30:00%2B02:00");
        assert_eq!(
            (query.link(), query.mistakes.len()),
            ("?at=2026-01-01T22%3A30%3A00Z".to_owned(), 0)
        );
        let out_of_range = "at=9999-12-31T23:30:00-02:00";
        assert_eq!(Query::read(View::Overview, out_of_range).mistakes.len(), 1);
    }

    #[test]
    fn a_zone_is_opened_and_closed_again() {
        let query = Query::default();
        assert_eq!(query.link(), "./");
        assert_eq!(query.toggled(true, "a").link(), "?from=a");
        assert_eq!(query.toggled(true, "a").toggled(true, "a"), query);
        assert_eq!(query.node("n").toggled(false, "").link(), "?to=");
    }
}
