//! Which resources are served, where their objects are stored, and in which version.
//!
//! Every built-in resource of the fact table is here; nothing is decided per kind.

use windlass_api::resources::{self, ResourceInfo, Subresource};
use windlass_kernel::{
    api::{GroupVersionResource, Request},
    error::{Error, ErrorKind, Result},
    store::Key,
};

use crate::kinds::{self, Kind};

/// A resource that is served.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// The resource as clients name it.
    pub(crate) info: &'static ResourceInfo,
    /// The version that its objects are stored in.
    pub(crate) storage: &'static ResourceInfo,
    /// What its kind adds to the generic path.
    pub(crate) rules: &'static Kind,
    prefix: String,
}

impl Served {
    fn new(info: &'static ResourceInfo) -> Self {
        let storage = storage_of(info);
        let group = if storage.group.is_empty() { "core" } else { storage.group };
        let known = kinds::of(storage.group, storage.kind);
        // A kind without rules of its own keeps its status apart all the same.
        let apart = storage.subresource("status").is_some() && !known.has_status;
        let rules = if apart { &kinds::CUSTOM_WITH_STATUS } else { known };
        Self { info, storage, rules, prefix: format!("/registry/{group}/{}/", storage.plural) }
    }

    /// The key of an object.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> Key {
        let mut key = self.collection(namespace);
        key.push_str(name);
        key.into()
    }

    /// What the keys of a namespace's objects begin with; those of all namespaces where it is empty.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        let mut prefix = String::with_capacity(self.prefix.len() + namespace.len() + 40);
        prefix.push_str(&self.prefix);
        if self.info.namespaced && !namespace.is_empty() {
            prefix.push_str(namespace);
            prefix.push('/');
        }
        prefix
    }

    /// The namespace and name that a key of this resource ends with.
    pub(crate) fn name_of<'k>(&self, key: &'k str) -> (&'k str, &'k str) {
        let rest = key.strip_prefix(self.prefix.as_str()).unwrap_or(key);
        if self.info.namespaced { rest.split_once('/').unwrap_or(("", rest)) } else { ("", rest) }
    }

    /// Whether objects are answered in another version than they are stored in.
    pub(crate) fn converts(&self) -> bool {
        !std::ptr::eq(self.info, self.storage)
    }

    /// Whether objects are stored at all: reviews and bindings are not.
    pub(crate) fn stored(&self) -> bool {
        self.info.serves("get")
    }

    /// The group and version as objects state it.
    pub(crate) fn api_version(&self) -> String {
        self.info.group_version().api_version()
    }

    /// What users of a deprecated resource are told.
    pub(crate) fn deprecation(&self) -> Option<&'static str> {
        match (self.info.group, self.info.plural) {
            ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
            ("", "endpoints") => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
            _ => None,
        }
    }

    /// Whether it is this resource of the core group (or of the group given).
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.storage.group == group && self.storage.plural == plural
    }
}

/// The stored version of a resource: the most preferred of its group, and for events the core one.
fn storage_of(info: &'static ResourceInfo) -> &'static ResourceInfo {
    if (info.group, info.plural) == ("events.k8s.io", "events") {
        return resources::find("", "v1", "events").unwrap_or(info);
    }
    let versions = resources::all().iter().filter(|other| (other.group, other.plural) == (info.group, info.plural));
    versions.min_by(|a, b| resources::prefer(a.version, b.version)).unwrap_or(info)
}

/// All resources that are served.
#[derive(Debug)]
pub(crate) struct Registry {
    served: Vec<Served>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'r> {
    /// The resource.
    pub(crate) served: &'r Served,
    /// The sub-resource, if it is about one.
    pub(crate) subresource: Option<&'static Subresource>,
}

impl Registry {
    /// The built-in resources.
    pub(crate) fn built_in() -> Self {
        Self { served: resources::all().iter().map(Served::new).collect() }
    }

    /// Finds a resource.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Served> {
        let at = self.served.binary_search_by(|served| {
            let info = served.info;
            (info.group, info.version, info.plural).cmp(&(group, version, plural))
        });
        at.ok().map(|at| &self.served[at])
    }

    /// Finds a resource that must exist because the fact table has it.
    pub(crate) fn known(&self, group: &str, version: &str, plural: &str) -> Result<&Served> {
        self.find(group, version, plural)
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("no resource {group}/{version}/{plural} is known")))
    }

    /// Finds the resource and sub-resource of a request, and checks the verb.
    pub(crate) fn resolve(&self, request: &Request) -> Result<Target<'_>> {
        let GroupVersionResource { group, version, resource } = &request.resource;
        let served = self.find(group, version, resource).ok_or_else(unknown)?;
        if served.info.namespaced && request.namespace.is_empty() && !request.name.is_empty() {
            return Err(Error::new(
                ErrorKind::BadRequest,
                "the server does not allow access to a namespaced resource without a namespace",
            ));
        }
        if !served.info.namespaced && !request.namespace.is_empty() {
            return Err(unknown());
        }
        if request.subresource.is_empty() {
            return Ok(Target { served, subresource: None });
        }
        let subresource = served.info.subresource(&request.subresource).ok_or_else(unknown)?;
        Ok(Target { served, subresource: Some(subresource) })
    }
}

fn unknown() -> Error {
    Error::new(ErrorKind::NotFound, "the server could not find the requested resource")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(group: &str, version: &str, plural: &str, expect: &str) {
        let registry = Registry::built_in();
        let served = registry.find(group, version, plural).unwrap();
        assert_eq!(
            format!("{} {}", served.storage.group_version().api_version(), served.key("ns", "x").as_str()),
            expect
        );
    }

    #[test]
    fn a_resource_is_stored_in_its_preferred_version() {
        check("", "v1", "pods", "v1 /registry/core/pods/ns/x");
        check("", "v1", "nodes", "v1 /registry/core/nodes/x");
        check(
            "autoscaling",
            "v1",
            "horizontalpodautoscalers",
            "autoscaling/v2 /registry/autoscaling/horizontalpodautoscalers/ns/x",
        );
        check("events.k8s.io", "v1", "events", "v1 /registry/core/events/ns/x");
    }

    #[test]
    fn what_has_a_status_of_its_own_keeps_it_apart() {
        for served in Registry::built_in().served {
            let apart = served.info.subresource("status").is_some();
            assert!(!apart || served.rules.has_status, "{}", served.info.plural);
        }
    }

    #[test]
    fn a_key_tells_the_name() {
        let registry = Registry::built_in();
        let pods = registry.find("", "v1", "pods").unwrap();
        assert_eq!(pods.name_of(pods.key("ns", "x").as_str()), ("ns", "x"));
        let nodes = registry.find("", "v1", "nodes").unwrap();
        assert_eq!(nodes.name_of(nodes.key("", "n").as_str()), ("", "n"));
    }
}
