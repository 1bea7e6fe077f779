//! Which built-in resources are shown to clients, as upstream's `--runtime-config` says it.
//!
//! Storage and whatever runs in the same process know no such choice.

use std::collections::BTreeMap;

use windlass_api::{
    features::nearest,
    resources::{self, ResourceInfo},
};
use windlass_kernel::{Error, ErrorKind, Result};

/// A choice of built-in versions and resources. Without a word, the stable versions are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// By `api/all`, `api/ga`, `group/version` or `group/version/plural`.
    said: BTreeMap<String, bool>,
}

impl Versions {
    /// Chooses what follows in `text` over what is chosen: `api/beta=true,batch/v1=false`, as `--runtime-config` has it.
    ///
    /// What is said of a resource counts more than what is said of its version, and that more than `api/ga`, `api/beta`
    /// and `api/alpha`; `api/all` counts least.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where a word names nothing or is neither true nor false.
    pub fn with(mut self, text: &str) -> Result<Self> {
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').unwrap_or((word, "true"));
            let value = match value {
                "true" | "" => true,
                "false" => false,
                _ => return Err(invalid(format!("runtime-config: {key}={value} is neither true nor false"))),
            };
            check(key)?;
            self.said.insert(key.to_owned(), value);
        }
        if self.said.len() == 1 && self.said.get("api/all") == Some(&false) {
            let message = "runtime-config: api/all=false alone leaves nothing to serve: name what is to be served";
            return Err(invalid(message.into()));
        }
        Ok(self)
    }

    /// Whether a resource is served.
    pub(crate) fn serves(&self, info: &ResourceInfo) -> bool {
        let version = info.group_version();
        let own = version.api_version();
        let ripeness = if version.served_by_default() {
            "api/ga"
        } else if version.version.contains("beta") {
            "api/beta"
        } else {
            "api/alpha"
        };
        let said = |key: &str| self.said.get(key).copied();
        let resource = said(&format!("{own}/{}", info.plural));
        resource
            .or_else(|| said(&own))
            .or_else(|| said(ripeness))
            .or_else(|| said("api/all"))
            .unwrap_or_else(|| version.served_by_default())
    }
}

/// Refuses what names nothing that is built in.
fn check(key: &str) -> Result<()> {
    if matches!(key, "api/all" | "api/ga" | "api/beta" | "api/alpha") {
        return Ok(());
    }
    let versions: Vec<String> = resources::group_versions().iter().map(|gv| gv.api_version()).collect();
    let of_version =
        |own: &String| key == own || key.strip_prefix(own.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if let Some(own) = versions.iter().find(|own| of_version(own)) {
        let Some(plural) = key.strip_prefix(own.as_str()).and_then(|rest| rest.strip_prefix('/')) else {
            return Ok(());
        };
        let known = resources::all().iter().filter(|info| info.group_version().api_version() == *own);
        let known: Vec<&str> = known.map(|info| info.plural).collect();
        if known.contains(&plural) {
            return Ok(());
        }
        return Err(invalid(format!("runtime-config: {own} has no {plural:?}, only {}", known.join(", "))));
    }
    let group = key.split_once('/').map_or("", |(group, _)| group);
    let own: Vec<&str> =
        resources::group_versions().iter().filter(|gv| gv.group == group).map(|gv| gv.version).collect();
    if !own.is_empty() {
        let message = format!("runtime-config: {key:?} is no version: {group:?} has {}", own.join(", "));
        return Err(invalid(message));
    }
    let known: Vec<&str> = versions.iter().map(String::as_str).collect();
    let close = nearest(key, &known);
    let hint = if close.is_empty() { String::new() } else { format!(": did you mean {}?", close.join(", ")) };
    Err(invalid(format!("runtime-config: unknown api groups {group}{hint}")))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Snapshot;

    /// Which versions of a group are served, by the words given.
    fn check(words: &str, group: &str, expect: &str) {
        let shown = match Versions::default().with(words) {
            Ok(versions) => {
                let snapshot = Snapshot::of_built_in(|info| versions.serves(info));
                let own =
                    snapshot.versions.iter().filter(|(own, _)| own == group).map(|(_, version)| version.to_string());
                own.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(shown, expect, "{words}");
    }

    #[test]
    fn the_nearest_word_counts() {
        let group = "resource.k8s.io";
        check("", group, "v1");
        check("api/beta=true", group, "v1 v1beta2 v1beta1");
        check("api/all=true", group, "v1 v1beta2 v1beta1 v1alpha3");
        check("resource.k8s.io/v1alpha3=true,api/all=true,api/beta=false", group, "v1 v1alpha3");
        check("resource.k8s.io/v1=false,resource.k8s.io/v1beta2", group, "v1beta2");
        check("resource.k8s.io/v1beta1/resourceclaims=true", group, "v1 v1beta1");
        check("api/all=false,v1=true", group, "");
        check("api/all=false,v1=true", "", "v1");
    }

    #[test]
    fn what_names_nothing_is_refused_with_what_there_is() {
        check("apps/v2=true", "", "runtime-config: \"apps/v2\" is no version: \"apps\" has v1");
        check("bach/v1=true", "", "runtime-config: unknown api groups bach: did you mean batch/v1?");
        check("zzz/v1=true", "", "runtime-config: unknown api groups zzz");
        check("batch/v1=perhaps", "", "runtime-config: batch/v1=perhaps is neither true nor false");
        check("batch/v1/crons=true", "", "runtime-config: batch/v1 has no \"crons\", only cronjobs, jobs");
        let alone = "runtime-config: api/all=false alone leaves nothing to serve: name what is to be served";
        check("api/all=false", "", alone);
    }
}
