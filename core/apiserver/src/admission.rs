//! The built-in admission plugins, in the order they run. Webhooks and policies come after them (`registered`), quotas
//! are charged with the write itself (`quota`).

mod account;
mod certificates;
mod configuration;
mod ingress;
mod limits;
mod namespace;
mod node;
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

pub use self::configuration::AdmissionConfiguration;
use crate::object;

/// The built-in plugins.
pub(crate) fn built_in(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    authorizer: &Arc<dyn Authorizer>,
    configuration: AdmissionConfiguration,
) -> Vec<Arc<dyn Admission>> {
    let reader = Reader { store: Arc::clone(store) };
    vec![
        Arc::new(namespace::NamespaceLifecycle { reader: reader.clone() }),
        Arc::new(limits::LimitRanger { reader: reader.clone() }),
        Arc::new(account::ServiceAccount {
            reader: reader.clone(),
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
        }),
        Arc::new(node::NodeRestriction { reader: reader.clone() }),
        Arc::new(taint::TaintNodesByCondition),
        Arc::new(security::PodSecurity { reader: reader.clone(), configuration: configuration.pod_security }),
        Arc::new(priority::Priority { reader: reader.clone() }),
        Arc::new(tolerations::DefaultTolerationSeconds),
        Arc::new(runtime::RuntimeClass { reader: reader.clone() }),
        Arc::new(storage::StorageObjectInUseProtection),
        Arc::new(storage::DefaultStorageClass { reader: reader.clone() }),
        Arc::new(storage::PersistentVolumeClaimResize { reader: reader.clone() }),
        Arc::new(ingress::DefaultIngressClass { reader }),
        Arc::new(certificates::Certificates { authorizer: Arc::clone(authorizer) }),
    ]
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
