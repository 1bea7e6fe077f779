//! What objects of `admissionregistration.k8s.io` register: webhooks and policies that see writes on their way.
//!
//! What is registered is read from the store and followed there, so that it holds from the next request on. The objects
//! that register are never subject to it themselves.

mod asked;
#[cfg(feature = "cel")]
mod evaluation;
mod fixed;
mod hooks;
mod matching;
mod namespace;
#[cfg(feature = "cel")]
mod policies;
mod review;
mod rounds;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde_json::Value;
use windlass_kernel::{
    Document,
    api::Request,
    error::Result,
    store::{Entry, Key},
};

pub(crate) use self::fixed::{Fixed, read as fixed, renew, reserved, without_gate};
use self::hooks::Hook;
#[cfg(feature = "cel")]
pub(crate) use self::policies::{check_conditions, check_policy, type_checked};
pub(crate) use self::{asked::Asked, matching::Operation, rounds::Rounds};
use crate::{
    figures::{Own, Step, Who},
    followed,
    registry::Served,
    server::ApiServer,
};

/// Where the API server keeps what is registered.
pub(crate) const PREFIX: &str = "/registry/admissionregistration.k8s.io/";

/// Everything that is registered, in the order in which it is asked: by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registered {
    mutating: BTreeMap<Key, Arc<Vec<Hook>>>,
    validating: BTreeMap<Key, Arc<Vec<Hook>>>,
    #[cfg(feature = "cel")]
    policies: policies::Policies,
}

impl Registered {
    /// Whether nothing is.
    fn is_empty(&self) -> bool {
        #[cfg(feature = "cel")]
        let policies = self.policies.is_empty();
        #[cfg(not(feature = "cel"))]
        let policies = true;
        self.mutating.is_empty() && self.validating.is_empty() && policies
    }

    fn put(&mut self, key: &Key, object: &Value) {
        match object["kind"].as_str() {
            Some("MutatingWebhookConfiguration") => _ = self.mutating.insert(key.clone(), Hook::read_all(object)),
            Some("ValidatingWebhookConfiguration") => _ = self.validating.insert(key.clone(), Hook::read_all(object)),
            #[cfg(feature = "cel")]
            Some(kind) => self.policies.put(key, kind, object),
            _ => {}
        }
    }

    fn remove(&mut self, key: &Key) {
        self.mutating.remove(key);
        self.validating.remove(key);
        #[cfg(feature = "cel")]
        self.policies.remove(key);
    }

    /// Lets policies and webhooks change what is written, or refuse it.
    pub(crate) async fn mutate(&self, asked: &mut Asked<'_>, rounds: &mut Rounds) -> Result<()> {
        let plugins = &asked.server.parts.plugins;
        #[cfg(feature = "cel")]
        if plugins.run("MutatingAdmissionPolicy") {
            let (server, operation) = (asked.server, asked.operation);
            let work = self.policies.mutate(asked, rounds);
            server.admitting((Who::Own(Own::MutatingPolicies), Step::Admit, operation), work).await?;
        }
        if !plugins.run("MutatingAdmissionWebhook") {
            return Ok(());
        }
        let hooks = self.mutating.values().flat_map(|hooks| hooks.iter());
        let (server, operation) = (asked.server, asked.operation);
        let work = hooks::mutate(hooks, asked, rounds);
        server.admitting((Who::Own(Own::MutatingWebhooks), Step::Admit, operation), work).await
    }

    /// Lets policies and webhooks refuse what is written.
    pub(crate) async fn validate(&self, asked: &mut Asked<'_>) -> Result<()> {
        let plugins = &asked.server.parts.plugins;
        #[cfg(feature = "cel")]
        if plugins.run("ValidatingAdmissionPolicy") {
            let (server, operation) = (asked.server, asked.operation);
            let work = self.policies.validate(asked);
            server.admitting((Who::Own(Own::ValidatingPolicies), Step::Validate, operation), work).await?;
        }
        if !plugins.run("ValidatingAdmissionWebhook") {
            return Ok(());
        }
        let hooks = self.validating.values().flat_map(|hooks| hooks.iter());
        let (server, operation) = (asked.server, asked.operation);
        let work = hooks::validate(hooks, asked);
        server.admitting((Who::Own(Own::ValidatingWebhooks), Step::Validate, operation), work).await
    }
}

/// What is registered, as an index that follows the store.
#[derive(Default)]
pub(crate) struct Snapshot(Arc<Registered>);

impl Snapshot {
    /// Begins with what files register.
    pub(crate) fn beside(fixed: &Fixed) -> Self {
        Self(Arc::clone(fixed.registered()))
    }

    /// Goes on with what files register now.
    fn refix(&mut self, fixed: &Fixed, before: &Fixed) {
        fixed.replace(before, Arc::make_mut(&mut self.0));
    }
}

impl followed::Index for Snapshot {
    fn put(&mut self, entry: &Arc<Entry>) {
        let object = Document::stored(Arc::clone(entry)).and_then(|document| document.value());
        let registered = Arc::make_mut(&mut self.0);
        registered.remove(&entry.key);
        match object {
            Ok(object) => registered.put(&entry.key, &object),
            Err(error) => tracing::error!(key = ?entry.key, %error, "unreadable registration"),
        }
    }

    fn remove(&mut self, key: &Key) {
        Arc::make_mut(&mut self.0).remove(key);
    }
}

/// What is registered and may concern requests for a resource; nothing where none can.
pub(crate) async fn concerning(server: &ApiServer, served: &Served, request: &Request) -> Result<Arc<Registered>> {
    static NOTHING: LazyLock<Arc<Registered>> = LazyLock::new(Arc::default);
    // What registers is exempt, or nobody could take away what refuses everything.
    if request.verb == windlass_kernel::api::Verb::Get {
        return Ok(Arc::clone(&NOTHING));
    }
    if served.storage.group == "admissionregistration.k8s.io" {
        return Ok(Arc::clone(server.parts.fixed.load().registered()));
    }
    server.parts.registered.with(|snapshot| Arc::clone(&snapshot.0)).await
}

impl Registered {
    /// Nothing, or what is registered.
    pub(crate) fn any(self: &Arc<Self>) -> Option<&Arc<Self>> {
        Some(self).filter(|own| !own.is_empty())
    }
}
