//! The built-in admission plugins, in the order they run. Webhooks and policies come after them (`registered`), quotas
//! are charged with the write itself (`quota`).

mod account;
mod certificates;
mod configuration;
mod ingress;
mod limits;
mod namespace;
mod node;
mod optional;
mod plugins;
mod pods;
mod priority;
mod runtime;
mod security;
mod storage;
mod taint;
mod tolerations;

use std::sync::Arc;

use serde_json::Value;
use windlass_kernel::{
    Admission, Authorizer, Clock, Document, Entropy, Store,
    api::{Request, Verb},
    error::Result,
    store::{Key, KeyRange, ListSpec, ReadAt},
};

pub use self::{
    configuration::{AdmissionConfiguration, Manifest, ReadFiles},
    node::may_label,
    plugins::Plugins,
};
use crate::object;

/// What the built-in plugins are made of.
pub(crate) struct Means<'m> {
    pub(crate) store: &'m Arc<dyn Store>,
    pub(crate) clock: &'m Arc<dyn Clock>,
    pub(crate) entropy: &'m Arc<dyn Entropy>,
    pub(crate) authorizer: &'m Arc<dyn Authorizer>,
}

/// The built-in plugins that run, in upstream's order.
pub(crate) fn built_in(
    means: &Means<'_>,
    chosen: &Plugins,
    configuration: AdmissionConfiguration,
) -> Vec<Arc<dyn Admission>> {
    let Means { store, clock, entropy, authorizer } = means;
    let reader = || Reader { store: Arc::clone(store) };
    let authorizer = || Arc::clone(authorizer);
    let configured = Arc::clone(&configuration.node_selectors);
    let all: Vec<Arc<dyn Admission>> = vec![
        Arc::new(namespace::NamespaceLifecycle { reader: reader() }),
        Arc::new(optional::NamespaceExists { reader: reader() }),
        Arc::new(optional::LimitPodHardAntiAffinityTopology),
        Arc::new(limits::LimitRanger { reader: reader() }),
        Arc::new(account::ServiceAccount { reader: reader(), clock: Arc::clone(clock), entropy: Arc::clone(entropy) }),
        Arc::new(node::NodeRestriction { reader: reader() }),
        Arc::new(taint::TaintNodesByCondition),
        Arc::new(optional::AlwaysPullImages),
        Arc::new(security::PodSecurity { reader: reader(), configuration: configuration.pod_security }),
        Arc::new(optional::PodNodeSelector { reader: reader(), configured }),
        Arc::new(priority::Priority { reader: reader() }),
        Arc::new(tolerations::DefaultTolerationSeconds),
        Arc::new(optional::PodTolerationRestriction { reader: reader(), configured: configuration.tolerations }),
        Arc::new(optional::EventRateLimit::new(Arc::clone(clock), configuration.event_limits)),
        Arc::new(optional::ExtendedResourceToleration),
        Arc::new(storage::DefaultStorageClass { reader: reader() }),
        Arc::new(storage::StorageObjectInUseProtection),
        Arc::new(optional::OwnerReferencesPermissionEnforcement { reader: reader(), authorizer: authorizer() }),
        Arc::new(storage::PersistentVolumeClaimResize { reader: reader() }),
        Arc::new(runtime::RuntimeClass { reader: reader() }),
        Arc::new(certificates::CertificateApproval { authorizer: authorizer() }),
        Arc::new(certificates::CertificateSigning { authorizer: authorizer() }),
        Arc::new(certificates::ClusterTrustBundleAttest { authorizer: authorizer() }),
        Arc::new(certificates::CertificateSubjectRestriction),
        Arc::new(ingress::DefaultIngressClass { reader: reader() }),
        Arc::new(optional::DenyServiceExternalIPs),
        Arc::new(optional::AlwaysDeny),
    ];
    let chosen = all.into_iter().filter(|plugin| chosen.run(plugin.name()));
    chosen.chain([Arc::new(certificates::SignIn) as _]).collect()
}

/// Reads what plugins need to know.
#[derive(Clone, Debug)]
struct Reader {
    store: Arc<dyn Store>,
}

impl Reader {
    /// An object as it is now; `resource` is a group (or `core`) and a plural.
    async fn get(&self, resource: &str, namespace: &str, name: &str) -> Result<Option<Document>> {
        let entry = self.store.get(&key(resource, namespace, name), ReadAt::Latest).await?;
        entry.map(Document::stored).transpose()
    }

    /// A namespace's objects, or all.
    async fn list(&self, resource: &str, namespace: &str) -> Result<Vec<Document>> {
        let range = KeyRange::prefix(key(resource, namespace, "").as_str());
        let listing = self.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?;
        listing.entries.into_iter().map(Document::stored).collect()
    }
}

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    let slash = if namespace.is_empty() { "" } else { "/" };
    Key::from(format!("/registry/{resource}/{namespace}{slash}{name}"))
}

/// The class that an annotation makes the default one: of several the newest, then the first by name.
fn newest_default(classes: &[Document], annotation: &str) -> Result<Option<String>> {
    let mut best: Option<(String, String)> = None;
    for class in classes {
        let class = class.value()?;
        if object::meta(&class, "annotations")[annotation] == "true" {
            let own = (object::meta_text(&class, "creationTimestamp").to_owned(), object::name(&class).to_owned());
            if best.as_ref().is_none_or(|best| own.0 > best.0 || own.0 == best.0 && own.1 < best.1) {
                best = Some(own);
            }
        }
    }
    Ok(best.map(|(_, name)| name))
}

/// Whether the request writes an object of the core group's resource, itself and not a sub-resource.
fn writes(request: &Request, plural: &str) -> bool {
    request.resource.resource == plural
        && request.resource.group.is_empty()
        && request.subresource.is_empty()
        && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
}

/// The value of a field that is a list; nothing where it is absent.
fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value[field].as_array().into_iter().flatten()
}
