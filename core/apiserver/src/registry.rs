//! Which resources are served, where their objects are stored, and in which version.
//!
//! The built-in resources of the fact table never change; the custom ones are a snapshot that is swapped as a whole
//! (`custom`). Nothing is decided per kind.

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use windlass_api::{
    lifecycle,
    resources::{self, ResourceInfo, Subresource},
    schema::Message,
};
use windlass_kernel::{
    api::{GroupVersionResource, Request},
    error::{Error, ErrorKind, Result},
    store::Key,
};

use crate::{
    custom::{Served as CustomSet, Version},
    errors::Named,
    kinds::{self, Kind},
    sub::explanation,
};

/// A name that is known at compile time or came with a definition.
pub(crate) type Name = Cow<'static, str>;

/// A resource in one of its versions, as the generic path knows it.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    pub(crate) group: Name,
    pub(crate) version: Name,
    pub(crate) plural: Name,
    pub(crate) kind: Name,
    pub(crate) list_kind: Name,
    pub(crate) namespaced: bool,
    pub(crate) verbs: &'static [&'static str],
    pub(crate) patches: &'static [&'static str],
    pub(crate) subresources: Cow<'static, [&'static Subresource]>,
    /// The type of its objects.
    pub(crate) schema: Schema,
}

/// The type of a resource's objects.
#[derive(Clone, Debug)]
pub(crate) enum Schema {
    /// A type of the fact table.
    BuiltIn(&'static Message),
    /// What a definition says.
    Custom(Arc<Version>),
}

impl Info {
    /// The group and version as objects state it.
    pub(crate) fn api_version(&self) -> String {
        crate::body::api_version(&self.group, &self.version)
    }

    /// Whether a verb is served.
    pub(crate) fn serves(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// Finds a sub-resource by its name.
    pub(crate) fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name).copied()
    }

    /// What the definition says, for a custom resource.
    pub(crate) fn custom(&self) -> Option<&Arc<Version>> {
        match &self.schema {
            Schema::BuiltIn(_) => None,
            Schema::Custom(version) => Some(version),
        }
    }
}

impl From<&'static ResourceInfo> for Info {
    fn from(info: &'static ResourceInfo) -> Self {
        Self {
            group: info.group.into(),
            version: info.version.into(),
            plural: info.plural.into(),
            kind: info.kind.into(),
            list_kind: info.list_kind().into(),
            namespaced: info.namespaced,
            verbs: info.verbs,
            patches: info.patches,
            subresources: subresources(info).collect::<Vec<_>>().into(),
            schema: Schema::BuiltIn(info.message),
        }
    }
}

/// The sub-resources of the fact table, and ours.
fn subresources(info: &'static ResourceInfo) -> impl Iterator<Item = &'static Subresource> {
    info.subresources.iter().chain(explanation::of(info.group, info.version, info.plural))
}

impl Named for Info {
    fn group(&self) -> &str {
        &self.group
    }

    fn plural(&self) -> &str {
        &self.plural
    }
}

/// A resource that is served.
#[derive(Debug)]
pub(crate) struct Served {
    /// The resource as clients name it.
    pub(crate) info: Info,
    /// The version that the path of writes works in: that of storage, or for custom resources that of the request.
    pub(crate) storage: Info,
    /// What its kind adds to the generic path.
    pub(crate) rules: &'static Kind,
    converts: bool,
    prefix: String,
    /// What users of a built-in kind that is deprecated are told.
    deprecation: Option<String>,
}

impl Served {
    fn built_in(info: &'static ResourceInfo) -> Self {
        let storage = storage_of(info);
        let group = if storage.group.is_empty() { "core" } else { storage.group };
        let known = kinds::of(storage.group, storage.kind);
        // A kind without rules of its own keeps its status apart all the same.
        let apart = storage.subresource("status").is_some() && !known.has_status;
        let rules = if apart { &kinds::CUSTOM_WITH_STATUS } else { known };
        let prefix = format!("/registry/{group}/{}/", storage.plural);
        let ended = lifecycle::of_kind(info.group, info.version, info.kind);
        let deprecation = ended.map(|ended| ended.warning(&info.group_version().api_version(), info.kind));
        let converts = !std::ptr::eq(info, storage);
        Self { info: info.into(), storage: storage.into(), rules, converts, prefix, deprecation }
    }

    /// A resource that a definition defines, in one of its versions.
    pub(crate) fn custom(info: Info, rules: &'static Kind) -> Self {
        let prefix = format!("/registry/{}/{}/", info.group, info.plural);
        Self { storage: info.clone(), info, rules, converts: false, prefix, deprecation: None }
    }

    /// What the definition says, for a custom resource.
    pub(crate) fn definition(&self) -> Option<&Arc<Version>> {
        self.info.custom()
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

    /// Whether objects of a built-in kind are answered in another version than they are stored in.
    pub(crate) fn converts(&self) -> bool {
        self.converts
    }

    /// Whether objects are stored at all: reviews and bindings are not.
    pub(crate) fn stored(&self) -> bool {
        self.info.serves("get")
    }

    /// The group and version as objects state it.
    pub(crate) fn api_version(&self) -> String {
        self.info.api_version()
    }

    /// What users of a deprecated resource are told.
    pub(crate) fn deprecation(&self) -> Option<&str> {
        if let Some(version) = self.definition() {
            return version.deprecation.as_deref();
        }
        self.deprecation.as_deref()
    }

    /// Whether it is the resource of definitions.
    pub(crate) fn is_definitions(&self) -> bool {
        self.is("apiextensions.k8s.io", "customresourcedefinitions")
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
    built_in: Vec<Arc<Served>>,
    custom: ArcSwap<CustomSet>,
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The resource.
    pub(crate) served: Arc<Served>,
    /// The sub-resource, if it is about one.
    pub(crate) subresource: Option<&'static Subresource>,
}

impl Registry {
    /// The built-in resources, and no custom ones.
    pub(crate) fn built_in() -> Self {
        let built_in = resources::all().iter().map(|info| Arc::new(Served::built_in(info))).collect();
        Self { built_in, custom: ArcSwap::default() }
    }

    /// Serves no resource of a built-in group.
    pub(crate) fn without(mut self, group: &str) -> Self {
        self.built_in.retain(|served| served.info.group != group);
        self
    }

    /// Whether resources of a built-in group are served.
    pub(crate) fn has(&self, group: &str) -> bool {
        self.built_in.iter().any(|served| served.info.group == group)
    }

    /// The custom resources that are served now.
    pub(crate) fn custom(&self) -> Arc<CustomSet> {
        self.custom.load_full()
    }

    /// Serves other custom resources from now on, unless what is served is as new.
    pub(crate) fn serve(&self, custom: CustomSet) {
        let custom = Arc::new(custom);
        let before = self.custom.rcu(|now| Arc::clone(if now.revision() < custom.revision() { &custom } else { now }));
        let now = self.custom();
        for old in before.resources() {
            let Some(version) = old.definition() else { continue };
            let carries_on = now.find(&old.info.group, &old.info.version, &old.info.plural);
            let carries_on = carries_on.as_ref().and_then(|now| now.definition());
            if !carries_on.is_some_and(|now| Arc::ptr_eq(&now.retired, &version.retired)) {
                version.retired.stop();
            }
        }
    }

    /// Every resource whose objects are stored, in each of its versions.
    #[cfg(feature = "http")]
    pub(crate) fn stored(&self) -> Vec<Arc<Served>> {
        let custom = self.custom();
        let all = self.built_in.iter().chain(custom.resources());
        all.filter(|served| served.stored() && served.info.group != crate::usage::GROUP).cloned().collect()
    }

    /// Finds a resource.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Served>> {
        let built_in = self.find_built_in(group, version, plural).map(Arc::clone);
        built_in.or_else(|| self.custom.load().find(group, version, plural))
    }

    /// Whether something follows from writes: from those to definitions, and to what stands in the way of one's end.
    pub(crate) fn is_followed(&self, served: &Served) -> bool {
        if served.definition().is_none() {
            return served.is_definitions();
        }
        let Info { group, version, plural, .. } = &served.info;
        let now = self.custom.load().find(group, version, plural);
        now.is_none_or(|now| now.definition().is_some_and(|version| version.definition.terminating))
    }

    fn find_built_in(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        let at = self.built_in.binary_search_by(|served| {
            let info = &served.info;
            (&*info.group, &*info.version, &*info.plural).cmp(&(group, version, plural))
        });
        at.ok().map(|at| &self.built_in[at])
    }

    /// A resource and its other versions, itself first.
    pub(crate) fn forms(&self, served: &Served) -> Vec<Arc<Served>> {
        let Info { group, version, plural, .. } = &served.info;
        let own: Vec<Arc<Served>> = self.find(group, version, plural).into_iter().collect();
        let custom = self.custom.load();
        let all: &[Arc<Served>] = if served.definition().is_some() { custom.resources() } else { &self.built_in };
        let same = |other: &&Arc<Served>| {
            other.prefix == served.prefix && (&other.info.group, &other.info.version) != (group, version)
        };
        let others: Vec<Arc<Served>> = all.iter().filter(same).cloned().collect();
        own.into_iter().chain(others).collect()
    }

    /// Finds the resource whose objects are of a kind.
    #[cfg(feature = "cel")]
    pub(crate) fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Served>> {
        let is = |served: &&Arc<Served>| {
            let info = &served.info;
            info.group == group && info.version == version && info.kind == kind && served.stored()
        };
        let custom = self.custom.load();
        self.built_in.iter().find(is).or_else(|| custom.resources().iter().find(is)).cloned()
    }

    /// Finds a resource that must exist because the fact table has it.
    pub(crate) fn known(&self, group: &str, version: &str, plural: &str) -> Result<&Arc<Served>> {
        self.find_built_in(group, version, plural)
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("no resource {group}/{version}/{plural} is known")))
    }

    /// Finds the resource and sub-resource of a request, and checks the verb.
    pub(crate) fn resolve(&self, request: &Request) -> Result<Target> {
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
        assert_eq!(format!("{} {}", served.storage.api_version(), served.key("ns", "x").as_str()), expect);
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
        for served in Registry::built_in().built_in {
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
