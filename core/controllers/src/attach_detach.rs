//! The attach/detach controller: says by VolumeAttachments which volumes are wanted on which nodes, and in each node's status
//! which are there. What attaches them is their driver's business.
//!
//! A volume is detached when no pod of the node wants it and the node has taken it out of use. The two write the same status,
//! one after the other: a node that has said that it uses a volume is seen before the volume is taken, and one that says so
//! later does not find it there any more.

mod plan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    meta::v1::ObjectMeta,
    storage::v1::{CSIDriver, VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec},
};
use windlass_client::{
    Cache, Client, Informers, Select,
    events::{Recorder, Severity, reference},
    gvr,
    informer::Index,
};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::{NodeFacts, Reported, Using, Wanted, plan};
use crate::{claim, registry::Tools};

const BY_NODE: &str = "node";
const BY_CLAIM: &str = "claim";

/// The key that stands for all nodes whose pods have claims.
const ALL: ObjectKey = ObjectKey { namespace: String::new(), name: String::new() };

/// Keys in this place are volumes: no namespace is called so.
pub(crate) const VOLUMES: &str = "/persistentvolumes";

/// Attaches and detaches volumes.
#[derive(Debug)]
pub struct AttachDetach {
    client: Client,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    pods: Cache<Arc<Using>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
    volumes: Cache<Arc<PersistentVolume>>,
    drivers: Cache<Arc<CSIDriver>>,
    nodes: Cache<Arc<NodeFacts>>,
    attachments: Cache<Arc<VolumeAttachment>>,
    /// What was told last of an attachment, or of one that cannot be made.
    told: Mutex<BTreeMap<String, String>>,
    /// Since when nobody wants an attachment that its node still uses, by uptime.
    since: Mutex<BTreeMap<String, Duration>>,
}

impl AttachDetach {
    pub(crate) fn new(tools: &Tools) -> Self {
        let informers = &tools.informers;
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&informers.parts().clock),
            recorder: tools.recorder(),
            pods: using(informers),
            claims: informers.typed(Select::all()),
            volumes: informers.typed(Select::all()),
            drivers: informers.typed(Select::all()),
            nodes: informers
                .projected::<Node, _>(Select::all(), Vec::new(), |node| Some(Arc::new(NodeFacts::of(node)))),
            attachments: attachments(informers),
            told: Mutex::default(),
            since: Mutex::default(),
        }
    }

    /// The volumes that the pods of a node want attached, by the names of their attachments.
    fn wanted(&self, node: &str) -> BTreeMap<String, Wanted> {
        let mut wanted = BTreeMap::<String, Wanted>::new();
        for pod in self.pods.indexed(BY_NODE, node) {
            for name in &pod.claims {
                let Some(volume) = self.volume_of(&ObjectKey::new(&pod.key.namespace, name)) else { continue };
                let Some(one) = plan::wanted(&volume, |driver| self.drivers.get(&ObjectKey::new("", driver))) else {
                    continue;
                };
                wanted.entry(one.attachment(node)).or_insert(one).pods.push(Arc::clone(&pod));
            }
        }
        wanted
    }

    /// The volume that a claim is bound to.
    fn volume_of(&self, claim: &ObjectKey) -> Option<Arc<PersistentVolume>> {
        let claim = self.claims.get(claim)?;
        let volume = self.volumes.get(&ObjectKey::new("", claim.spec.volume_name.as_deref()?))?;
        let own = volume.spec.claim_ref.as_ref()?;
        (own.uid == claim.metadata.uid).then_some(volume)
    }

    async fn node(&self, node: &str) -> Result<Requeue> {
        let wanted = self.wanted(node);
        let held = self.attachments.indexed(BY_NODE, node);
        for (name, one) in &wanted {
            if held.iter().any(|own| own.metadata.name.as_deref() == Some(name)) {
                continue;
            }
            match self.elsewhere(one, node) {
                Some(why) => self.tell(name, one, "FailedAttachVolume", &why),
                None => self.attach(name, one, node).await?,
            }
        }
        let facts = self.nodes.get(&ObjectKey::new("", node));
        let handle = |name: &str| self.volumes.get(&ObjectKey::new("", name));
        let mut plan = plan(&wanted, &held, facts.as_deref(), |name| handle(name).and_then(|own| plan::unique(&own)));
        let wait = self.give_time(&mut plan, facts.as_deref());
        for own in &held {
            let name = own.metadata.name.clone().unwrap_or_default();
            let (Some(one), Some(error)) = (wanted.get(&name), &own.status.attach_error) else { continue };
            let why = error.message.as_deref().unwrap_or_default();
            let text = format!("AttachVolume.Attach failed for volume {:?} : {why}", one.volume);
            self.tell(&name, one, "FailedAttachVolume", &text);
        }
        let in_use = match &facts {
            Some(facts) => self.report(node, facts, &plan.attached, &wanted).await?,
            None => Vec::new(),
        };
        for detaching in &plan.detach {
            // It has said so since it was looked at.
            let used_again = detaching.forced.is_none() && in_use.contains(&detaching.unique);
            if !used_again {
                self.detach(&detaching.name).await?;
            }
        }
        Ok(wait.map_or(Requeue::OnChange, Requeue::After))
    }

    /// Detaches by force what a lost node has had long enough to give up; answers when the next one's time is over.
    fn give_time(&self, plan: &mut plan::Plan, facts: Option<&NodeFacts>) -> Option<Duration> {
        let now = self.clock.uptime();
        let mut since = self.since.lock();
        let mut wait = None::<Duration>;
        for waiting in std::mem::take(&mut plan.waiting) {
            let begun = *since.entry(waiting.name.clone()).or_insert(now);
            let left = (begun + plan::PATIENCE).saturating_sub(now);
            if facts.is_some_and(|facts| facts.healthy) {
                plan.attached.push(waiting.reported());
            } else if left.is_zero() {
                plan.detach.push(waiting.by_force());
            } else {
                plan.attached.push(waiting.reported());
                wait = Some(wait.map_or(left, |wait| wait.min(left)));
            }
        }
        wait
    }

    /// Why a volume cannot be attached to another node now.
    fn elsewhere(&self, one: &Wanted, node: &str) -> Option<String> {
        if one.many_nodes {
            return None;
        }
        let of = |own: &Arc<VolumeAttachment>| own.spec.source.persistent_volume_name.as_deref() == Some(&one.volume);
        let there = self.attachments.values().into_iter().find(|own| of(own) && own.spec.node_name != node)?;
        let others = self.wanted(&there.spec.node_name);
        let others = others.values().filter(|other| other.volume == one.volume);
        let names: Vec<&str> = others.flat_map(|other| &other.pods).map(|pod| pod.key.name.as_str()).collect();
        let why = if names.is_empty() {
            "Volume is already exclusively attached to one node and can't be attached to another".to_owned()
        } else {
            format!("Volume is already used by pod(s) {}", names.join(", "))
        };
        Some(format!("Multi-Attach error for volume {:?} {why}", one.volume))
    }

    async fn attach(&self, name: &str, one: &Wanted, node: &str) -> Result<()> {
        let source =
            VolumeAttachmentSource { persistent_volume_name: Some(one.volume.clone()), inline_volume_spec: None };
        let attachment = VolumeAttachment {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: VolumeAttachmentSpec { attacher: one.driver.clone(), node_name: node.to_owned(), source },
            ..VolumeAttachment::default()
        };
        match self.client.create(&attachment).await {
            Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(()),
            done => done.map(drop),
        }
    }

    async fn detach(&self, name: &str) -> Result<()> {
        self.told.lock().remove(name);
        self.since.lock().remove(name);
        match self.client.delete::<VolumeAttachment>("", name).await {
            Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
            done => done,
        }
    }

    /// Writes what is attached into the node's status; answers what is in use there at that moment.
    async fn report(
        &self,
        node: &str,
        facts: &NodeFacts,
        attached: &[Reported],
        wanted: &BTreeMap<String, Wanted>,
    ) -> Result<Vec<String>> {
        let mut next: Vec<_> = attached.iter().map(Reported::entry).collect();
        next.sort_by(|a, b| a.name.cmp(&b.name));
        if next == facts.attached {
            return Ok(facts.in_use.clone());
        }
        let written = self.client.modify_status::<Node>("", node, |own| own.status.volumes_attached.clone_from(&next));
        let written = match written.await {
            Err(error) if error.is(ErrorKind::NotFound) => return Ok(Vec::new()),
            written => written?,
        };
        for fresh in next.iter().filter(|own| !facts.attached.contains(own)) {
            let Some(one) = wanted.get(&fresh.device_path) else { continue };
            let text = format!("AttachVolume.Attach succeeded for volume {:?}", one.volume);
            self.tell(&fresh.device_path, one, "SuccessfulAttachVolume", &text);
        }
        Ok(written.status.volumes_in_use.clone())
    }

    /// Tells the pods that want a volume, once.
    fn tell(&self, name: &str, one: &Wanted, reason: &str, text: &str) {
        let last = self.told.lock().insert(name.to_owned(), text.to_owned());
        if last.as_deref() == Some(text) {
            return;
        }
        let severity = if reason.starts_with("Successful") { Severity::Normal } else { Severity::Warning };
        for pod in &one.pods {
            self.recorder.event_on(pod.reference.clone(), severity, reason, text.to_owned());
        }
    }
}

/// The pods that are on nodes and have claims.
fn using(informers: &Informers) -> Cache<Arc<Using>> {
    let by_node = Index { name: BY_NODE, values: |_, pod: &Arc<Using>| vec![pod.node.clone()] };
    let by_claim = Index {
        name: BY_CLAIM,
        values: |_, pod: &Arc<Using>| {
            pod.claims.iter().map(|name| ObjectKey::new(&pod.key.namespace, name).to_string()).collect()
        },
    };
    informers.projected::<Pod, _>(Select::all(), vec![by_node, by_claim], |pod| {
        Using::of(pod, || reference(pod)).map(Arc::new)
    })
}

/// The attachments of volumes that are objects. Those that say their volume themselves are somebody else's, who made them.
fn attachments(informers: &Informers) -> Cache<Arc<VolumeAttachment>> {
    let by_node = Index { name: BY_NODE, values: |_, own: &Arc<VolumeAttachment>| vec![own.spec.node_name.clone()] };
    informers.projected::<VolumeAttachment, _>(Select::all(), vec![by_node], |own| {
        own.spec.source.persistent_volume_name.is_some().then(|| Arc::new(own.clone()))
    })
}

#[async_trait]
impl Controller for AttachDetach {
    fn name(&self) -> &'static str {
        "attachdetach-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Pod>(), keys: of_pod },
            Watched { resource: gvr::<Node>(), keys: claim::own_key },
            Watched { resource: gvr::<VolumeAttachment>(), keys: of_attachment },
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: claim::own_key },
            Watched { resource: gvr::<PersistentVolume>(), keys: of_volume },
            Watched { resource: gvr::<CSIDriver>(), keys: |_| vec![ALL] },
        ]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        if !key.namespace.is_empty() {
            let claim = if key.namespace == VOLUMES {
                let volume = self.volumes.get(&ObjectKey::new("", &key.name));
                volume.as_deref().and_then(plan::claim_of)
            } else {
                Some(key.clone())
            };
            let pods = claim.map(|claim| self.pods.indexed(BY_CLAIM, &claim.to_string())).unwrap_or_default();
            return Some(pods.iter().map(|pod| ObjectKey::new("", &pod.node)).collect());
        }
        let all = || {
            let mut nodes: Vec<_> = self.pods.values().iter().map(|pod| ObjectKey::new("", &pod.node)).collect();
            nodes.sort();
            nodes.dedup();
            nodes
        };
        (*key == ALL).then(all)
    }

    /// A key is a node; others stand for nodes.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.node(&key.name).await
    }
}

/// The node of a pod with claims.
fn of_pod(document: &Document) -> Vec<ObjectKey> {
    let Ok(pod) = document.typed::<Pod>() else { return Vec::new() };
    let node = pod.spec.node_name.clone().filter(|node| !node.is_empty());
    let uses = claim::claims_of(&pod).next().is_some();
    node.filter(|_| uses).map(|node| ObjectKey::new("", node)).into_iter().collect()
}

/// The node of an attachment, and those that wait until it is gone.
fn of_attachment(document: &Document) -> Vec<ObjectKey> {
    let Ok(own) = document.typed::<VolumeAttachment>() else { return Vec::new() };
    volume_of(&own).into_iter().chain([ObjectKey::new("", own.spec.node_name.as_str())]).collect()
}

/// The key of an attachment's volume.
pub(crate) fn volume_of(own: &VolumeAttachment) -> Option<ObjectKey> {
    own.spec.source.persistent_volume_name.as_deref().map(|name| ObjectKey::new(VOLUMES, name))
}

pub(crate) fn of_volume(document: &Document) -> Vec<ObjectKey> {
    claim::own_key(document).into_iter().map(|key| ObjectKey::new(VOLUMES, key.name)).collect()
}
