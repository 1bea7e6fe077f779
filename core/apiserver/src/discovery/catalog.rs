//! The list of served resources that every discovery document is made from.

use std::{borrow::Cow, fmt::Debug, sync::Arc};

use serde_json::Value;
use windlass_api::{
    resources::{self, GroupVersion, ResourceInfo},
    schema::Message,
};

use crate::{sub::explanation, table::Columns};

/// The shape of a resource's objects.
#[derive(Clone, Debug)]
pub enum Schema {
    /// A built-in type.
    BuiltIn(&'static Message),
    /// The `openAPIV3Schema` of a custom resource's version.
    Custom(Arc<Value>),
    /// A type of ours beside the fact table: the name of its definition, and its schema.
    Own(&'static str, Arc<Value>),
    /// Not told.
    Unknown,
}

/// A sub-resource that is served.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// The last segment of its path.
    pub name: Cow<'static, str>,
    /// The group, version and kind of what is sent to it.
    pub kind: [Cow<'static, str>; 3],
    /// The verbs, sorted.
    pub verbs: Vec<Cow<'static, str>>,
    /// The shape of what is sent to it.
    pub schema: Schema,
}

/// A resource that is served.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The group; empty for core.
    pub group: Cow<'static, str>,
    /// The version.
    pub version: Cow<'static, str>,
    /// The name in paths.
    pub plural: Cow<'static, str>,
    /// The name of one object, in lower case.
    pub singular: Cow<'static, str>,
    /// The kind of its objects.
    pub kind: Cow<'static, str>,
    /// The kind of its lists.
    pub list_kind: Cow<'static, str>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The verbs, sorted.
    pub verbs: Vec<Cow<'static, str>>,
    /// What kubectl accepts instead of the plural.
    pub short_names: Vec<Cow<'static, str>>,
    /// The groups of resources that kubectl knows it by, such as `all`.
    pub categories: Vec<Cow<'static, str>>,
    /// The sub-resources, sorted by name.
    pub subresources: Vec<Subresource>,
    /// The shape of its objects.
    pub schema: Schema,
    /// The columns of its tables, where a definition lists them.
    pub columns: Option<Arc<Columns>>,
}

impl Resource {
    /// Whether the verb is served.
    #[must_use]
    pub fn serves(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }

    /// The group and version as objects state it.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

impl From<&'static ResourceInfo> for Resource {
    fn from(info: &'static ResourceInfo) -> Self {
        let texts = |list: &'static [&'static str]| list.iter().map(|text| Cow::Borrowed(*text)).collect();
        let mut subresources: Vec<_> = info
            .subresources
            .iter()
            .map(|sub| Subresource {
                name: sub.name.into(),
                kind: [sub.kind.group.into(), sub.kind.version.into(), sub.kind.kind.into()],
                // `connect` is a word of the fact table; clients know the methods.
                verbs: sub.verbs.iter().filter(|verb| **verb != "connect").map(|verb| Cow::Borrowed(*verb)).collect(),
                schema: Schema::BuiltIn(sub.message),
            })
            .collect();
        if let Some(own) = explanation::of(info.group, info.version, info.plural) {
            let kind = [own.kind.group, own.kind.version, own.kind.kind].map(Cow::Borrowed);
            let verbs = own.verbs.iter().map(|verb| Cow::Borrowed(*verb)).collect();
            subresources.push(Subresource { name: own.name.into(), kind, verbs, schema: explanation::schema() });
            subresources.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Self {
            group: info.group.into(),
            version: info.version.into(),
            plural: info.plural.into(),
            singular: info.singular.into(),
            kind: info.kind.into(),
            list_kind: info.list_kind().into(),
            namespaced: info.namespaced,
            verbs: texts(info.verbs),
            short_names: texts(info.short_names),
            categories: texts(info.categories),
            subresources,
            schema: Schema::BuiltIn(info.message),
            columns: None,
        }
    }
}

/// Everything that is served at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows with every change; equal generations of one process are equal snapshots.
    pub generation: u64,
    /// The groups and versions in the order clients prefer them.
    pub versions: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// The resources.
    pub resources: Vec<Arc<Resource>>,
}

impl Snapshot {
    /// The built-in resources of the groups and versions that upstream serves by default.
    #[must_use]
    pub fn built_in() -> Self {
        Self::of_built_in(|info| info.group_version().served_by_default())
    }

    /// The built-in resources that are `served`.
    pub(crate) fn of_built_in(served: impl Fn(&'static ResourceInfo) -> bool) -> Self {
        let found: Vec<&'static ResourceInfo> = resources::all().iter().filter(|info| served(info)).collect();
        let any = |gv: &GroupVersion| found.iter().any(|info| info.group_version() == *gv);
        let versions = resources::group_versions().into_iter().filter(any);
        let versions = versions.map(|gv| (gv.group.into(), gv.version.into())).collect();
        let resources = found.into_iter().map(|info| Arc::new(Resource::from(info))).collect();
        Self { generation: 0, versions, resources }
    }

    /// The groups in their order, each with its versions; the core group is among them.
    #[must_use]
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for (group, version) in &self.versions {
            match groups.iter_mut().find(|known| known.0 == group) {
                Some(known) => known.1.push(version),
                None => groups.push((group, vec![version])),
            }
        }
        groups
    }

    /// The resources of a group and version.
    pub fn of<'s>(&'s self, group: &'s str, version: &'s str) -> impl Iterator<Item = &'s Arc<Resource>> {
        self.resources.iter().filter(move |resource| resource.group == group && resource.version == version)
    }

    /// Whether the group and version are served.
    #[must_use]
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.versions.iter().any(|(g, v)| g == group && v == version)
    }

    /// Finds a resource by its name in paths.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|own| own.group == group && own.version == version && own.plural == plural)
    }
}

/// Knows what is served now.
///
/// # Contract
///
/// 1. **Cheap.** A snapshot is shared, not copied.
/// 2. **Current.** What a request that began after a change sees includes the change.
pub trait Catalog: Debug + Send + Sync + 'static {
    /// What is served now.
    fn snapshot(&self) -> Arc<Snapshot>;
}

/// The built-in resources, which never change.
#[derive(Clone, Debug)]
pub struct BuiltIn(Arc<Snapshot>);

impl BuiltIn {
    /// The built-in resources.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Snapshot::built_in()))
    }
}

impl Default for BuiltIn {
    fn default() -> Self {
        Self::new()
    }
}

impl Catalog for BuiltIn {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }
}

/// `v1`, `apps/v1`.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
