//! SLOs of OpenSLO v1 that ask what ours can say: a `ratioMetric` over agents' own counters.
//!
//! Reads one document or several; what does not fit is a mistake with its place, never dropped.

use std::collections::BTreeMap;

use crate::config::decode::{Book, Field, Fields};
use crate::config::mistake::Mistake;
use crate::config::node::{MAX_BYTES, Node};
use crate::slo::{Objective, Slo, Window};

mod query;

/// Whatever of OpenSLO is here for readers and tools, and says nothing of what is counted.
const IGNORED: [&str; 3] = ["labels", "annotations", "displayName"];
/// Kinds beside an SLO that may stand in a file, and of which nothing is taken.
const OTHERS: [&str; 4] = ["Service", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"];

/// The SLOs in `text` (YAML, documents apart by `---`), or everything that does not fit.
pub fn import(text: &str) -> Result<Vec<Slo>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut slos: Vec<Slo> = Vec::new();
    for (first_line, document) in documents(text) {
        let root = match Node::read(document, MAX_BYTES) {
            Ok(root) => root,
            Err(mistake) => {
                mistakes.push(moved(mistake, first_line));
                continue;
            }
        };
        let book = Book::default();
        let root = Field::root(&root, &book);
        let found = slo(&root);
        if let Some(slo) = &found
            && slos.iter().any(|other| other.name == slo.name)
        {
            root.unvalued(format!("{} is the name of two SLOs", slo.name), "rename one of them");
        }
        slos.extend(found);
        let told = book.mistakes.into_sorted().into_iter();
        mistakes.extend(told.map(|mistake| moved(mistake, first_line)));
    }
    if slos.is_empty() && mistakes.is_empty() {
        mistakes.push(Mistake::of_text("there is no SLO", "give a document of kind SLO"));
    }
    if mistakes.is_empty() { Ok(slos) } else { Err(mistakes) }
}

/// Documents that are not empty, with the number of lines before each.
fn documents(text: &str) -> Vec<(u32, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_end() == "---" {
            documents.push((first, &text[start..at]));
            start = at + line.len();
            first = number as u32 + 1;
        }
        at += line.len();
    }
    documents.push((first, &text[start..]));
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    documents.retain(|(_, document)| document.lines().any(says));
    documents
}

fn moved(mistake: Mistake, lines: u32) -> Mistake {
    let line = if mistake.line > 0 { mistake.line + lines } else { 0 };
    Mistake { line, ..mistake }
}

/// The SLO of a document; `None` also when it is another object.
fn slo(root: &Field<'_>) -> Option<Slo> {
    let mut fields = root.fields();
    let version = fields.require("apiVersion", "write openslo/v1")?;
    if !version.is_word("openslo/v1") {
        version.wrong("is not known", "write openslo/v1");
        return None;
    }
    let kind = fields.require("kind", "write SLO")?;
    if OTHERS.iter().any(|other| kind.is_word(other)) {
        return None;
    }
    if !kind.is_word("SLO") {
        let fix = "give an SLO with its indicator in it; services and alerts are passed over";
        kind.wrong("cannot be imported", fix);
        return None;
    }
    let name = fields.require("metadata", "write metadata: {name: …}").and_then(|field| {
        let mut metadata = field.fields();
        let name = metadata.require("name", "write a name");
        pass(&mut metadata);
        metadata.finish();
        name?.parse("an SLO's name")
    });
    let spec = fields.require("spec", "write what is promised");
    fields.finish();
    let spec = spec?;
    let mut fields = spec.fields();
    let description = fields.take("description").and_then(|field| field.filled());
    for key in ["service", "alertPolicies"] {
        fields.take(key);
    }
    if let Some(method) = fields.take("budgetingMethod")
        && !method.is_word("Occurrences")
    {
        method.wrong("is no budget of ours", "write Occurrences: each attempt counts once");
    }
    let window = fields.require("timeWindow", "write - {duration: 30d, isRolling: true}");
    let window = window.and_then(|field| window_of(&field));
    let objective = fields.require("objectives", "write - {target: 0.999}");
    let objective = objective.and_then(|field| objective_of(&field));
    if let Some(elsewhere) = fields.take("indicatorRef") {
        elsewhere.wrong("is in another object", "write the indicator into the SLO");
    } else if let Some(indicator) = fields.require("indicator", "write a ratioMetric") {
        let counted = ratio(&indicator).and_then(|(good, total)| query::counted(&good, &total));
        fields.finish();
        let (sli, select) = counted?;
        return Some(Slo {
            name: name?,
            description: description.map(|text| text.trim().to_owned()),
            objective: objective?,
            window: window?,
            sli,
            select,
            group_by: Vec::new(),
        });
    }
    fields.finish();
    None
}

fn pass(fields: &mut Fields<'_>) {
    for key in IGNORED {
        fields.take(key);
    }
}

/// The one item of a list.
fn only<'a>(field: &Field<'a>, what: &str) -> Option<Field<'a>> {
    let mut items = field.items();
    if items.len() != 1 {
        let problem = format!("has {} {what}", items.len());
        field.unvalued(problem, "write one; an SLO of ours has one, so make an SLO of each");
        return None;
    }
    items.pop()
}

fn window_of(field: &Field<'_>) -> Option<Window> {
    let item = only(field, "windows")?;
    let mut fields = item.fields();
    let duration = fields.require("duration", "write e.g. 30d");
    let rolling = fields.take("isRolling").is_some_and(|field| field.flag() == Some(true));
    let calendar = fields.take("calendar");
    fields.finish();
    let duration = duration?;
    let text = duration.text()?;
    if let Some(calendar) = calendar.as_ref().filter(|_| !rolling) {
        let mut fields = calendar.fields();
        let zone = fields.take("timeZone");
        fields.take("startTime");
        fields.finish();
        if let Some(zone) = zone.filter(|zone| !zone.is_word("UTC") && !zone.is_word("Etc/UTC")) {
            zone.wrong("is not our time", "write UTC: months are counted in it");
        }
        if text != "1M" {
            duration.wrong("is no window of the calendar here", "write 1M, or a rolling window");
            return None;
        }
        return Some(Window::CalendarMonth);
    }
    if !rolling {
        item.unvalued("does not roll and has no calendar", "write isRolling: true, or calendar");
        return None;
    }
    let days = text.strip_suffix('w').and_then(|weeks| weeks.parse::<u16>().ok()?.checked_mul(7));
    match days.and_then(Window::rolling) {
        Some(window) => Some(window),
        None => duration.parse("a window"),
    }
}

fn objective_of(field: &Field<'_>) -> Option<Objective> {
    let item = only(field, "objectives")?;
    let mut fields = item.fields();
    pass(&mut fields);
    let share = fields.take("target");
    let percent = fields.take("targetPercent");
    for key in ["op", "value", "timeSliceTarget", "timeSliceWindow", "indicator", "indicatorRef"] {
        if let Some(field) = fields.take(key) {
            field.unvalued(
                "cannot be imported",
                "leave it out: a ratio is compared with its target",
            );
        }
    }
    fields.finish();
    match (share, percent) {
        (Some(share), None) => share.parse("an objective"),
        (None, Some(percent)) => {
            let text = percent.text()?;
            percent.accept(format!("{text}%").parse::<Objective>(), "an objective")
        }
        (Some(_), Some(percent)) => {
            percent.unvalued("stands beside target", "leave one of the two out");
            None
        }
        (None, None) => {
            item.unvalued("has no target", "write target: 0.999");
            None
        }
    }
}

/// The queries of good and of all attempts, each at its place.
fn ratio<'a>(indicator: &Field<'a>) -> Option<(Field<'a>, Field<'a>)> {
    let mut fields = indicator.fields();
    fields.take("metadata");
    let spec = fields.require("spec", "write spec: {ratioMetric: …}");
    fields.finish();
    let mut fields = spec?.fields();
    fields.take("description");
    if let Some(threshold) = fields.take("thresholdMetric") {
        threshold.unvalued("cannot be imported", "write a ratioMetric over agents' counters");
        fields.finish();
        return None;
    }
    let ratio = fields.require("ratioMetric", "write counter, good and total");
    fields.finish();
    let mut fields = ratio?.fields();
    if let Some(counter) = fields.take("counter")
        && counter.flag() == Some(false)
    {
        counter.wrong("makes gauges of them", "write true: attempts are counters");
    }
    for key in ["bad", "raw", "rawType"] {
        if let Some(field) = fields.take(key) {
            field.unvalued("cannot be imported", "write good and total");
        }
    }
    let good = fields.require("good", "write the query of good attempts");
    let total = fields.require("total", "write the query of all attempts");
    fields.finish();
    Some((source(&good?)?, source(&total?)?))
}

/// The query of a metric source.
fn source<'a>(field: &Field<'a>) -> Option<Field<'a>> {
    let mut fields = field.fields();
    let source = fields.require("metricSource", "write {type: Prometheus, spec: {query: …}}");
    fields.finish();
    let mut fields = source?.fields();
    if let Some(kind) = fields.take("type")
        && !["Prometheus", "prometheus"].iter().any(|word| kind.is_word(word))
    {
        kind.wrong("is not asked here", "write Prometheus");
    }
    if let Some(elsewhere) = fields.take("metricSourceRef") {
        elsewhere.text();
    }
    let spec = fields.require("spec", "write spec: {query: …}");
    fields.finish();
    let mut fields = spec?.fields();
    let query = fields.require("query", "write a selector of agents' counters");
    fields.finish();
    query
}

/// Matchers of a query by label.
type Matchers = BTreeMap<String, Vec<(String, String)>>;
