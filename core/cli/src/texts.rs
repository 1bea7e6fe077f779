//! The texts of `kubectl explain`, from the schemas of the k8s-openapi crate. Only this binary carries them.
//!
//! A schema is built in memory each time it is asked for: what stays resident is code that nobody runs until then.

mod roots;

use std::collections::{BTreeMap, BTreeSet};

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;
use windlass::apiserver::discovery::{Describe, Description, Texts};

/// What the Kubernetes project says of its types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published;

impl Texts for Published {
    fn edition(&self) -> &'static str {
        "k8s-openapi 0.29 v1_36"
    }

    fn open(&self) -> Box<dyn Describe> {
        let settings = SchemaSettings::draft2020_12();
        Box::new(Reading { generator: settings.into_generator(), opened: BTreeSet::new() })
    }
}

/// The schemas of the packages that were asked about, with all that they refer to.
struct Reading {
    generator: SchemaGenerator,
    opened: BTreeSet<String>,
}

impl Describe for Reading {
    fn describe(&mut self, definition: &str) -> Option<Description> {
        let (package, _) = definition.rsplit_once('.')?;
        if !self.opened.contains(package) {
            self.opened.insert(package.to_owned());
            for root in roots::of(package) {
                root(&mut self.generator);
            }
        }
        // Nobody asks a second time.
        self.generator.definitions_mut().remove(definition).map(description)
    }
}

fn description(mut schema: Value) -> Description {
    let text = |schema: &mut Value| match schema.get_mut("description").map(Value::take) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let mut fields = BTreeMap::new();
    if let Some(Value::Object(properties)) = schema.get_mut("properties").map(Value::take) {
        for (name, mut property) in properties {
            fields.insert(name, text(&mut property));
        }
    }
    fields.retain(|_, text: &mut String| !text.is_empty());
    Description { text: text(&mut schema), fields }
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
