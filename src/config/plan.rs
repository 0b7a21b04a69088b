//! The plan that a controller hands an agent: an envelope, and in it targets as a configuration
//! has them, read by the same strict decoder (JSON is YAML).

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::decode::{Book, Field, Fields};
use crate::config::load::asked;
use crate::config::mesh::{Given, PARTS};
use crate::config::node::Node;
use crate::config::server::{LABEL, VANTAGES, is_label};
use crate::config::target::defaults;
use crate::config::{Config, Identity, MeshConfig, Mistake, Origins};
use crate::spec::{Module, TargetSpec};

/// Header of an agent's answers on the control channel: who it is, as the query by which it asks
/// for its plan.
pub const AGENT_HEADER: &str = "meshprobe-agent";
/// Header of the same: the entity tag of the plan that it runs; absent without one.
pub const PLAN_HEADER: &str = "meshprobe-plan";
/// Header of a controller's answers to a poll: where controllers listen, as `controllers` of the
/// plan but separated by commas. A change of it is no other plan.
pub const CONTROLLERS_HEADER: &str = "meshprobe-controllers";
/// The longest plan, bytes: 10,000 targets of about 400 bytes, four times what a file may have.
pub const MAX_PLAN_BYTES: usize = 4 * 1024 * 1024;
/// The most controllers that a plan names.
pub const MAX_CONTROLLERS: usize = 16;

/// The version of the envelope that is read.
const VERSION: u32 = 1;
const LONGEST_GRACE: u64 = 3600;

/// A plan, checked and complete.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanDocument {
    /// Tells one plan from another; the ETag of the answer that brought it.
    pub revision: String,
    /// How long after a change of what is expected of a target its attempts cannot tell.
    pub grace: Duration,
    /// Where controllers are found, without any name.
    pub controllers: Vec<SocketAddr>,
    /// Questions that the targets refer to.
    pub modules: BTreeMap<String, Module>,
    /// What is probed.
    pub targets: Vec<TargetSpec>,
    /// Where in the text the targets were written.
    pub origins: Origins,
}

impl PlanDocument {
    /// `config` with the plan's modules and targets in the place of its own.
    pub fn within(&self, config: &Config) -> Config {
        Config {
            modules: self.modules.clone(),
            targets: self.targets.clone(),
            origins: self.origins.clone(),
            mesh: config.mesh.clone(),
            controllers: config.controllers.clone(),
            identity: config.identity.clone(),
            admin: config.admin.clone(),
            responder: config.responder.clone(),
            limits: config.limits,
            buckets: config.buckets.clone(),
            slos: config.slos.clone(),
            resolv_conf: config.resolv_conf.clone(),
        }
    }
}

/// Reads the plan in `text` for the agent that is `identity`, whose questions about the mesh take
/// from `mesh` what they do not state.
///
/// Touches neither files nor network. Errors are all mistakes at once, in the order of the text;
/// a plan with one is not to be followed at all.
pub fn parse_plan(
    text: &str,
    identity: &Identity,
    mesh: Option<&MeshConfig>,
) -> Result<PlanDocument, Vec<Mistake>> {
    let root = Node::read(text, MAX_PLAN_BYTES).map_err(|mistake| vec![mistake])?;
    let book = Book::default();
    let mut plan = decode(&Field::root(&root, &book), identity, mesh);
    let mistakes = book.mistakes.into_sorted();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let mut names = HashSet::new();
    plan.targets.retain(|target| names.insert(target.name.clone()));
    plan.origins.places = book.places.into_inner();
    Ok(plan)
}

/// `revision` as an entity tag (RFC 9110 §8.8.3).
pub fn print_revision(revision: &str) -> String {
    format!("\"{revision}\"")
}

fn decode(root: &Field<'_>, identity: &Identity, mesh: Option<&MeshConfig>) -> PlanDocument {
    if root.is_null() {
        root.unvalued("the plan is empty", "send what /v1/plan gives");
    }
    let mut fields = root.fields();
    let version = fields.require("version", "write 1").and_then(|f| f.whole(1..=u32::MAX));
    if version.is_some_and(|version| version != VERSION) {
        let mut field = root.clone();
        "version".clone_into(&mut field.path);
        let problem = format!("is not {VERSION}, the only one that this agent reads");
        field.unvalued(problem, "run agents and controllers of one release");
    }
    let revision = fields.require("revision", "write what tells this plan from others");
    let revision = revision.and_then(|field| revision_of(&field));
    addressee(&mut fields, identity);
    let grace = fields.take("grace_seconds").and_then(|f| f.whole(0..=LONGEST_GRACE));
    let controllers = fields.take("controllers").map(|field| controllers(&field));
    let config = fields.require("config", "write a map with `targets`");
    let given = |timeout| Given {
        timeout,
        vantage: identity.vantage,
        node: Some(identity.node.clone()),
        sound: true,
        mesh: mesh.cloned(),
        lacks: if mesh.is_some_and(|mesh| mesh.pod.is_some()) { Vec::new() } else { PARTS.into() },
    };
    let (mut modules, mut targets, mut origins) = Default::default();
    if let Some(field) = config {
        let mut fields = field.fields();
        let defaults = defaults(fields.take("defaults").as_ref());
        let found = asked(&mut fields, &defaults, &given(defaults.timeout));
        (modules, targets, origins) = (found.modules, found.targets, found.origins);
        fields.finish();
    }
    fields.finish();
    PlanDocument {
        revision: revision.unwrap_or_default(),
        grace: Duration::from_secs(grace.unwrap_or_default()),
        controllers: controllers.unwrap_or_default(),
        modules,
        targets,
        origins,
    }
}

/// `node`, `vantage` and `pod`: a plan for another agent is none for this one.
fn addressee(fields: &mut Fields<'_>, identity: &Identity) {
    let node = fields.require("node", "write the node that the plan is for");
    if let Some(field) = node
        && field.text().is_some_and(|node| node != identity.node)
    {
        field.wrong("is another node", format!("send the plan of {:?}", identity.node));
    }
    let written = fields.take("vantage").and_then(|f| Some((f.word(&VANTAGES)?, f)));
    if let Some((vantage, field)) = written
        && identity.vantage.is_some_and(|own| own != vantage)
    {
        field.wrong("is the other side of the mesh", "send the plan of this agent's vantage");
    }
    // Another pod of the same node and vantage may have left it in the cache.
    let _ = fields.take("pod").and_then(|field| field.text());
}

fn revision_of(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    // It stands in a header, between double quotes.
    let good = is_label(text) && !text.contains('"');
    if !good {
        field.wrong("is not a revision", format!("write {LABEL} but double quotes"));
    }
    good.then(|| text.to_owned())
}

fn controllers(field: &Field<'_>) -> Vec<SocketAddr> {
    let items = field.items();
    if items.len() > MAX_CONTROLLERS {
        let problem = format!("has {} addresses", items.len());
        field.unvalued(problem, format!("write at most {MAX_CONTROLLERS}"));
    }
    let address = |item: &Field<'_>| {
        let parsed = item.text()?.parse::<SocketAddr>();
        item.accept(parsed.map_err(|_| "must be ip:port, [ip]:port for IPv6"), "an address")
    };
    items.iter().filter_map(address).collect()
}
