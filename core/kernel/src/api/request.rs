//! One request, as typed data: what a URL, its query and its body say.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use crate::access::Identity;

/// A resource's full name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionResource {
    /// The API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The API version.
    pub version: Cow<'static, str>,
    /// The resource's plural name.
    pub resource: Cow<'static, str>,
}

impl GroupVersionResource {
    /// A name known at compile time.
    #[must_use]
    pub const fn of(group: &'static str, version: &'static str, resource: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), version: Cow::Borrowed(version), resource: Cow::Borrowed(resource) }
    }

    /// The group and version as objects state it: `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Reads one object (or a log).
    Get,
    /// Reads a collection.
    List,
    /// Follows a collection.
    Watch,
    /// Creates an object, or posts to a sub-resource.
    Create,
    /// Replaces an object.
    Update,
    /// Patches an object.
    Patch(PatchType),
    /// Deletes an object.
    Delete,
    /// Deletes a collection.
    DeleteCollection,
    /// Opens a session: exec, attach, port-forward.
    Connect,
}

impl Verb {
    /// The verb as authorization knows it. A `Connect` is a `create` (`get` is also accepted by the HTTP server).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create | Self::Connect => "create",
            Self::Update => "update",
            Self::Patch(_) => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// How `resourceVersion` of a list is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// Exactly that state.
    Exact,
    /// That state or a later one.
    NotOlderThan,
}

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// What becomes of dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without owner.
    Orphan,
    /// They are collected later.
    Background,
    /// They go first.
    Foreground,
}

/// What must hold for a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object's uid.
    pub uid: Option<String>,
    /// The object's resource version.
    pub resource_version: Option<String>,
}

/// The options of all verbs; each verb reads its own.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// List, watch: a label selector.
    pub label_selector: String,
    /// List, watch: a field selector.
    pub field_selector: String,
    /// Get, list, watch: the resource version asked for; empty for the latest.
    pub resource_version: String,
    /// List, watch: how `resource_version` is to be read.
    pub version_match: Option<VersionMatch>,
    /// List: at most so many items; 0 for all.
    pub limit: u64,
    /// List: the token of the last page.
    pub continue_token: String,
    /// List, watch: ends the call after so long.
    pub timeout: Option<Duration>,
    /// Watch: whether bookmarks are wanted.
    pub bookmarks: bool,
    /// Watch: whether the present objects come first.
    pub send_initial_events: Option<bool>,
    /// Writes: check everything, change nothing.
    pub dry_run: bool,
    /// Writes: who owns the fields that are written.
    pub field_manager: String,
    /// Writes: what to do about unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Apply: take over fields that others own.
    pub force: bool,
    /// Deletions: seconds to end gracefully.
    pub grace_period: Option<i64>,
    /// Deletions: what becomes of dependents.
    pub propagation: Option<Propagation>,
    /// Deletions: what must hold.
    pub preconditions: Preconditions,
    /// All other query parameters, in their order: those of logs, exec and port-forward.
    pub query: Vec<(String, String)>,
}

impl Options {
    /// The first value of a query parameter that has no field of its own.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a request carries.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// A decoded object or patch.
    Value(Value),
    /// Bytes of a media type, not yet decoded.
    Bytes {
        /// The media type; empty where the client gave none (read as JSON).
        media_type: String,
        /// The bytes.
        bytes: Bytes,
    },
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub resource: GroupVersionResource,
    /// In which namespace; empty for cluster-scoped resources and for all namespaces.
    pub namespace: String,
    /// To which object; empty for a collection or a creation.
    pub name: String,
    /// To which sub-resource; empty for the object itself.
    pub subresource: String,
    /// How.
    pub options: Options,
    /// With what.
    pub body: Body,
    /// The client's own name (`User-Agent`): the default field manager is its part before the first `/`.
    pub user_agent: String,
}

impl Request {
    /// A request without namespace, name, options or body.
    #[must_use]
    pub fn new(identity: Arc<Identity>, verb: Verb, resource: GroupVersionResource) -> Self {
        Self {
            identity,
            verb,
            resource,
            namespace: String::new(),
            name: String::new(),
            subresource: String::new(),
            options: Options::default(),
            body: Body::None,
            user_agent: String::new(),
        }
    }

    /// Sets the namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the object's name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the sub-resource.
    #[must_use]
    pub fn subresource(mut self, subresource: impl Into<String>) -> Self {
        self.subresource = subresource.into();
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, value: Value) -> Self {
        self.body = Body::Value(value);
        self
    }
}
