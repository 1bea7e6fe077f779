//! Which resources hold objects that can be deleted: the built-in ones, and those that are defined later.

use std::sync::Arc;

use serde_json::Value;
use windlass_api::resources::{self, ResourceInfo};
use windlass_client::{Cache, Informers, Select};
use windlass_kernel::{Document, api::GroupVersionResource};

const DEFINITIONS: GroupVersionResource =
    GroupVersionResource::of("apiextensions.k8s.io", "v1", "customresourcedefinitions");

/// A resource whose objects can be watched and deleted, in the version that they are stored in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deletable {
    pub(crate) resource: GroupVersionResource,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    /// Whether a collection can be deleted with one call.
    pub(crate) collections: bool,
}

/// The built-in resources, each once.
pub(crate) fn built_in() -> Vec<Arc<Deletable>> {
    let usable = |info: &&ResourceInfo| ["list", "watch", "delete"].iter().all(|verb| info.serves(verb));
    let all: Vec<&ResourceInfo> =
        resources::all().iter().filter(usable).filter(|info| info.group != "events.k8s.io").collect();
    let preferred = |info: &&&ResourceInfo| {
        let same = all.iter().filter(|other| (other.group, other.plural) == (info.group, info.plural));
        same.min_by(|a, b| resources::prefer(a.version, b.version)).is_some_and(|best| best.version == info.version)
    };
    all.iter().filter(preferred).map(|info| Arc::new(Deletable::of(info))).collect()
}

/// The custom resources that are served, by definition.
pub(crate) fn custom(informers: &Informers) -> Cache<Arc<Deletable>> {
    informers.cache(&Select::all().of(DEFINITIONS), Vec::new(), defined)
}

/// The resource of a kind, built in or custom.
pub(crate) fn of_kind(custom: &Cache<Arc<Deletable>>, group: &str, kind: &str) -> Option<GroupVersionResource> {
    let is = |own: &Deletable| own.kind == kind && own.resource.group == group;
    let found = built_in().into_iter().find(|own| is(own));
    found.or_else(|| custom.values().into_iter().find(|own| is(own))).map(|own| own.resource.clone())
}

/// The resource that a CustomResourceDefinition defines, once it is served.
fn defined(document: &Document) -> Option<Arc<Deletable>> {
    let definition = document.value().ok()?;
    let established = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
    if !definition["status"]["conditions"].as_array()?.iter().any(established) {
        return None;
    }
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let version = spec["versions"].as_array()?.iter().find(|version| version["served"] == true)?;
    let resource = GroupVersionResource {
        group: text(&spec["group"])?.into(),
        version: text(&version["name"])?.into(),
        resource: text(&spec["names"]["plural"])?.into(),
    };
    let (kind, namespaced) = (text(&spec["names"]["kind"])?, spec["scope"] == "Namespaced");
    Some(Arc::new(Deletable { resource, kind, namespaced, collections: true }))
}

impl Deletable {
    fn of(info: &'static ResourceInfo) -> Self {
        Self {
            resource: GroupVersionResource::of(info.group, info.version, info.plural),
            kind: info.kind.to_owned(),
            namespaced: info.namespaced,
            collections: info.serves("deletecollection"),
        }
    }

    /// Whether it is that resource of the core group.
    pub(crate) fn is_core(&self, plural: &str) -> bool {
        self.resource.group.is_empty() && self.resource.resource == plural
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, plural: &str, expect: &[&str]) {
        let all = built_in();
        let own = all.iter().filter(|own| own.resource.group == group && own.resource.resource == plural);
        assert_eq!(own.map(|own| own.resource.version.to_string()).collect::<Vec<_>>(), expect, "{group}/{plural}");
    }

    #[test]
    fn each_resource_is_there_once_in_its_stored_version() {
        check("", "pods", &["v1"]);
        check("autoscaling", "horizontalpodautoscalers", &["v2"]);
        check("", "events", &["v1"]);
        check("events.k8s.io", "events", &[]);
        check("authentication.k8s.io", "tokenreviews", &[]);
    }
}
