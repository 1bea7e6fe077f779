//! Role-based access control over the roles and bindings in a store.
//!
//! The rules are kept as an index by subject; a request pays for the changes since the last one, not for all rules.

mod index;
mod rules;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use windlass_kernel::{
    Authorizer, Document, Identity, Result, Store,
    access::{Attributes, Decision},
    store::Entry,
};

use self::index::Index;
pub(crate) use self::rules::uncovered;
pub use self::{index::Scope, rules::PolicyRule};
use crate::followed::Followed;

/// Where the API server keeps roles and bindings.
const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// Decides by Roles, ClusterRoles and their bindings; members of `system:masters` may do everything.
pub struct Rbac(Followed<Index>);

impl fmt::Debug for Rbac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rbac").finish_non_exhaustive()
    }
}

impl Rbac {
    /// Reads the rules from `store` when the first request comes.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(Followed::new(store, PREFIX))
    }

    /// Whether the rules allow it, and why.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn decide(&self, identity: &Identity, attributes: &Attributes) -> Result<Decision> {
        if identity.belongs_to("system:masters") {
            return Ok(Decision::Allow("RBAC: allowed as a member of \"system:masters\"".into()));
        }
        self.0.with(|index| index.decide(identity, attributes)).await
    }

    /// All rules that hold for an identity, cluster-wide and in `namespace` (where it is not empty).
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn rules_for(&self, identity: &Identity, namespace: &str) -> Result<Vec<PolicyRule>> {
        let everything = identity.belongs_to("system:masters").then(PolicyRule::everything).into_iter().flatten();
        let mut rules: Vec<PolicyRule> = everything.collect();
        rules.extend(self.0.with(|index| index.rules_for(identity, namespace)).await?);
        Ok(rules)
    }

    /// The rules of a role, with those it aggregates; `None` where there is no such role.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn rules_of(&self, scope: &Scope, name: &str) -> Result<Option<Vec<PolicyRule>>> {
        self.0.with(|index| index.rules_of(scope, name)).await
    }
}

fn parse(entry: &Arc<Entry>) -> Option<index::Object> {
    let object = Document::stored(Arc::clone(entry)).and_then(|document| document.decode());
    // What cannot be read allows nothing.
    object.inspect_err(|error| tracing::warn!(key = ?entry.key, %error, "unreadable access rule")).ok()
}

#[async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Result<Decision> {
        self.decide(identity, attributes).await
    }
}
