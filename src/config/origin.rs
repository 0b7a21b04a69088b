//! Where the parts of a configuration were written, for what is found wrong with them later:
//! files are read when probes are prepared, long after the text was parsed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::mistake::{Mistake, Position, quoted};
use crate::target::TargetName;

/// Where targets and modules say what they ask.
///
/// Equal to every other: where a thing is written is no part of what it says.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    pub(super) targets: BTreeMap<TargetName, String>,
    pub(super) modules: BTreeMap<String, String>,
    pub(super) places: BTreeMap<String, Position>,
}

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Origins {
    /// The mistake that `field` (relative to the probe, e.g. `tls.ca`) of `target` names a `file`
    /// with a `problem`; an empty `file` when the field names none.
    ///
    /// Targets that share a module give the same mistake; [`super::tidy`] leaves one of them.
    pub fn of_target(
        &self,
        target: &TargetName,
        field: &str,
        file: &Path,
        problem: &str,
    ) -> Mistake {
        let block = self.targets.get(target).map(String::as_str);
        self.unusable(block.unwrap_or(target.as_str()), field, file, problem)
    }

    /// The same of a module that no target uses.
    pub fn of_module(&self, module: &str, field: &str, file: &Path, problem: &str) -> Mistake {
        let block = self.modules.get(module).map(String::as_str);
        self.unusable(block.unwrap_or(module), field, file, problem)
    }

    fn unusable(&self, block: &str, field: &str, file: &Path, problem: &str) -> Mistake {
        let path = format!("{block}.{field}");
        let at = self.place(&path);
        let fix = match field.rsplit('.').next() {
            Some("ca") => "name a readable PEM file with one or more CA certificates",
            Some("cert") => "name a readable PEM file: the leaf first, then intermediates",
            Some("key") => "name a readable PEM file with the certificate's private key",
            Some(_) | None => "write another value",
        };
        // A setting may be at fault that names no file.
        let named = !file.as_os_str().is_empty();
        Mistake {
            line: at.line,
            column: at.column,
            path,
            value: named.then(|| quoted(&file.to_string_lossy())),
            problem: format!("cannot be used: {problem}"),
            fix: fix.to_owned(),
        }
    }

    /// Where the field at `path` stands, or else the nearest one around it.
    fn place(&self, path: &str) -> Position {
        let around = std::iter::successors(Some(path), |path| Some(path.rsplit_once('.')?.0));
        around.filter_map(|path| self.places.get(path)).copied().next().unwrap_or_default()
    }
}
