//! The texts of `kubectl explain`, which the build packed from the k8s-openapi crate. Only this binary carries them.
//!
//! They are unpacked for each document that a server writes and dropped with it.

use std::collections::BTreeMap;

use flate2::read::GzDecoder;
use windlass::apiserver::discovery::{Describe, Description, Texts};

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts.json.gz"));

/// What the Kubernetes project says of its types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published;

impl Texts for Published {
    fn edition(&self) -> &'static str {
        "k8s-openapi 0.29 v1_36"
    }

    fn open(&self) -> Box<dyn Describe> {
        Box::new(Unpacked(serde_json::from_reader(GzDecoder::new(PACKED)).expect("the build wrote it")))
    }
}

/// What each type is, and what its fields are.
struct Unpacked(BTreeMap<String, (String, BTreeMap<String, String>)>);

impl Describe for Unpacked {
    fn describe(&mut self, definition: &str) -> Option<Description> {
        // Nobody asks a second time.
        self.0.remove(definition).map(|(text, fields)| Description { text, fields })
    }
}

#[cfg(test)]
mod tests {
    use windlass::apiserver::discovery::{Schema, Snapshot};

    use super::*;

    fn definition(version: &[&str; 2], kind: &str) -> Option<String> {
        let snapshot = Snapshot::built_in();
        let mut all = snapshot.of(version[0], version[1]);
        let found = all.find(|resource| resource.kind == kind)?;
        let Schema::BuiltIn(message) = &found.schema else { return None };
        Some(message.name.to_owned())
    }

    #[test]
    fn every_kind_that_is_served_and_its_fields_are_described() {
        let (snapshot, mut missing) = (Snapshot::built_in(), Vec::new());
        for (group, version) in &snapshot.versions {
            let mut texts = Published.open();
            for resource in snapshot.of(group, version) {
                let name = definition(&[group, version], &resource.kind).expect("a built-in type");
                let said = texts.describe(&name).unwrap_or_default();
                if said.text.is_empty() || !said.fields.contains_key("apiVersion") {
                    missing.push(name);
                }
            }
        }
        missing.dedup();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn types_inside_others_and_their_fields_are_described() {
        let mut texts = Published.open();
        let strategy = texts.describe("io.k8s.api.apps.v1.DeploymentStrategy").expect("a type");
        assert!(!strategy.text.is_empty());
        assert_eq!(strategy.fields.keys().collect::<Vec<_>>(), ["rollingUpdate", "type"]);
        assert!(texts.describe("io.k8s.api.core.v1.PodSpec").is_some_and(|spec| spec.fields.len() > 30));
        assert!(texts.describe("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").is_some());
        assert_eq!(texts.describe("com.example.v1.Widget"), None);
    }
}
