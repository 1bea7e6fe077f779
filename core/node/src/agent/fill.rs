//! How full the volumes of pods are, and whether they are well: drivers are asked about theirs, and the file system about those
//! of the agent's own. Nothing is counted unless somebody asks; only whether drivers' volumes are well is looked at by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use nix::sys::statvfs::statvfs;
use parking_lot::Mutex;
use windlass_api::core::v1::{Pod, Volume};
use windlass_kernel::{
    ClockExt, SpawnExt,
    controller::ObjectKey,
    node::{About, Notice, PodVolume},
    volume::{Condition, Usage, UsageQuery, VolumeUsage},
};

use super::Inner;
use crate::{
    pod,
    volume::{self, Kind, stored},
};

/// An answer so young is given again (upstream's `volumeStatsAggPeriod`).
const FRESH: Duration = Duration::from_secs(60);
/// How long a driver may take to say how full one volume is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Remembers the last answer, and what was wrong with which volume.
#[derive(Debug, Default)]
pub(super) struct Fill {
    kept: Mutex<Option<(Duration, Vec<PodVolume>)>>,
    /// By pod and name.
    abnormal: Mutex<BTreeMap<(String, String), String>>,
}

impl Inner {
    /// The volumes of all pods that can be measured.
    pub(super) async fn fill(&self) -> Vec<PodVolume> {
        let now = self.needs.clock.uptime();
        let kept = self.fill.kept.lock().clone();
        if let Some((_, kept)) = kept.filter(|(at, _)| now.saturating_sub(*at) < FRESH) {
            return kept;
        }
        let pods = self.pods();
        let volumes = pods.iter().flat_map(|(uid, pod)| pod.spec.volumes.iter().map(move |volume| (uid, pod, volume)));
        let measured = join_all(volumes.map(|(uid, pod, volume)| self.fill_of(uid, pod, volume))).await;
        let all: Vec<_> = measured.into_iter().flatten().collect();
        self.fill.abnormal.lock().retain(|(uid, _), _| pods.contains_key(uid));
        *self.fill.kept.lock() = Some((now, all.clone()));
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
                let counted = self.needs.spawn.run_blocking("node.fill", move || counted(&path, alone)).await?;
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
fn counted(path: &Path, alone: bool) -> io::Result<VolumeUsage> {
    let disk = statvfs(path)?;
    let unit = disk.fragment_size();
    let (total, free) = (disk.blocks().saturating_mul(unit), disk.blocks_free().saturating_mul(unit));
    let mut bytes =
        Usage { total, used: total.saturating_sub(free), available: disk.blocks_available().saturating_mul(unit) };
    let mut inodes = Usage {
        total: disk.files(),
        used: disk.files().saturating_sub(disk.files_free()),
        available: disk.files_available(),
    };
    if !alone {
        (bytes.used, inodes.used) = taken(path)?;
    }
    Ok(VolumeUsage { bytes: Some(bytes), inodes: Some(inodes), condition: None })
}

/// The bytes on disk and the inodes of a folder and all that is in it. What goes away meanwhile does not count; what has
/// several names counts once.
fn taken(path: &Path) -> io::Result<(u64, u64)> {
    let top = fs::symlink_metadata(path)?;
    let (mut bytes, mut inodes) = (top.blocks() * 512, 1);
    let (mut folders, mut linked) = (vec![path.to_owned()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries.filter_map(io::Result::ok) {
            let Ok(file) = entry.path().symlink_metadata() else { continue };
            // Another file system is another volume.
            if file.dev() != top.dev() || (file.nlink() > 1 && !file.is_dir() && !linked.insert(file.ino())) {
                continue;
            }
            bytes += file.blocks() * 512;
            inodes += 1;
            if file.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok((bytes, inodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_folder_counts_once() {
        let folder = std::env::temp_dir().join(format!("windlass-fill-{}", std::process::id()));
        fs::create_dir_all(folder.join("a")).unwrap();
        let empty = counted(&folder, false).unwrap();
        fs::write(folder.join("a/file"), vec![1; 100_000]).unwrap();
        fs::hard_link(folder.join("a/file"), folder.join("again")).unwrap();
        std::os::unix::fs::symlink("/", folder.join("elsewhere")).unwrap();
        let full = counted(&folder, false).unwrap();
        let more = full.bytes.unwrap().used - empty.bytes.unwrap().used;
        assert!((100_000..200_000).contains(&more), "{more}");
        assert_eq!((empty.inodes.unwrap().used, full.inodes.unwrap().used), (2, 4));
        assert!(full.bytes.unwrap().total > more);
        fs::remove_dir_all(folder).unwrap();
    }
}
