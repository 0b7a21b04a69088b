//! From text to a checked configuration, or to everything that is wrong with it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::controllers::controllers;
use crate::config::decode::{Book, Entry, Field, Fields};
use crate::config::mesh::{Given, mesh};
use crate::config::mistake::Mistake;
use crate::config::module::module;
use crate::config::node::{MAX_BYTES, Node, Value};
use crate::config::target::{Defaults, Questions, defaults, targets};
use crate::config::{Config, Origins, parse_controller, server, slo};
use crate::slo::Slo;
use crate::spec::{Module, TargetSpec};
use crate::target::TargetName;

/// Reads the configuration in `text`; what it leaves out comes from `environment`
/// (`MESHPROBE_NODE`, `HOSTNAME`, `MESHPROBE_ZONE`, `MESHPROBE_VANTAGE`, and for the block `mesh`
/// `MESHPROBE_POD_NAME`, `_NAMESPACE`, `_SERVICE_ACCOUNT` and `_IP`) or is the default.
///
/// Touches neither files nor network. Errors are all mistakes at once, in the order of the text.
pub fn parse(text: &str, environment: &BTreeMap<String, String>) -> Result<Config, Vec<Mistake>> {
    match examine(text, environment) {
        (Some(config), mistakes) if mistakes.is_empty() => Ok(config),
        (_, mistakes) => Err(mistakes),
    }
}

/// Like [`parse`], but gives what could be read also when there are mistakes, for a reader who
/// looks for more of them. It is never to be run.
pub fn examine(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> (Option<Config>, Vec<Mistake>) {
    let root = match Node::read(text, MAX_BYTES) {
        Ok(root) => root,
        Err(mistake) => return (None, vec![mistake]),
    };
    let book = Book::default();
    let mut config = decode(&Field::root(&root, &book), environment);
    // Of targets with one name, which is a mistake, the first is the one that has it.
    let mut names = HashSet::new();
    config.targets.retain(|target| names.insert(target.name.clone()));
    let origins = Origins { places: book.places.into_inner(), ..config.origins };
    (Some(Config { origins, ..config }), book.mistakes.into_sorted())
}

/// Reads a file that is to be parsed: at most 1 MiB of UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    content(path).and_then(utf8)
}

/// The bytes of a file, at most [`MAX_BYTES`].
pub(super) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(MAX_BYTES as u64 + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        let problem = "larger than 1 MiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// The text in `bytes`.
pub(super) fn utf8(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let problem = format!("not UTF-8, from byte {at} on");
        io::Error::new(io::ErrorKind::InvalidData, problem)
    })
}

/// What is promised by the configuration in `text`, an agent's or a controller's: each is read as
/// strictly as by whom it is for. One that has only what both have is read as an agent's.
pub fn promised(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Slo>, Vec<Mistake>> {
    const OF_CONTROLLERS: [&str; 11] = [
        "prometheus",
        "source",
        "listen",
        "channel",
        "namespaces",
        "istio",
        "coredns",
        "cluster_domain",
        "services",
        "topology",
        "budgets",
    ];
    let root = Node::read(text, MAX_BYTES).map_err(|mistake| vec![mistake])?;
    let keys = match &root.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    let of_controller =
        |(key, _): &(Node, Node)| key.as_text().is_some_and(|key| OF_CONTROLLERS.contains(&key));
    match keys.iter().any(of_controller) {
        true => parse_controller(text, environment).map(|config| config.slos),
        false => parse(text, environment).map(|config| config.slos),
    }
}

/// [`read`], then [`parse`].
pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Config, Vec<Mistake>> {
    match read(path) {
        Ok(text) => parse(&text, environment),
        Err(error) => Err(vec![Mistake::of_file(&error)]),
    }
}

fn decode(root: &Field<'_>, environment: &BTreeMap<String, String>) -> Config {
    if root.is_null() {
        root.unvalued("the configuration is empty", "write at least `targets: []`");
    }
    let mut fields = root.fields();
    let before = root.mistakes();
    let (identity, node_stated) = server::identity(&mut fields, environment);
    let sound = root.mistakes() == before;
    let admin = server::admin(fields.take("admin").as_ref());
    let responder = fields.take("responder");
    let responder = responder.map(|field| server::responder(&field, admin.listen));
    let limits = server::limits(fields.take("limits").as_ref());
    let (buckets, known) = slo::bounds(fields.take("buckets").as_ref());
    let slos = slo::slos(fields.take("slos").as_ref(), &known);
    let resolv_conf = fields.take("resolv_conf").and_then(|field| field.file());
    let defaults = defaults(fields.take("defaults").as_ref());
    let (mesh, lacks) = fields.take("mesh").map(|field| mesh(&field, environment)).unzip();
    let given = Given {
        timeout: defaults.timeout,
        vantage: identity.vantage,
        node: node_stated.then(|| identity.node.clone()),
        sound,
        mesh,
        lacks: lacks.unwrap_or_default(),
    };

    let controllers = fields.take("controller").map(|field| controllers(&field));
    let Asked { modules, targets, origins } = asked(&mut fields, &defaults, &given);
    fields.finish();
    Config {
        mesh: given.mesh,
        controllers,
        identity,
        admin,
        responder,
        limits,
        buckets,
        slos,
        resolv_conf: resolv_conf.unwrap_or_else(|| PathBuf::from("/etc/resolv.conf")),
        modules,
        targets,
        origins,
    }
}

/// What is asked, and where that stands.
pub(super) struct Asked {
    pub(super) modules: BTreeMap<String, Module>,
    pub(super) targets: Vec<TargetSpec>,
    /// Without the places of single fields.
    pub(super) origins: Origins,
}

/// `modules` and `targets`.
pub(super) fn asked(fields: &mut Fields<'_>, defaults: &Defaults, given: &Given) -> Asked {
    let modules = fields.take("modules");
    let known = modules.as_ref().is_none_or(|f| f.is_map() || f.is_null());
    let modules = modules.map_or_else(Questions::new, |field| {
        let entries = field.entries().into_iter();
        entries
            .map(|entry| {
                check_name(&entry);
                (entry.name.to_owned(), module(&entry.field, given))
            })
            .collect()
    });
    let targets = fields
        .take("targets")
        .map_or_else(Vec::new, |field| targets(&field, defaults, given, known.then_some(&modules)));

    let mut origins = Origins::default();
    for target in &targets {
        if let Some(spec) = &target.spec {
            let block = target.block.clone();
            origins.targets.entry(spec.name.clone()).or_insert(block);
        }
    }
    for (name, question) in &modules {
        if let Some(question) = question {
            origins.modules.insert(name.clone(), question.block.clone());
        }
    }
    Asked {
        modules: modules
            .into_iter()
            .filter_map(|(name, question)| Some((name, question?.module)))
            .collect(),
        targets: targets.into_iter().filter_map(|target| target.spec).collect(),
        origins,
    }
}

/// Modules are named as targets are: `/probe?module=` must be able to carry the name.
fn check_name(entry: &Entry<'_>) {
    if let Err(error) = entry.name.parse::<TargetName>() {
        let fix = format!("it {error}");
        entry.key().unvalued("is not a module name", fix);
    }
}
