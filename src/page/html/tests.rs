//! What a page says, and that nothing that others wrote becomes a part of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::analysis::{Slow, SlowPath};
use crate::diagnosis::{self, Diagnosis, FaultWord};
use crate::evidence::Newest;
use crate::failure::Reason;
use crate::gate::Standing;
use crate::incident::Incident;
use crate::observation::{Expected, Observation, Verdicts};
use crate::page::known::Node;
use crate::page::lines::lines;
use crate::page::paths::{Paths, RowKey};
use crate::target::{ProbeKind, Vantage};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const EVIL: &str = "\"><img src=x onerror=alert(1)><script>alert('&')</script>\u{202e}\u{7}";

fn diagnosis(component: &str, text: &str) -> Diagnosis {
    Diagnosis {
        component: component.to_owned(),
        fault: FaultWord::Dead,
        since: Some(NOW),
        confidence: 0.999,
        evidence: vec![text.to_owned()],
        next: text.to_owned(),
        alternatives: Vec::new(),
    }
}

/// A mesh of two nodes of which one is called `name`, as everything else is.
fn known(name: &str) -> Known {
    let names = [name.to_owned(), "node-2".to_owned()];
    let mut paths = Paths::default();
    for (from, to) in [(0, 1), (1, 0)] {
        for (row, violated) in [("peer", 1), (name, 0)] {
            let newest = Newest {
                name: &format!("{row}/{}", names[to]),
                target: "peer",
                destination_node: Some(&names[to]),
                expect: Expected::Reply,
                verdicts: Verdicts { met: 1 - violated, violated, inconclusive: 0 },
                ended_at: NOW,
                rhythm: None,
            };
            paths.add((&names[from], Vantage::Ambient), &newest, true, NOW);
        }
    }
    let node = |node: &String| {
        let age = Some(Duration::ZERO);
        let agent = |vantage| Standing { node: node.clone(), vantage, linked: true, age };
        let node = Node {
            zone: Some(name.to_owned()),
            ready: Some(true),
            agents: Vantage::ALL.map(agent).into(),
        };
        (node.agents[0].node.clone(), node)
    };
    let incident = Incident {
        id: 1,
        component: format!("ztunnel/{name}"),
        fault: name.to_owned(),
        since: NOW,
        opened_at: NOW,
        seen_at: NOW,
        closed_at: None,
        confidence: 0.9,
        summary: name.to_owned(),
    };
    let report = diagnosis::Report {
        diagnoses: vec![diagnosis(&format!("ztunnel/{name}"), name), diagnosis(name, name)],
        conclusive_attempts: 4,
        broken_paths: 2,
        ..diagnosis::Report::default()
    };
    let slow = SlowPath {
        source_node: name.to_owned(),
        vantage: Some(Vantage::Ambient),
        target: name.to_owned(),
        destination_node: None,
        since: NOW,
        replies: 20,
        slow_replies: 18,
        usual_p99_seconds: 0.0081,
    };
    Known {
        blind: None,
        concluded: Some((NOW, report)),
        slow: Slow { paths: 1, since: Some(NOW), common: Some(name.to_owned()), worst: vec![slow] },
        open: vec![incident],
        nodes: names.iter().map(node).collect(),
        namespaces: vec![name.to_owned()],
        paths,
        caveats: vec![name.to_owned()],
        ..Known::blind("", NOW)
    }
}

fn windows(name: &str) -> Vec<Observation> {
    vec![Observation {
        source_node: name.to_owned(),
        vantage: Some(Vantage::Ambient),
        probe: ProbeKind::Http,
        target: name.to_owned(),
        name: Some(format!("peer/{name}")),
        destination_node: Some(name.to_owned()),
        via: None,
        expect: Expected::Reply,
        window_start: NOW,
        window_seconds: 10,
        attempts: 1,
        verdicts: Verdicts { violated: 1, ..Verdicts::default() },
        reasons: BTreeMap::from([(Reason::Refused, 1)]),
        latency_seconds: None,
        digest: None,
    }]
}

fn page(known: &Known, gate: Result<Report, String>, query: &Query) -> String {
    let windows = windows(query.name.as_deref().unwrap_or("node-2"));
    let lines = lines(&windows, known);
    let facts = Facts { known, gate: Some(&gate), lines: &lines };
    document(&render(&facts, query), query, true)
}

fn evil_pages() -> Vec<String> {
    let known = known(EVIL);
    let overview = Query {
        row: Some(RowKey { vantage: Vantage::Ambient, name: EVIL.to_owned() }),
        namespace: Some(EVIL.to_owned()),
        mistakes: vec![EVIL.to_owned()],
        ..Query::default()
    };
    let zoned = overview.toggled(true, EVIL);
    let node = Query::default().node(EVIL);
    let target = Query::default().target(Vantage::Ambient, &format!("peer/{EVIL}"));
    let missing = Query::default().node(&format!("{EVIL}?"));
    let queries = [overview, zoned, node, target, missing];
    queries.iter().map(|query| page(&known, Err(EVIL.to_owned()), query)).collect()
}

#[test]
fn names_that_are_html_stay_text_wherever_they_are_shown() {
    for page in evil_pages() {
        assert!(!page.contains("<img") && !page.contains("<script>"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "the page's own");
        // What closes an attribute is the page's own, too.
        assert!(!page.contains("\"&gt;&lt;img"), "{page}");
        assert!(!page.contains("\"><img"), "{page}");
    }
}

#[test]
fn nothing_turns_the_text_around_it_or_hides_in_it() {
    for page in evil_pages() {
        assert!(!page.contains(['\u{202e}', '\u{7}']), "{page}");
    }
}

#[test]
fn everything_that_runs_or_is_drawn_is_the_pages_own() {
    for page in evil_pages() {
        for inline in [" style=", " onclick=", " onload=", "javascript:", "http://", "https://"] {
            assert!(!page.contains(inline), "{inline} in {page}");
        }
    }
}

#[test]
fn the_first_heading_is_the_verdict_with_its_time() {
    let page = page(&known("node-1"), Err("too early".to_owned()), &Query::default());
    let heading = page.find("<h1>").expect("a heading");
    let heading = &page[heading..heading + 200];
    assert!(heading.starts_with("<h1>ztunnel on node-1 is dead"), "{heading}");
    assert!(heading.contains("since <time datetime=\"1970-01-01T00:00:00Z\">00:00:00 UTC"));
    assert!(page.contains("99 % sure"), "never rounded up to certainty");
    assert!(page.contains("STRICT: unknown") && page.contains("too early"));
    assert!(page.contains("1 path takes longer than it did since 1970-01-01T00:00:00Z"));
    assert_eq!(page.matches("aria-live").count(), 1);
}

#[test]
fn a_cell_says_in_words_what_it_shows_and_leads_on() {
    let page = page(&known("node-1"), Err(String::new()), &Query::default());
    let link = "href=\"target?name=peer%2Fnode-2&amp;vantage=ambient\">\
                <span aria-hidden=\"true\">×</span><span class=\"sr\">violated</span></a>";
    assert!(page.contains(link), "{page}");
    assert!(page.contains("<th class=\"node\" scope=\"col\">"), "{page}");
}

#[test]
fn what_is_asked_by_a_shortened_name_is_shown_without_a_link() {
    let long = "n".repeat(125);
    let known = known(&long);
    let peer = RowKey { vantage: Vantage::Ambient, name: "peer".to_owned() };
    let shown = page(&known, Err(String::new()), &Query::default().with_row(&peer));
    assert!(shown.contains("<a id=\"cell-1-0\"><span aria-hidden"), "{shown}");
    assert!(shown.contains("target?name=peer%2Fnode-2&amp;"), "the other way fits");
    let node = page(&known, Err(String::new()), &Query::default().node(&long));
    let (_, seen) = node.split_once("id=\"seen\"").expect("what others see of it");
    assert!(seen.contains("<a>ambient peer</a>") && !seen.contains("target?name="), "{seen}");
}

#[test]
fn what_nobody_told_is_never_shown_as_met() {
    let nothing = Known { blind: None, ..Known::blind("", NOW) };
    let page = page(&nothing, Err("not read".to_owned()), &Query::default());
    assert!(page.contains("unknown: nothing was concluded yet"), "{page}");
    assert!(!page.contains("class=\"m\"") && !page.contains("tone m"), "{page}");
}
