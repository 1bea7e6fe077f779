//! Carrying out what was decided about one object. Every write names the version that the decision was about.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use serde_json::{Value, json};
use windlass_api::{core::v1::ObjectReference, meta::v1::OwnerReference};
use windlass_client::events::Severity;
use windlass_kernel::{
    Document, Error, ErrorKind, Result,
    api::{Answer, Options, PatchType, Preconditions, Propagation, Request, Verb},
};

use super::{
    Shared,
    decide::{Dependents, Owner, Step, decide},
    node::{Deletion, Meta, Node, Uid},
};
use crate::{claim, resources::Deletable};

/// Works on one object after another until the queue is shut down.
pub(super) async fn run(shared: Arc<Shared>) {
    while let Some(job) = shared.queue.next().await {
        let uid = job.key();
        match AssertUnwindSafe(shared.collect(uid)).catch_unwind().await {
            Ok(Ok(())) => shared.queue.forget(uid),
            Ok(Err(error)) => {
                tracing::debug!(%uid, %error, "an object cannot be collected yet");
                let asked = error.details().and_then(|details| details.retry_after).unwrap_or_default();
                shared.queue.retry_not_before(Arc::clone(uid), asked);
            }
            Err(_) => {
                tracing::error!(%uid, "collecting an object panicked, trying again");
                shared.queue.retry(Arc::clone(uid));
            }
        }
    }
}

/// An object as the API has it now.
struct Live {
    meta: Meta,
    version: String,
}

impl Shared {
    async fn collect(&self, uid: &Uid) -> Result<()> {
        let node = {
            let graph = self.graph.lock();
            let Some(node) = graph.get(uid) else { return Ok(()) };
            let settled = match node.state {
                Deletion::None => graph.at_peace(node),
                Deletion::Pending => true,
                Deletion::Orphaning | Deletion::Foreground => false,
            };
            if settled {
                return Ok(());
            }
            Arc::clone(node)
        };
        // What is gone, or another by now, the watch will tell.
        let live = self.read(&node.resource, &node.key.namespace, &node.key.name).await?;
        let Some(live) = live.filter(|live| *live.meta.uid == **uid) else { return Ok(()) };
        let mut owners = Vec::new();
        if live.meta.state() == Deletion::None {
            for owner in &live.meta.owner_references {
                match self.owner(&node, owner).await? {
                    Some(known) => owners.push(known),
                    None => return Ok(()),
                }
            }
        }
        let dependents = self.graph.lock().dependents(uid);
        let known = Dependents {
            any: !dependents.is_empty(),
            blocking: dependents.iter().any(|own| own.blocks(uid)),
            waiting: dependents.iter().any(|own| own.state == Deletion::Foreground),
        };
        let step = decide(&live.meta, &owners, known);
        tracing::debug!(key = %node.key, kind = node.resource.kind, ?step, "an object was judged");
        match step {
            Step::Rest => Ok(()),
            Step::WakeDependents => {
                let waits = |own: &&Arc<Node>| own.state != Deletion::Foreground;
                dependents.iter().filter(waits).for_each(|own| self.queue.add(Arc::clone(&own.uid)));
                Ok(())
            }
            Step::Orphan => self.orphan(&node, &live, &dependents).await,
            Step::Release => self.release(&node, &live).await,
            Step::Disown => {
                let solid = live.meta.owner_references.iter().zip(&owners).filter(|(_, kind)| **kind == Owner::Solid);
                self.set_owners(&node, &live, solid.map(|(owner, _)| owner.clone()).collect()).await
            }
            Step::Delete { propagation, unblock } => self.delete(&node, live, propagation, unblock).await,
        }
    }

    /// What is known of an owner; `None` where the reference can never be right, and nothing follows from it.
    async fn owner(&self, node: &Node, owner: &OwnerReference) -> Result<Option<Owner>> {
        let resource = self.resource_of(owner)?;
        if resource.namespaced && node.key.namespace.is_empty() {
            let message = format!(
                "ownerRef [{}/{}, namespace: , name: {}, uid: {}] does not exist in namespace \"\"",
                owner.api_version, owner.kind, owner.name, owner.uid
            );
            self.recorder.event_on(reference(node), Severity::Warning, "OwnerRefInvalidNamespace", message);
            return Ok(None);
        }
        if self.graph.lock().holds(node, owner) {
            return Ok(Some(Owner::Solid));
        }
        let namespace = if resource.namespaced { node.key.namespace.as_str() } else { "" };
        let live = self.read(&resource, namespace, &owner.name).await?;
        Ok(Some(match live.filter(|live| live.meta.uid == owner.uid) {
            None => Owner::Dangling,
            Some(live) if live.meta.state() == Deletion::Foreground => Owner::Waiting,
            Some(_) => Owner::Solid,
        }))
    }

    fn resource_of(&self, owner: &OwnerReference) -> Result<Arc<Deletable>> {
        let group = claim::group(&owner.api_version);
        let resources = self.resources.lock();
        let found = resources.values().find(|own| own.kind == owner.kind && own.resource.group == group);
        // Its definition may come yet: until then nothing is known of the owner, least of all that it is gone.
        let unknown = || Error::new(ErrorKind::NotFound, format!("no resource has the kind {}", owner.kind));
        found.cloned().ok_or_else(unknown)
    }

    /// Takes the reference to an object from its dependents, then lets it go.
    async fn orphan(&self, node: &Node, live: &Live, dependents: &[Arc<Node>]) -> Result<()> {
        for dependent in dependents {
            let there = self.read(&dependent.resource, &dependent.key.namespace, &dependent.key.name).await?;
            let Some(there) = there.filter(|there| *there.meta.uid == *dependent.uid) else { continue };
            let kept: Vec<_> = there.meta.owner_references.iter().filter(|own| own.uid != *node.uid).cloned().collect();
            if kept.len() < there.meta.owner_references.len() {
                self.set_owners(dependent, &there, kept).await?;
            }
        }
        self.release(node, live).await
    }

    async fn release(&self, node: &Node, live: &Live) -> Result<()> {
        let finalizers = live.meta.finalizers_after(live.meta.state());
        self.patch(node, live, json!({"finalizers": finalizers})).await
    }

    async fn set_owners(&self, node: &Node, live: &Live, owners: Vec<OwnerReference>) -> Result<()> {
        self.patch(node, live, json!({"ownerReferences": owners})).await
    }

    async fn patch(&self, node: &Node, live: &Live, mut metadata: Value) -> Result<()> {
        metadata["resourceVersion"] = live.version.as_str().into();
        metadata["uid"] = live.meta.uid.as_str().into();
        let request = self.on(Verb::Patch(PatchType::Merge), &node.resource, &node.key.namespace, &node.key.name);
        gone_is_fine(self.client.call(request.body(json!({"metadata": metadata}))).await.map(drop))
    }

    async fn delete(&self, node: &Node, mut live: Live, propagation: Propagation, unblock: bool) -> Result<()> {
        let key = &node.key;
        if unblock {
            let mut owners = live.meta.owner_references.clone();
            owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
            self.set_owners(node, &live, owners).await?;
            let Some(now) = self.read(&node.resource, &key.namespace, &key.name).await? else { return Ok(()) };
            live = now;
        }
        let mut request = self.on(Verb::Delete, &node.resource, &key.namespace, &key.name);
        // The version too: whoever gave it a new owner meanwhile has saved it.
        let preconditions = Preconditions { uid: Some(node.uid.to_string()), resource_version: Some(live.version) };
        request.options = Options { propagation: Some(propagation), preconditions, ..request.options };
        gone_is_fine(self.client.call(request).await.map(drop))
    }

    async fn read(&self, resource: &Deletable, namespace: &str, name: &str) -> Result<Option<Live>> {
        match self.client.call(self.on(Verb::Get, resource, namespace, name)).await {
            Err(error) if error.is(ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
            Ok(response) => match response.answer {
                Answer::Object(document) => live(&document).map(Some),
                Answer::Value(_)
                | Answer::List(_)
                | Answer::Stream(_)
                | Answer::Session(_)
                | Answer::Destination(_) => Err(Error::new(ErrorKind::Internal, "the answer is no object")),
            },
        }
    }

    fn on(&self, verb: Verb, resource: &Deletable, namespace: &str, name: &str) -> Request {
        self.client.request(verb, resource.resource.clone()).in_namespace(namespace).named(name)
    }
}

fn live(document: &Document) -> Result<Live> {
    Ok(Live { meta: document.metadata()?, version: document.revision().to_string() })
}

fn reference(node: &Node) -> ObjectReference {
    ObjectReference {
        api_version: Some(node.resource.resource.api_version()),
        kind: Some(node.resource.kind.clone()),
        namespace: Some(node.key.namespace.clone()).filter(|own| !own.is_empty()),
        name: Some(node.key.name.clone()),
        uid: Some(node.uid.to_string()),
        ..ObjectReference::default()
    }
}

fn gone_is_fine(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
        done => done,
    }
}
