//! How full the volumes of pods are, and whether they are well: drivers are asked about theirs, and the file system about those
//! of the agent's own. Nothing is counted unless somebody asks; only whether drivers' volumes are well is looked at by itself.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, lock::Mutex as Turn, stream};
use parking_lot::Mutex;
use windlass_api::core::v1::{Pod, Volume};
use windlass_kernel::{
    ClockExt, SpawnExt,
    controller::ObjectKey,
    node::{About, Notice, PodVolume},
    volume::{Condition, UsageQuery, VolumeUsage},
};

use super::Inner;
use crate::{
    gauge::Gauge,
    pod,
    volume::{self, Kind, stored},
};

/// An answer so young is given again (upstream's `volumeStatsAggPeriod`).
pub(super) const FRESH: Duration = Duration::from_secs(60);
/// How long a driver may take to say how full one volume is.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many volumes are measured at once: each may walk a disk.
const AT_ONCE: usize = 8;

/// Remembers the last answer, and what was wrong with which volume.
#[derive(Debug, Default)]
pub(super) struct Fill {
    /// Held while it is made: who asks meanwhile gets the same answer.
    kept: Turn<Option<(Duration, Vec<PodVolume>)>>,
    /// By pod and name.
    abnormal: Mutex<BTreeMap<(String, String), String>>,
}

impl Fill {
    /// Forgets a pod that is let go.
    pub(super) fn forget(&self, uid: &str) {
        self.abnormal.lock().retain(|(own, _), _| own != uid);
    }
}

impl Inner {
    /// The volumes of all pods that can be measured.
    pub(super) async fn fill(&self) -> Vec<PodVolume> {
        let mut kept = self.fill.kept.lock().await;
        let now = self.needs.clock.uptime();
        if let Some((_, kept)) = kept.as_ref().filter(|(at, _)| now.saturating_sub(*at) < FRESH) {
            return kept.clone();
        }
        let pods = self.pods();
        let volumes = pods.iter().flat_map(|(uid, pod)| pod.spec.volumes.iter().map(move |volume| (uid, pod, volume)));
        let questions: Vec<_> = volumes.map(|(uid, pod, volume)| self.fill_of(uid, pod, volume)).collect();
        let all: Vec<_> = stream::iter(questions).buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
        // A driver may have answered for a pod that was let go meanwhile.
        let pods = self.pods();
        self.fill.abnormal.lock().retain(|(uid, _), _| pods.contains_key(uid));
        *kept = Some((now, all.clone()));
        all
    }

    /// Tells of a volume that is not well, where its driver says so.
    pub(super) async fn look_at_health(&self, pod: &Arc<Pod>, volume: &Volume) {
        let uid = pod::uid(pod);
        let tells = || {
            let record = self.storage.shown(&uid, &volume.name)?;
            let driver = self.storage.drivers.get(&record.driver).ok()?;
            Some(driver.node()?.features().conditions)
        };
        if tells() == Some(true) {
            self.driven(&uid, pod, volume).await;
        }
    }

    async fn fill_of(&self, uid: &str, pod: &Arc<Pod>, volume: &Volume) -> Option<PodVolume> {
        let usage = match volume::kind(volume).ok()? {
            kind @ (Kind::Folder | Kind::Memory(_)) => {
                let (path, alone) = (self.layout.volume(uid, &volume.name), matches!(kind, Kind::Memory(_)));
                let gauge = Arc::clone(&self.config.gauge);
                let count = move || counted(&*gauge, &path, alone);
                let counted = self.needs.spawn.run_blocking("node.fill", count).await?;
                let failed =
                    |error: &io::Error| tracing::debug!(pod = uid, volume = volume.name, %error, "not counted");
                counted.inspect_err(failed).ok()?
            }
            // What is used of a path of the node is not the pod's.
            Kind::Host { .. } => return None,
            Kind::Stored => self.driven(uid, pod, volume).await?,
        };
        let meta = &pod.metadata;
        let key = ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let claim = stored::claim_of(pod, volume).map(|claim| claim.name);
        Some(PodVolume { pod: key, uid: uid.to_owned(), name: volume.name.clone(), claim, usage })
    }

    /// What a driver says of its volume. What it says of how the volume is, the pod's events say, too.
    async fn driven(&self, uid: &str, pod: &Arc<Pod>, volume: &Volume) -> Option<VolumeUsage> {
        let record = self.storage.shown(uid, &volume.name)?;
        let driver = self.storage.drivers.get(&record.driver).ok()?;
        let node = driver.node()?;
        let query = UsageQuery {
            volume: record.handle.as_str().into(),
            path: self.layout.target(uid, &record.name),
            staging: record.staged.then(|| self.layout.staging(&record.driver, &record.handle)),
        };
        let asked = self.needs.clock.timeout(PATIENCE, node.usage()?.usage_of(&query)).await.flatten();
        let failed = |error: &windlass_kernel::Error| {
            tracing::debug!(pod = uid, volume = volume.name, %error, "a driver does not say how full a volume is");
        };
        let usage = asked.inspect_err(failed).ok()?;
        self.note(uid, pod, volume, usage.condition.as_ref());
        Some(usage)
    }

    /// Says in an event of the pod what is wrong with a volume: once, until it is something else.
    fn note(&self, uid: &str, pod: &Arc<Pod>, volume: &Volume, condition: Option<&Condition>) {
        let key = (uid.to_owned(), volume.name.clone());
        let mut known = self.fill.abnormal.lock();
        let Some(condition) = condition.filter(|condition| condition.abnormal) else {
            known.remove(&key);
            return;
        };
        if known.insert(key, condition.message.clone()).is_some_and(|before| before == condition.message) {
            return;
        }
        drop(known);
        self.needs.context.notice(Notice {
            about: About::Pod(Arc::clone(pod)),
            kind: "Warning",
            reason: "VolumeConditionAbnormal".into(),
            message: format!("Volume {}: {}", volume.name, condition.message),
            field_path: String::new(),
        });
    }
}

/// What is used of a folder. One that is `alone` in its file system is as full as that; else what is in it is counted. Blocks.
fn counted(gauge: &dyn Gauge, path: &Path, alone: bool) -> io::Result<VolumeUsage> {
    let disk = gauge.disk(path)?;
    let (mut bytes, mut inodes) = (disk.bytes.share(), disk.inodes.share());
    if !alone {
        let taken = volume::usage(path)?;
        (bytes.used, inodes.used) = (taken.bytes, taken.inodes);
    }
    Ok(VolumeUsage { bytes: Some(bytes), inodes: Some(inodes), condition: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauge::SystemGauge;

    #[test]
    fn a_folder_that_is_not_alone_is_counted() {
        let folder = std::env::temp_dir().join(format!("windlass-fill-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a")).unwrap();
        let [shared, alone] = [false, true].map(|alone| counted(&SystemGauge, &folder, alone).unwrap());
        assert_eq!(shared.inodes.unwrap().used, 2);
        assert_eq!(shared.bytes.unwrap().total, alone.bytes.unwrap().total);
        let bytes = alone.bytes.unwrap();
        assert_eq!(bytes.used, bytes.total - bytes.available);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
