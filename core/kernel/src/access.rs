//! Who asks, whether they may, and what a request must look like: three composable gates before every request.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use serde_json::Value;

use crate::{api::Request, error::Result};

/// Who asks (`authentication/v1 UserInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub name: String,
    /// The user's uid; may be empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// Whatever else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user by name and groups.
    #[must_use]
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// Whoever brings no credential: `system:anonymous`.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }

    /// Whether the identity belongs to `group`.
    #[must_use]
    pub fn belongs_to(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// What a connection or request brought along to prove who it is.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The token of an `Authorization: Bearer` header.
    pub bearer: Option<String>,
    /// The verified client certificate, DER encoded.
    pub certificate: Option<Vec<u8>>,
    /// Whom the credential must be meant for, one of them; empty where that is the server itself.
    pub audiences: Vec<String>,
}

/// Says who asks.
///
/// # Contract
///
/// 1. **None is not no.** `None` means that the credential is of another's kind; an invalid credential of one's own kind
///    is [`Unauthorized`](crate::ErrorKind::Unauthorized).
/// 2. **Cancel-safe.** The call changes nothing.
/// 3. **For whom.** No credential is accepted that is not known to be meant for one of the audiences asked for.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// The identity behind `credentials`.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>>;
}

/// What is to be done, as authorizers see it (`authorization/v1 SubjectAccessReviewSpec`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or one's own.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The resource's plural name; empty for a path.
    pub resource: String,
    /// The sub-resource.
    pub subresource: String,
    /// The namespace; empty for cluster-scoped resources and for all namespaces.
    pub namespace: String,
    /// The object's name; empty for all.
    pub name: String,
    /// The field selector of a collection, as its request has it; empty for all.
    pub field_selector: String,
    /// The URL path, where the request is not for a resource.
    pub path: String,
}

/// An authorizer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed, with the reason.
    Allow(String),
    /// Denied whatever others say, with the reason.
    Deny(String),
    /// Others may decide; with the reason for not allowing.
    NoOpinion(String),
}

/// Says whether an identity may do something.
///
/// # Contract
///
/// 1. **Additive.** Without an `Allow` nothing is allowed.
/// 2. **Fresh.** A change of the rules holds for requests that begin after it was acknowledged.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Whether `identity` may do what `attributes` describe.
    async fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Result<Decision>;
}

/// A write on its way through admission.
#[derive(Debug)]
pub struct Admitting<'a> {
    /// The request.
    pub request: &'a Request,
    /// The object as it is stored now; `None` for a creation.
    pub old: Option<&'a Value>,
    /// The object as it will be stored; `None` for a deletion.
    pub new: Option<&'a mut Value>,
    /// Warnings for the client.
    pub warnings: Vec<String>,
}

/// Changes or refuses writes.
///
/// # Contract
///
/// 1. **Interest first.** Only requests for which [`handles`](Admission::handles) answered yes are shown.
/// 2. **Mutating, then validating.** [`mutate`](Admission::mutate) of all plugins runs before any
///    [`validate`](Admission::validate); a validation that changes the object is a bug.
/// 3. **Repeatable.** `mutate` may run again on its own result and then changes nothing.
/// 4. **Dry run.** Where the request is one, nothing outside it changes.
#[async_trait]
pub trait Admission: Debug + Send + Sync + 'static {
    /// The plugin's name, as in messages.
    fn name(&self) -> &str;

    /// Whether the plugin wants to see such requests.
    fn handles(&self, request: &Request) -> bool;

    /// Whether it looks at `metadata.managedFields` of objects that are created. Where nobody does, they are written
    /// into the stored form alone, which is cheaper.
    fn reads_managed_fields(&self) -> bool {
        true
    }

    /// Changes the object or refuses the request.
    async fn mutate(&self, _admitting: &mut Admitting<'_>) -> Result<()> {
        Ok(())
    }

    /// Refuses the request or lets it pass.
    async fn validate(&self, _admitting: &mut Admitting<'_>) -> Result<()> {
        Ok(())
    }
}
