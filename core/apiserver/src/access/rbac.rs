//! Role-based access control over the roles and bindings in a store.
//!
//! The rules are kept as an index by subject; a request pays for the changes since the last one, not for all rules.

mod index;
mod rules;

use std::{fmt, pin::Pin, sync::Arc, task};

use async_trait::async_trait;
use futures::Stream;
use parking_lot::Mutex;
use windlass_kernel::{
    Authorizer, Document, Identity, Result, Revision, Store,
    access::{Attributes, Decision},
    store::{Entry, KeyRange, ListSpec, ReadAt, WatchStream},
};

use self::index::Index;
pub(crate) use self::rules::uncovered;
pub use self::{index::Scope, rules::PolicyRule};

/// Where the API server keeps roles and bindings.
const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// Decides by Roles, ClusterRoles and their bindings; members of `system:masters` may do everything.
pub struct Rbac {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    index: Index,
    /// The changes that are not in the index yet; `None` before the first request and after a failure.
    watch: Option<WatchStream>,
}

impl fmt::Debug for Rbac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rbac").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Rbac {
    /// Reads the rules from `store` when the first request comes.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, state: Mutex::default() }
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
        self.with(|index| index.decide(identity, attributes)).await
    }

    /// All rules that hold for an identity, cluster-wide and in `namespace` (where it is not empty).
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn rules_for(&self, identity: &Identity, namespace: &str) -> Result<Vec<PolicyRule>> {
        let everything = identity.belongs_to("system:masters").then(PolicyRule::everything).into_iter().flatten();
        let mut rules: Vec<PolicyRule> = everything.collect();
        rules.extend(self.with(|index| index.rules_for(identity, namespace)).await?);
        Ok(rules)
    }

    /// The rules of a role, with those it aggregates; `None` where there is no such role.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn rules_of(&self, scope: &Scope, name: &str) -> Result<Option<Vec<PolicyRule>>> {
        self.with(|index| index.rules_of(scope, name)).await
    }

    /// Reads from an index that holds everything acknowledged before the call.
    async fn with<T: Send>(&self, read: impl FnOnce(&Index) -> T + Send) -> Result<T> {
        let latest = self.store.latest().await?;
        {
            let mut state = self.state.lock();
            if state.catch_up(latest) {
                return Ok(read(&state.index));
            }
        }
        let range = KeyRange::prefix(PREFIX);
        let listing = self.store.list(&ListSpec { range: range.clone(), at: ReadAt::Latest, limit: None }).await?;
        let watch = self.store.watch(range, listing.revision).await?;
        let mut state = self.state.lock();
        // Another request may have been faster; its index is as good, and newer ones are not undone.
        if state.index.revision <= listing.revision {
            state.index.replace(listing.revision, &listing.entries, parse);
            state.watch = Some(watch);
        }
        Ok(read(&state.index))
    }
}

impl State {
    /// Takes in what the watch has; whether the index then holds everything up to `latest`.
    fn catch_up(&mut self, latest: Revision) -> bool {
        let Some(watch) = &mut self.watch else { return false };
        let mut context = task::Context::from_waker(futures::task::noop_waker_ref());
        while let task::Poll::Ready(next) = Pin::new(&mut *watch).poll_next(&mut context) {
            let Some(Ok(change)) = next else {
                self.watch = None;
                return false;
            };
            match &change.after {
                Some(entry) => self.index.put(&entry.key, entry.modified, parse(entry)),
                None => self.index.remove(change.key()),
            }
            self.index.revision = change.revision;
        }
        self.index.revision = self.index.revision.max(watch.progress());
        self.index.revision >= latest
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
