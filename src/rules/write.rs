//! Rules as text: a rule file of Prometheus, or an object of the Prometheus operator.

use crate::config::Yaml;
use crate::rules::{Group, Rule, Rules};

impl Rules {
    /// A rule file, as `promtool check rules` takes it.
    pub fn to_file(&self) -> String {
        map([("groups", self.groups())]).document()
    }

    /// A `PrometheusRule` of this name and namespace, for the Prometheus operator.
    pub fn to_object(&self, name: &str, namespace: &str) -> String {
        let metadata = [("name", Yaml::text(name)), ("namespace", Yaml::text(namespace))];
        map([
            ("apiVersion", Yaml::text("monitoring.coreos.com/v1")),
            ("kind", Yaml::text("PrometheusRule")),
            ("metadata", map(metadata)),
            ("spec", map([("groups", self.groups())])),
        ])
        .document()
    }

    fn groups(&self) -> Yaml {
        Yaml::List(self.groups.iter().map(group).collect())
    }
}

fn group(group: &Group) -> Yaml {
    let mut entries = vec![("name", Yaml::text(&group.name))];
    entries.extend(group.interval.as_ref().map(|it| ("interval", Yaml::text(it))));
    entries.push(("rules", Yaml::List(group.rules.iter().map(rule).collect())));
    map(entries)
}

fn rule(rule: &Rule) -> Yaml {
    let pairs = |pairs: &[(String, String)]| {
        map(pairs.iter().map(|(key, value)| (key.as_str(), Yaml::text(value))))
    };
    match rule {
        Rule::Record { record, expr, labels } => {
            let mut entries = vec![("record", Yaml::text(record)), ("expr", Yaml::block(expr))];
            if !labels.is_empty() {
                entries.push(("labels", pairs(labels)));
            }
            map(entries)
        }
        Rule::Alert { alert, expr, lasting, labels, annotations } => map([
            ("alert", Yaml::text(alert)),
            ("expr", Yaml::block(expr)),
            ("for", Yaml::text(lasting)),
            ("labels", pairs(labels)),
            ("annotations", pairs(annotations)),
        ]),
    }
}

pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Yaml)>) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
