//! OpenAPI documents of the built-in kinds, version 3 per group and version and version 2 for all.
//!
//! The tables hold no sentences: a server that wants descriptions brings them. What a custom resource adds is composed
//! from the same parts, [`paths_of`] and a schema of its own.

mod paths;
mod schemas;
mod v2;

use crate::resources::{GroupVersion, ResourceInfo};
use crate::schema::Message;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub use self::paths::{Served, ServedSubresource, paths_of};
pub use self::schemas::schema;
pub use self::v2::v2;

/// Finds the description of a definition (with an empty field name) or of one of its fields.
pub type Describe<'a> = &'a dyn Fn(&str, &str) -> Option<&'a str>;

/// Describes nothing.
#[must_use]
pub fn undescribed<'a>(_definition: &str, _field: &str) -> Option<&'a str> {
    None
}

/// The path of a group and version below `/openapi/v3/`: `api/v1`, `apis/apps/v1`.
#[must_use]
pub fn v3_path(of: GroupVersion) -> String {
    if of.group.is_empty() { format!("api/{}", of.version) } else { format!("apis/{}/{}", of.group, of.version) }
}

/// The version 3 document of a group and version.
#[must_use]
pub fn v3(of: GroupVersion, describe: Describe<'_>) -> Value {
    let mut all = Map::new();
    let mut roots = vec!["io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList".to_owned()];
    all.insert(format!("/{}/", v3_path(of)), paths::discovery(of));
    for resource in of.resources() {
        let served = Served::from(resource);
        roots.extend(served.definitions().map(str::to_owned));
        all.extend(paths_of(&served));
    }
    let schemas: Map<String, Value> =
        schemas::closure(roots).into_values().map(|m| (m.name.to_owned(), schema(m, Some(of), describe))).collect();
    document(all, schemas)
}

/// A version 3 document from its paths and schemas.
#[must_use]
pub fn document(paths: Map<String, Value>, schemas: Map<String, Value>) -> Value {
    let mut out = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "components": {"securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}}},
    });
    out["components"]["schemas"] = schemas.into();
    out["paths"] = paths.into();
    out
}

/// The definitions that the given ones need, themselves included, by name; unknown names are left out.
#[must_use]
pub fn definitions(roots: impl IntoIterator<Item = String>) -> BTreeMap<&'static str, &'static Message> {
    schemas::closure(roots)
}

impl<'a> From<&'a ResourceInfo> for Served<'a> {
    fn from(info: &'a ResourceInfo) -> Self {
        let sub = |s: &'a crate::resources::Subresource| ServedSubresource {
            name: s.name,
            kind: (s.kind.group, s.kind.version, s.kind.kind),
            verbs: s.verbs,
            patches: s.patches,
            definition: s.message.name,
        };
        Self {
            group: info.group,
            version: info.version,
            plural: info.plural,
            kind: info.kind,
            namespaced: info.namespaced,
            verbs: info.verbs,
            patches: info.patches,
            definition: info.message.name,
            list_definition: info.list.map_or("", |m| m.name),
            subresources: info.subresources.iter().map(sub).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(at: &Value, pointer: &str, expect: &Value) {
        assert_eq!(at.pointer(pointer), Some(expect), "{pointer}");
    }

    #[test]
    fn a_document_has_what_kubectl_reads() {
        let apps = v3(GroupVersion { group: "apps", version: "v1" }, &undescribed);
        let patch = "/paths/~1apis~1apps~1v1~1namespaces~1{namespace}~1deployments~1{name}/patch";
        check(&apps, &format!("{patch}/operationId"), &json!("patchAppsV1NamespacedDeployment"));
        check(&apps, &format!("{patch}/x-kubernetes-action"), &json!("patch"));
        let gvk = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
        check(&apps, &format!("{patch}/x-kubernetes-group-version-kind"), &gvk);
        let names: Vec<_> = apps
            .pointer(&format!("{patch}/parameters"))
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|p| &p["name"])
            .collect();
        assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
        let schema = "/components/schemas/io.k8s.api.apps.v1.Deployment";
        check(&apps, &format!("{schema}/x-kubernetes-group-version-kind"), &json!([gvk]));
        check(&apps, &format!("{schema}/properties/spec/default"), &json!({}));
        let ports = "/components/schemas/io.k8s.api.core.v1.Container/properties/ports";
        check(&apps, &format!("{ports}/x-kubernetes-list-map-keys"), &json!(["containerPort", "protocol"]));
        check(&apps, &format!("{ports}/x-kubernetes-patch-merge-key"), &json!("containerPort"));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for gv in crate::resources::group_versions() {
            let document = v3(gv, &undescribed);
            let text = document.to_string();
            for reference in text.split("#/components/schemas/").skip(1) {
                let name = reference.split('"').next().unwrap();
                assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
            }
        }
        let document = v2(&crate::resources::group_versions(), &undescribed);
        for reference in document.to_string().split("#/definitions/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["definitions"].get(name).is_some(), "{name}");
        }
        assert!(!document.to_string().contains("#/components/"));
    }

    #[test]
    fn descriptions_are_brought_from_outside() {
        let describe =
            |name: &str, field: &str| (name.ends_with(".Pod") && field == "spec").then_some("what it shall be");
        let core = v3(GroupVersion { group: "", version: "v1" }, &describe);
        check(
            &core,
            "/components/schemas/io.k8s.api.core.v1.Pod/properties/spec/description",
            &json!("what it shall be"),
        );
    }
}
