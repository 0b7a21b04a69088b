//! Where an agent's plans come from.

use std::path::PathBuf;

use crate::config::decode::Field;
use crate::target::Endpoint;

/// The UDP port on which controllers listen for agents.
pub const CONTROLLER_PORT: u16 = 9854;
/// The headless Service of the controllers, as it is deployed.
pub const CONTROLLER_NAME: &str = "meshprobe-controller-channel.meshprobe-plain.svc";
/// The most addresses that are stated.
const MOST_ADDRESSES: usize = 16;

/// The block `controller`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllersConfig {
    /// Where controllers are found; every address of a name is one.
    pub addresses: Vec<Endpoint>,
    /// The file with the secret that agents and controllers share: read for each connection.
    pub key: Option<PathBuf>,
    /// Where the last good plan is kept over a restart.
    pub cache: Option<PathBuf>,
}

impl Default for ControllersConfig {
    fn default() -> Self {
        let host = CONTROLLER_NAME.parse().expect("a name");
        let addresses = vec![Endpoint { host, port: CONTROLLER_PORT }];
        Self { addresses, key: None, cache: None }
    }
}

/// `controller`.
pub(super) fn controllers(field: &Field<'_>) -> ControllersConfig {
    let mut controllers = ControllersConfig::default();
    let mut fields = field.fields();
    if let Some(field) = fields.take("addresses") {
        let items = field.items();
        if (field.is_list() && items.is_empty()) || items.len() > MOST_ADDRESSES {
            let problem = format!("has {} addresses", items.len());
            field.unvalued(problem, format!("write 1 to {MOST_ADDRESSES}, or leave the key out"));
        }
        let endpoint = |item: &Field<'_>| {
            let parsed = Endpoint::with_default_port(item.text()?, CONTROLLER_PORT);
            item.accept(parsed, "an address")
        };
        let addresses: Vec<_> = items.iter().filter_map(endpoint).collect();
        if !addresses.is_empty() {
            controllers.addresses = addresses;
        }
    }
    controllers.key = fields.take("key").and_then(|field| field.file());
    controllers.cache = fields.take("cache").and_then(|field| field.file());
    fields.finish();
    controllers
}
