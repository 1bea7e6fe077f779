//! Brings a volume to a pod: attached, prepared once on the node, grown where its claim waits for that, and shown to the pod.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::json;
use windlass_api::{
    core::v1::{Pod, Volume},
    storage::v1::CSIDriver,
};
use windlass_kernel::{
    VolumeDriver,
    volume::{PublishVolume, StageVolume, VolumeCapability, VolumeNode},
};

use super::{Again, Place, Unmounted};
use crate::{
    agent::{prepare::whole, worker::Round},
    pod,
    volume::{
        self,
        record::{self, Record},
        stored::{self, Found, Group, Wanted},
    },
};

/// A volume that is being brought, and what is known of it.
pub(super) struct Bringing<'a> {
    pub(super) pod: &'a Arc<Pod>,
    pub(super) wanted: &'a Wanted,
    pub(super) object: Option<&'a CSIDriver>,
    pub(super) driver: Arc<dyn VolumeDriver>,
    pub(super) capability: VolumeCapability,
    /// What attaching it answered.
    publish_context: BTreeMap<String, String>,
    group: Group,
}

impl Bringing<'_> {
    pub(super) fn node(&self) -> Result<&dyn VolumeNode, String> {
        self.driver.node().ok_or_else(|| format!("driver {} brings no volumes to nodes", self.wanted.driver))
    }
}

/// A step that failed, in the word that events have for it, and why.
type Failed = (&'static str, String);

impl Round<'_> {
    /// Brings a volume of a claim or a driver to the node, or sees to it that it is there.
    pub(in crate::agent) async fn stored(&mut self, pod: &Arc<Pod>, volume: &Volume) -> Result<(), Unmounted> {
        let place = match self.find(pod, volume).await? {
            Found::Host { path, kind, read_only } => {
                let kind = volume::Kind::Host { path, kind };
                let made = self.blocking(move || volume::prepare(&kind, Path::new(""), None)).await;
                let made = made.map_err(|error| error.to_string()).and_then(|made| made);
                let refused = |why: String| {
                    let text = format!("MountVolume.SetUp failed for volume \"{}\" : {why}", volume.name);
                    Unmounted { reason: "FailedMount", text }
                };
                Place { path: made.map_err(refused)?, read_only }
            }
            Found::Driver(wanted) => self.driven(pod, volume, &wanted).await?,
        };
        self.memo.shown.stored.places.insert(volume.name.clone(), place);
        Ok(())
    }

    async fn driven(&mut self, pod: &Arc<Pod>, volume: &Volume, wanted: &Wanted) -> Result<Place, Unmounted> {
        let (operation, reason) =
            if wanted.block { ("MapVolume", "FailedMapVolume") } else { ("MountVolume", "FailedMount") };
        let failed = |(step, why): Failed| {
            let text = format!("{operation}.{step} failed for volume \"{}\" : {why}", wanted.name);
            Unmounted { reason, text }
        };
        self.bring(pod, volume, wanted).await.map_err(failed)?;
        let path = self.inner.layout.target(&pod::uid(pod), &wanted.name);
        Ok(Place { path, read_only: wanted.read_only })
    }

    async fn bring(&mut self, pod: &Arc<Pod>, volume: &Volume, wanted: &Wanted) -> Result<(), Failed> {
        let last = if wanted.block { "MapPodDevice" } else { "SetUp" };
        let object = self.driver_object(&wanted.driver).await.map_err(|why| (last, why))?;
        let mut record = Record {
            uid: pod::uid(pod),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            name: wanted.name.clone(),
            volume: volume.name.clone(),
            driver: wanted.driver.clone(),
            handle: wanted.handle.clone(),
            attached: !wanted.ephemeral && stored::attaches(object.as_ref()),
            ..Record::default()
        };
        // What earlier rounds or agents did stays known, or it would not be undone.
        let known = self.inner.storage.known(&record.uid, &record.name);
        if let Some(known) = &known {
            if (&known.driver, &known.handle) != (&record.driver, &record.handle) {
                return Err((last, format!("another volume of that name is shown: {}", known.handle)));
            }
            (record.staged, record.published) = (known.staged, known.published);
        }
        let first = if wanted.block { "SetUpDevice" } else { "MountDevice" };
        let driver =
            self.inner.storage.drivers.get(&wanted.driver).map_err(|why| {
                if wanted.ephemeral { (last, why) } else { (first, format!("kubernetes.io/csi: {why}")) }
            })?;
        let node =
            driver.node().ok_or_else(|| (first, format!("driver {} brings no volumes to nodes", wanted.driver)))?;
        record.staged |= node.staging().is_some() && !wanted.ephemeral;
        let features = node.features();
        self.write(&record, known.as_ref()).await.map_err(|why| (last, why))?;

        let context = if record.attached {
            let attached = self.unless_it_ends(self.attached(wanted)).await.map_err(|error| whole(&error));
            attached.flatten().map_err(|why| ("WaitForAttach", why))?
        } else {
            BTreeMap::new()
        };
        let asked = pod.spec.security_context.as_ref().and_then(|context| context.fs_group);
        let asked = asked.and_then(|group| u32::try_from(group).ok());
        let group = wanted.group(asked, object.as_ref(), features.mount_group);
        let capability = wanted.capability(features.writers, group).map_err(|why| (last, why))?;
        let bringing = Bringing {
            pod,
            wanted,
            object: object.as_ref(),
            driver: Arc::clone(&driver),
            capability,
            publish_context: context,
            group,
        };

        let turn = self.unless_it_ends(self.inner.storage.turn(&record)).await;
        let turn = turn.map_err(|error| (first, whole(&error)))?;
        if record.staged {
            self.stage(&bringing, &record).await.map_err(|why| (first, why))?;
        }
        self.publish(&bringing, &record).await.map_err(|why| (last, why))?;
        drop(turn);
        if !record.published {
            let known = record.clone();
            record.published = true;
            self.write(&record, Some(&known)).await.map_err(|why| (last, why))?;
        }
        if wanted.growth.is_some() {
            self.grow(&bringing, &record).await.map_err(|why| ("NodeExpandVolume", why))?;
        }
        let republish = object.as_ref().is_some_and(|object| object.spec.requires_republish == Some(true));
        let tells = features.conditions && node.usage().is_some();
        let grows = tells || (node.expanding().is_some() && !wanted.ephemeral);
        let again = if republish { Some(Again::Anew) } else { grows.then_some(Again::Grows) };
        self.look_again(&volume.name, again);
        Ok(())
    }

    /// Writes down what there is to be undone, before it is done.
    async fn write(&self, record: &Record, known: Option<&Record>) -> Result<(), String> {
        if known != Some(record) {
            let (folder, written) = (self.inner.layout.driven(&record.uid, &record.name), record.clone());
            let done = self.blocking(move || record::write(&folder, &written)).await.map_err(|error| whole(&error))?;
            done.map_err(|error| format!("cannot write down the volume: {error}"))?;
        }
        self.inner.storage.enter(record.clone());
        Ok(())
    }

    async fn stage(&self, bringing: &Bringing<'_>, record: &Record) -> Result<(), String> {
        let wanted = bringing.wanted;
        let Some(service) = bringing.node()?.staging() else { return Ok(()) };
        let staging = self.inner.layout.staging(&record.driver, &record.handle);
        let folder = staging.clone();
        let made = self.blocking(move || std::fs::create_dir_all(folder)).await.map_err(|error| whole(&error))?;
        made.map_err(|error| format!("cannot make {}: {error}", staging.display()))?;
        let request = StageVolume {
            volume: wanted.handle.as_str().into(),
            publish_context: bringing.publish_context.clone(),
            staging,
            capability: bringing.capability.clone(),
            secrets: self.secrets("NodeStageSecretRef", wanted.stage_secret.as_ref()).await?,
            context: wanted.context(),
        };
        let staged = self.unless_it_ends(self.ask(service.stage(&request))).await.flatten();
        staged.map_err(|error| whole(&error))
    }

    async fn publish(&self, bringing: &Bringing<'_>, record: &Record) -> Result<(), String> {
        let wanted = bringing.wanted;
        let mut context = wanted.context_for(bringing.pod, bringing.object);
        let mut secrets = self.secrets("NodePublishSecretRef", wanted.publish_secret.as_ref()).await?;
        if let Some(tokens) = self.tokens(bringing).await? {
            let hidden = bringing.object.and_then(|object| object.spec.service_account_token_in_secrets) == Some(true);
            let place = if hidden { &mut secrets.0 } else { &mut context };
            place.insert("csi.storage.k8s.io/serviceAccount.tokens".into(), tokens);
        }
        let target = self.inner.layout.target(&record.uid, &record.name);
        let request = PublishVolume {
            volume: wanted.handle.as_str().into(),
            publish_context: bringing.publish_context.clone(),
            staging: record.staged.then(|| self.inner.layout.staging(&record.driver, &record.handle)),
            target: target.clone(),
            capability: bringing.capability.clone(),
            read_only: wanted.read_only,
            secrets,
            context,
        };
        let published = self.unless_it_ends(self.ask(bringing.node()?.publish(&request))).await.flatten();
        published.map_err(|error| whole(&error))?;
        let Group::Agent(group) = bringing.group else { return Ok(()) };
        let policy = bringing.pod.spec.security_context.as_ref().and_then(|own| own.fs_group_change_policy.clone());
        // What has been given away once is not gone through again whenever the agent comes back.
        let at_root = record.published || policy.as_deref() == Some("OnRootMismatch");
        let given =
            self.blocking(move || volume::give(&target, group, at_root)).await.map_err(|error| whole(&error))?;
        given.map(drop).map_err(|error| format!("applyFSGroup failed for vol {}: {error}", wanted.handle))
    }

    /// The tokens of the pod's account that the driver asks for (CSIDriverSpec.tokenRequests).
    async fn tokens(&self, bringing: &Bringing<'_>) -> Result<Option<String>, String> {
        let requests = bringing.object.map(|object| object.spec.token_requests.as_slice()).unwrap_or_default();
        let mut tokens = serde_json::Map::new();
        for request in requests {
            let seconds = request.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(3600);
            let asked = volume::TokenRequest { audience: request.audience.clone(), seconds };
            let minted = asked.mint(self.inner.needs.context.as_ref(), bringing.pod).await;
            let minted = minted.map_err(|error| format!("failed to fetch token: {}", whole(&error)))?;
            let value = json!({"token": minted.token, "expirationTimestamp": minted.expires.to_string()});
            tokens.insert(request.audience.clone(), value);
        }
        Ok((!tokens.is_empty()).then(|| serde_json::Value::from(tokens).to_string()))
    }
}
