//! The versions that definitions serve, as resources of the registry.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use windlass_api::{
    apply::TypeRef,
    resources::{self, Subresource},
    schema::Message,
};
use windlass_kernel::{
    Stop,
    document::Document,
    error::Result,
    store::{Entry, Key, Revision},
};

use super::{
    definition::{Definition, Shape, condition},
    path::JsonPath,
    schema::Node,
};
use crate::{
    kinds, object,
    registry::{Info, Schema, Served as Resource},
    table::Columns,
};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const PATCHES: [&str; 3] = ["apply-patch+yaml", "json-patch+json", "merge-patch+json"];

/// One version of a custom resource.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) definition: Arc<Definition>,
    pub(crate) name: String,
    shape: Arc<Shape>,
    /// The schema as apply needs it: with the fields that every object has.
    applied: Value,
    /// What tables show.
    pub(crate) columns: Arc<Columns>,
    /// The fields that selectors may ask for, by name.
    pub(crate) selectable: Vec<(String, JsonPath)>,
    pub(crate) status: bool,
    pub(crate) scale: Option<Scale>,
    /// What users of a deprecated version are told.
    pub(crate) deprecation: Option<String>,
    /// Stops when the version is served in another form, or no more: whoever follows it begins anew.
    pub(crate) retired: Arc<Stop>,
    /// Its rules in CEL.
    #[cfg(feature = "cel")]
    pub(crate) rules: super::rules::Rules,
}

/// Where a custom object has what a Scale shows.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) spec: JsonPath,
    pub(crate) status: JsonPath,
    pub(crate) selector: Option<JsonPath>,
}

impl Version {
    fn read(definition: &Arc<Definition>, version: &Value) -> Option<Self> {
        let name = version["name"].as_str()?.to_owned();
        let shape = Arc::clone(definition.shapes.get(&name)?);
        let mut applied = (*shape.schema).clone();
        if !applied["properties"].is_object() {
            applied["properties"] = Value::Object(serde_json::Map::new());
        }
        let selectable = version["selectableFields"].as_array().into_iter().flatten().filter_map(|field| {
            let path = field["jsonPath"].as_str()?;
            Some((path.trim_start_matches('.').to_owned(), JsonPath::read(path)?))
        });
        let path = |scale: &Value, name: &str| scale[name].as_str().and_then(JsonPath::read);
        let scale = &version["subresources"]["scale"];
        let deprecation = (version["deprecated"] == true).then(|| {
            let said = version["deprecationWarning"].as_str().map(str::to_owned);
            said.unwrap_or_else(|| format!("{}/{name} {} is deprecated", definition.group, definition.names.kind))
        });
        Some(Self {
            columns: Arc::new(Columns::read(version)),
            selectable: selectable.collect(),
            status: version["subresources"]["status"].is_object(),
            scale: path(scale, "specReplicasPath").zip(path(scale, "statusReplicasPath")).map(|(spec, status)| Scale {
                spec,
                status,
                selector: path(scale, "labelSelectorPath"),
            }),
            deprecation,
            retired: Arc::default(),
            #[cfg(feature = "cel")]
            rules: super::rules::Rules::read(&shape.node),
            definition: Arc::clone(definition),
            applied,
            name,
            shape,
        })
    }

    /// The schema, read.
    pub(crate) fn node(&self) -> &Node {
        &self.shape.node
    }

    /// The schema as it is written.
    pub(crate) fn schema(&self) -> &Arc<Value> {
        &self.shape.schema
    }

    /// How objects are divided among owners.
    pub(crate) fn type_ref(&self) -> TypeRef<'_> {
        match Message::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") {
            Some(meta) => TypeRef::custom(&self.applied, meta),
            None => TypeRef::DEDUCED,
        }
    }

    fn resource(self: &Arc<Self>) -> Resource {
        let Definition { group, names, namespaced, .. } = &*self.definition;
        let info = Info {
            group: group.clone().into(),
            version: self.name.clone().into(),
            plural: names.plural.clone().into(),
            kind: names.kind.clone().into(),
            // A name that another definition has is not accepted, and lists are of some kind all the same.
            list_kind: if names.list_kind.is_empty() { format!("{}List", names.kind) } else { names.list_kind.clone() }
                .into(),
            namespaced: *namespaced,
            verbs: &VERBS,
            patches: &PATCHES,
            subresources: self.subresources().into(),
            schema: Schema::Custom(Arc::clone(self)),
        };
        let rules = if self.status { &kinds::CUSTOM_WITH_STATUS } else { &kinds::CUSTOM };
        Resource::custom(info, rules)
    }

    /// The sub-resources; those of deployments are served with the same verbs.
    fn subresources(&self) -> Vec<&'static Subresource> {
        let wanted = [("scale", self.scale.is_some()), ("status", self.status)];
        let like = resources::find("apps", "v1", "deployments");
        let found = wanted.into_iter().filter(|(_, wanted)| *wanted);
        found.filter_map(|(name, _)| like?.subresource(name)).collect()
    }
}

/// A definition that was read.
#[derive(Clone, Debug)]
struct Known {
    /// The revision of its last change.
    modified: Revision,
    /// Equal where nothing changed that objects look like.
    content: String,
    terminating: bool,
    served: Vec<Arc<Resource>>,
}

/// All custom resources that are served at one revision of the store.
#[derive(Debug, Default)]
pub(crate) struct Served {
    revision: Revision,
    /// By definition; those that are not served have no resources.
    definitions: BTreeMap<Key, Known>,
    /// Sorted by group, version and plural.
    resources: Vec<Arc<Resource>>,
}

impl Served {
    /// What these definitions define. What has not changed is taken over from `before`.
    pub(crate) fn of(definitions: &[Document], revision: Revision, before: &Self) -> Result<Self> {
        let mut read = BTreeMap::new();
        for document in definitions {
            let entry = document.entry();
            let known = before.definitions.get(&entry.key);
            let known = match known.filter(|known| known.modified == entry.modified) {
                Some(known) => known.clone(),
                None => Known::read(&document.value()?, entry.modified, known),
            };
            read.insert(entry.key.clone(), known);
        }
        let mut resources: Vec<Arc<Resource>> = read.values().flat_map(|known| &known.served).cloned().collect();
        resources.sort_by(|a, b| key(a).cmp(&key(b)));
        Ok(Self { revision, definitions: read, resources })
    }

    /// The revision of the store that this was read at.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Finds a resource.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let at = self.resources.binary_search_by(|own| key(own).cmp(&(group, version, plural))).ok()?;
        Some(Arc::clone(&self.resources[at]))
    }

    /// Whether it is made of these definitions.
    pub(crate) fn is_of(&self, entries: &[Arc<Entry>]) -> bool {
        let same =
            |entry: &Arc<Entry>| self.definitions.get(&entry.key).is_some_and(|own| own.modified == entry.modified);
        entries.len() == self.definitions.len() && entries.iter().all(same)
    }

    /// The resources, sorted by group, version and plural.
    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }
}

impl Known {
    /// Reads a definition; where it says what it said `before`, its resources stay the same.
    fn read(definition: &Value, modified: Revision, before: Option<&Self>) -> Self {
        // Marking it as deleted counts as a generation of its own, but nothing looks otherwise for that.
        let content = format!(
            "{} {} {} {}",
            definition["metadata"]["uid"],
            definition["spec"],
            condition(definition, "Established"),
            definition["status"]["acceptedNames"],
        );
        let terminating = !object::is_empty(object::meta(definition, "deletionTimestamp"));
        let before = before.filter(|before| before.content == content);
        let served = match before {
            Some(before) if before.terminating == terminating => before.served.clone(),
            before => resources_of(definition, before.map(|before| &before.served[..]).unwrap_or_default()),
        };
        Self { modified, content, terminating, served }
    }
}

fn key(resource: &Resource) -> (&str, &str, &str) {
    (&resource.info.group, &resource.info.version, &resource.info.plural)
}

/// The resource in the version that a definition stores, whether or not it is served.
pub(super) fn stored(definition: &Value) -> Option<Resource> {
    let read = Arc::new(Definition::read(definition)?);
    let mut versions = definition["spec"]["versions"].as_array()?.iter();
    let version = Version::read(&read, versions.find(|version| version["storage"] == true)?)?;
    Some(Arc::new(version).resource())
}

/// The resources of a definition; those that only carry on `before` retire together with it.
fn resources_of(definition: &Value, before: &[Arc<Resource>]) -> Vec<Arc<Resource>> {
    let Some(read) = Definition::read(definition).map(Arc::new) else { return Vec::new() };
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let served = versions.filter(|version| version["served"] == true);
    let built_in = |version: &Version| resources::find(&read.group, &version.name, &read.names.plural).is_some();
    let versions = served.filter_map(|version| Version::read(&read, version)).filter(|version| !built_in(version));
    let carried = |mut version: Version| {
        let before = before.iter().filter_map(|own| own.definition()).find(|own| own.name == version.name);
        if let Some(before) = before {
            version.retired = Arc::clone(&before.retired);
        }
        Arc::new(Arc::new(version).resource())
    };
    versions.map(carried).collect()
}
