//! The list `slos`.

use super::{Map, Yaml, duration};
use crate::slo::{Pattern, Selectors, Sli, Slo};

pub(super) fn slo(slo: &Slo) -> Yaml {
    let mut map = Map::default();
    map.add("name", Yaml::text(slo.name.as_str()));
    map.maybe("description", slo.description.as_ref().map(Yaml::text));
    map.add("objective", Yaml::text(slo.objective.to_string()));
    map.add("window", Yaml::text(slo.window.to_string()));
    map.add("sli", sli(&slo.sli));
    map.maybe("select", selectors(&slo.select));
    if !slo.group_by.is_empty() {
        map.add("group_by", Yaml::texts(slo.group_by.iter().map(|key| key.as_str())));
    }
    map.done()
}

fn sli(sli: &Sli) -> Yaml {
    let latency = match sli {
        Sli::Availability => return Yaml::text("availability"),
        Sli::Latency(latency) => latency,
    };
    let mut inner = Map::default();
    inner.add("threshold", duration(latency.threshold));
    inner.maybe("phase", latency.phase.map(|phase| Yaml::text(phase.as_str())));
    inner.maybe("connection", latency.connection.map(|it| Yaml::text(it.as_str())));
    let mut map = Map::default();
    map.add("latency", inner.done());
    map.done()
}

fn selectors(select: &Selectors) -> Option<Yaml> {
    let mut map = Map::default();
    let mut list = |key: &str, items: Vec<&str>| {
        if !items.is_empty() {
            map.add(key, Yaml::texts(items));
        }
    };
    let patterns = |patterns: &'_ [Pattern]| -> Vec<String> {
        patterns.iter().map(ToString::to_string).collect()
    };
    list("probe", select.probe.iter().map(|it| it.as_str()).collect());
    list("vantage", select.vantage.iter().map(|it| it.as_str()).collect());
    for (key, values) in [
        ("target", patterns(&select.target)),
        ("node", patterns(&select.node)),
        ("zone", patterns(&select.zone)),
        ("namespace", patterns(&select.namespace)),
    ] {
        list(key, values.iter().map(String::as_str).collect());
    }
    (!map.0.is_empty()).then(|| map.done())
}
