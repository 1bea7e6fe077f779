//! Discovery as one document per group and version (`APIGroupList`, `APIResourceList`).

use serde_json::{Value, json};

use super::catalog::{Resource, Snapshot, api_version};

/// `/api`: the versions of the core group. `address` is where the server is reached.
#[must_use]
pub fn api_versions(snapshot: &Snapshot, address: &str) -> Value {
    let versions: Vec<&str> = snapshot.groups().into_iter().find(|g| g.0.is_empty()).map(|g| g.1).unwrap_or_default();
    json!({
        "kind": "APIVersions", "versions": versions,
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`: all groups but the core one.
#[must_use]
pub fn api_group_list(snapshot: &Snapshot) -> Value {
    let groups: Vec<Value> = snapshot
        .groups()
        .iter()
        .filter(|g| !g.0.is_empty())
        .map(|(group, versions)| group_value(group, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` where there is no such group.
#[must_use]
pub fn api_group(snapshot: &Snapshot, group: &str) -> Option<Value> {
    let (group, versions) = snapshot.groups().into_iter().find(|known| known.0 == group)?;
    let mut value = group_value(group, &versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// `/api/v1`, `/apis/GROUP/VERSION`; `None` where they are not served.
#[must_use]
pub fn api_resource_list(snapshot: &Snapshot, group: &str, version: &str) -> Option<Value> {
    snapshot.serves(group, version).then(|| {
        let resources: Vec<Value> = snapshot.of(group, version).flat_map(|resource| entries(resource)).collect();
        let mut list = json!({
            "kind": "APIResourceList", "groupVersion": api_version(group, version), "resources": resources,
        });
        if !group.is_empty() {
            list["apiVersion"] = "v1".into();
        }
        list
    })
}

fn group_value(group: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| json!({"groupVersion": api_version(group, version), "version": version});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn entries(resource: &Resource) -> Vec<Value> {
    let mut own = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        own["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        own["categories"] = json!(resource.categories);
    }
    let mut out = vec![own];
    for sub in &resource.subresources {
        let [group, version, kind] = &sub.kind;
        let mut entry = json!({
            "name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
            "namespaced": resource.namespaced, "kind": kind, "verbs": sub.verbs,
        });
        if (group, version) != (&resource.group, &resource.version) {
            entry["group"] = json!(group);
            entry["version"] = json!(version);
        }
        out.push(entry);
    }
    out
}
