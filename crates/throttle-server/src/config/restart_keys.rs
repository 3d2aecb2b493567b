//! Which options of the configuration a reload changes, and which take a restart.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Config;

/// The options of these tables that take effect on reload.
const LIVE: &[&str] =
    &["limits.label_bytes", "limits.open_waits", "limits.peers", "limits.waiters"];

impl Config {
    /// The keys of the options that differ in `new` and that take a restart.
    pub fn keys_that_take_a_restart(&self, new: &Self) -> Vec<String> {
        let (old, new) = (self.fixed_options(), new.fixed_options());
        let keys = old.keys().chain(new.keys()).collect::<BTreeSet<_>>();
        let differ = keys.into_iter().filter(|&key| old.get(key) != new.get(key));
        differ.cloned().collect()
    }

    /// The options that take a restart, by key.
    pub(super) fn fixed_options(&self) -> BTreeMap<String, toml::Value> {
        let mut options = BTreeMap::new();
        flatten("limits", &self.limits, &mut options);
        flatten("logging", &self.logging, &mut options);
        flatten("metrics", &self.metrics, &mut options);
        flatten("restart", &self.restart, &mut options);
        if let Some(store) = &self.store {
            flatten("store", store, &mut options);
        }
        options.retain(|key, _| !LIVE.contains(&key.as_str()));
        options
    }
}

/// Adds the options of a section and of its tables, by key.
fn flatten(path: &str, section: &impl Serialize, options: &mut BTreeMap<String, toml::Value>) {
    match toml::Value::try_from(section).expect("options are plain values") {
        toml::Value::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{path}.{key}"), &value, options);
            }
        }
        value => {
            options.insert(path.to_owned(), value);
        }
    }
}
