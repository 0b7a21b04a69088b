//! The block `controller`.

use super::{Map, Yaml};
use crate::config::ControllersConfig;

pub(super) fn controllers(controllers: &ControllersConfig) -> Yaml {
    let mut map = Map::default();
    map.add("addresses", Yaml::texts(&controllers.addresses));
    let file = |path: &std::path::PathBuf| Yaml::text(path.to_string_lossy());
    map.maybe("key", controllers.key.as_ref().map(file));
    map.maybe("cache", controllers.cache.as_ref().map(file));
    map.done()
}
