//! Which objects a list, a watch or an informer is about.

use windlass_api::types::Resource;
use windlass_kernel::{
    Identity,
    api::{GroupVersionResource, Request, Verb},
};

/// The resource of a type.
#[must_use]
pub const fn gvr<T: Resource>() -> GroupVersionResource {
    GroupVersionResource::of(T::GROUP, T::VERSION, T::PLURAL)
}

/// A part of a collection: a namespace and selectors. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Select {
    /// The namespace; empty for all.
    pub namespace: String,
    /// A label selector; empty for all.
    pub labels: String,
    /// A field selector; empty for all.
    pub fields: String,
}

impl Select {
    /// Everything, in all namespaces.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Everything in a namespace.
    #[must_use]
    pub fn namespace(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), ..Self::default() }
    }

    /// Narrowed to what a label selector matches.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.labels = selector.into();
        self
    }

    /// Narrowed to what a field selector matches.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.fields = selector.into();
        self
    }

    /// Narrowed to the object of that name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.fields(format!("metadata.name={name}"))
    }

    /// The part of a resource's collection.
    #[must_use]
    pub fn of(self, resource: GroupVersionResource) -> Selection {
        Selection { resource, select: self }
    }
}

/// A part of one resource's collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// The resource.
    pub resource: GroupVersionResource,
    /// Which of its objects.
    pub select: Select,
}

impl Selection {
    /// All objects of a type.
    #[must_use]
    pub fn all<T: Resource>() -> Self {
        Select::all().of(gvr::<T>())
    }

    pub(crate) fn request(&self, identity: std::sync::Arc<Identity>, verb: Verb) -> Request {
        let mut request = Request::new(identity, verb, self.resource.clone()).in_namespace(&self.select.namespace);
        request.options.label_selector.clone_from(&self.select.labels);
        request.options.field_selector.clone_from(&self.select.fields);
        request
    }
}
