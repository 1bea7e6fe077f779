//! The resources that Kubernetes serves: names, scope, verbs, kinds and sub-resources.
//!
//! Facts only: which of them a server really serves is its own decision.

use crate::schema::Message;

/// A kind with its group and version; the core group is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// The group, empty for core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
}

/// A resource of one group and version.
#[derive(Debug)]
pub struct ResourceInfo {
    /// The group, empty for core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The name in paths.
    pub plural: &'static str,
    /// The name of one object, in lower case.
    pub singular: &'static str,
    /// The kind of its objects.
    pub kind: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The verbs that are served, sorted.
    pub verbs: &'static [&'static str],
    /// What kubectl accepts instead of the plural.
    pub short_names: &'static [&'static str],
    /// The groups of resources that kubectl knows it by, such as `all`.
    pub categories: &'static [&'static str],
    /// The patch content types, without `application/`.
    pub patches: &'static [&'static str],
    /// The type of its objects.
    pub message: &'static Message,
    /// The type of its lists, where it can be listed.
    pub list: Option<&'static Message>,
    /// The sub-resources, sorted by name.
    pub subresources: &'static [Subresource],
}

/// A sub-resource, such as `status` or `exec`.
#[derive(Debug)]
pub struct Subresource {
    /// The last segment of its path.
    pub name: &'static str,
    /// The kind that is sent to it.
    pub kind: GroupVersionKind,
    /// The verbs that are served, sorted.
    pub verbs: &'static [&'static str],
    /// The patch content types, without `application/`.
    pub patches: &'static [&'static str],
    /// The type that is sent to it.
    pub message: &'static Message,
}
