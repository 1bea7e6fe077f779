//! What a server serves now, for discovery: the built-in resources and those that are defined.

use std::{borrow::Cow, sync::Arc};

use arc_swap::ArcSwap;
use windlass_api::resources::{self, ResourceInfo};

use super::version::{Served, Version};
use crate::{
    discovery::{Catalog, Resource, Schema, Snapshot, Subresource},
    registry,
    server::ApiServer,
    usage,
};

/// Knows what a server serves, its custom resources included.
#[derive(Debug)]
pub struct Live {
    server: Arc<ApiServer>,
    built_in: Snapshot,
    last: ArcSwap<Snapshot>,
}

impl Live {
    /// What `server` serves.
    #[must_use]
    pub fn new(server: Arc<ApiServer>) -> Self {
        let measures = server.parts.registry.has(usage::GROUP);
        let versions = &server.parts.versions;
        let served =
            |info: &'static ResourceInfo| if info.group == usage::GROUP { measures } else { versions.serves(info) };
        let built_in = Snapshot::of_built_in(served);
        let last = ArcSwap::from_pointee(built_in.clone());
        Self { server, built_in, last }
    }
}

impl Catalog for Live {
    fn snapshot(&self) -> Arc<Snapshot> {
        let custom = self.server.parts.registry.custom();
        let last = self.last.load_full();
        if last.generation == custom.revision().0 {
            return last;
        }
        let now = Arc::new(with(&self.built_in, &custom));
        let newer = |last: &Arc<Snapshot>| Arc::clone(if last.generation < now.generation { &now } else { last });
        self.last.rcu(newer);
        now
    }
}

/// The built-in resources, then the custom ones: groups by name, the preferred version of each first.
fn with(built_in: &Snapshot, custom: &Served) -> Snapshot {
    let mut snapshot = Snapshot { generation: custom.revision().0, ..built_in.clone() };
    let mut versions: Vec<(&str, &str)> =
        custom.resources().iter().map(|own| (&*own.info.group, &*own.info.version)).collect();
    versions.sort_by(|a, b| a.0.cmp(b.0).then_with(|| resources::prefer(a.1, b.1)));
    versions.dedup();
    for (group, version) in versions {
        if !snapshot.serves(group, version) {
            snapshot.versions.push((group.to_owned().into(), version.to_owned().into()));
        }
    }
    let defined = custom.resources().iter().filter_map(|own| Some(Arc::new(resource(own, own.definition()?))));
    snapshot.resources.extend(defined);
    snapshot
}

fn resource(served: &registry::Served, version: &Arc<Version>) -> Resource {
    let info = &served.info;
    let names = &version.definition.names;
    let own = |texts: &[String]| texts.iter().map(|text| Cow::Owned(text.clone())).collect();
    let subresources = info.subresources.iter().map(|sub| {
        let whole = sub.name == "status";
        Subresource {
            name: sub.name.into(),
            kind: if whole {
                [info.group.clone(), info.version.clone(), info.kind.clone()]
            } else {
                [sub.kind.group.into(), sub.kind.version.into(), sub.kind.kind.into()]
            },
            verbs: sub.verbs.iter().map(|verb| Cow::Borrowed(*verb)).collect(),
            schema: if whole { Schema::Custom(Arc::clone(version.schema())) } else { Schema::BuiltIn(sub.message) },
        }
    });
    Resource {
        group: info.group.clone(),
        version: info.version.clone(),
        plural: info.plural.clone(),
        singular: names.singular.clone().into(),
        kind: info.kind.clone(),
        list_kind: info.list_kind.clone(),
        namespaced: info.namespaced,
        verbs: info.verbs.iter().map(|verb| Cow::Borrowed(*verb)).collect(),
        short_names: own(&names.short),
        categories: own(&names.categories),
        subresources: subresources.collect(),
        schema: Schema::Custom(Arc::clone(version.schema())),
        columns: Some(Arc::clone(&version.columns)),
    }
}
