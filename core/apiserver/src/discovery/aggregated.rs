//! Discovery as one document for all groups (`apidiscovery.k8s.io`, KEP-3352).

use serde_json::{Value, json};

use super::catalog::{Resource, Snapshot};

/// The versions of the aggregated document that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatedVersion {
    /// `v2`.
    V2,
    /// `v2beta1`.
    V2Beta1,
}

impl AggregatedVersion {
    /// The version's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }

    /// The exact media type that clients look for.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }
}

/// `/api` (the core group) or `/apis` (all others) with everything below.
#[must_use]
pub fn aggregated(snapshot: &Snapshot, core: bool, version: AggregatedVersion) -> Value {
    let groups = snapshot.groups();
    let items: Vec<Value> = groups
        .iter()
        .filter(|group| group.0.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = snapshot.of(group, version).map(|resource| entry(resource)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{}", version.as_str()),
        "metadata": {}, "items": items,
    })
}

fn entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs,
    });
    for (name, list) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !list.is_empty() {
            entry[name] = json!(list);
        }
    }
    if !resource.subresources.is_empty() {
        entry["subresources"] = resource
            .subresources
            .iter()
            .map(|sub| {
                let [group, version, kind] = &sub.kind;
                json!({
                    "subresource": sub.name, "verbs": sub.verbs,
                    "responseKind": {"group": group, "version": version, "kind": kind},
                })
            })
            .collect();
    }
    entry
}
