//! A volume driver that notes what it is asked for, and fails or hangs where it is told to. What it shows is a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::future::pending;
use parking_lot::Mutex;
use windlass_kernel::{
    Error, ErrorKind, Result, VolumeDriver,
    volume::{
        Condition, DriverInfo, ExpandOnNode, NodeExpanding, NodeFeatures, NodeInfo, PublishVolume, StageVolume,
        Staging, Topology, Usage, UsageQuery, UsageReporting, VolumeController, VolumeId, VolumeNode, VolumeUsage,
    },
};

pub(crate) const NAME: &str = "scripted.example.com";

#[derive(Clone, Debug, Default)]
pub(crate) struct Scripted(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    /// What is to fail next, by call, and how.
    failures: BTreeMap<&'static str, ErrorKind>,
    /// The call that is never answered.
    hangs: &'static str,
    staged: BTreeSet<PathBuf>,
    published: Option<PublishVolume>,
    mount_group: bool,
    /// What is wrong with all volumes; empty where nothing is.
    ails: String,
    /// Whether it tells how full volumes are, and whether they are well.
    tells: bool,
}

impl Scripted {
    /// Tells how full volumes are, and that this is wrong with them.
    pub(crate) fn tells(&self, ails: &str) {
        let mut state = self.0.lock();
        (state.tells, state.ails) = (true, ails.to_owned());
    }

    pub(crate) fn fail(&self, call: &'static str, kind: ErrorKind) {
        self.0.lock().failures.insert(call, kind);
    }

    pub(crate) fn mend(&self) {
        self.0.lock().failures.clear();
    }

    /// Never answers this call. It is done, or not, as the word after the dash says: `publish-done`.
    pub(crate) fn hang(&self, call: &'static str) {
        self.0.lock().hangs = call;
    }

    pub(crate) fn gives_groups(&self) {
        self.0.lock().mount_group = true;
    }

    /// What it was asked for since this was asked last.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().calls)
    }

    pub(crate) fn was_asked(&self, call: &str) -> bool {
        self.0.lock().calls.iter().any(|own| own.starts_with(call))
    }

    /// The last request to show a volume.
    pub(crate) fn published(&self) -> PublishVolume {
        self.0.lock().published.clone().expect("a volume was shown")
    }

    async fn step(&self, call: &'static str, about: String, work: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        let (failure, hangs) = {
            let mut state = self.0.lock();
            state.calls.push(format!("{call} {about}"));
            (state.failures.get(call).copied(), state.hangs)
        };
        if let Some(kind) = failure {
            return Err(Error::new(kind, format!("{call} was told to fail")));
        }
        if hangs == call {
            pending::<()>().await;
        }
        work(&mut self.0.lock())?;
        if hangs.strip_suffix("-done") == Some(call) {
            pending::<()>().await;
        }
        Ok(())
    }
}

#[async_trait]
impl VolumeDriver for Scripted {
    async fn info(&self) -> Result<DriverInfo> {
        Ok(DriverInfo { name: NAME.into(), version: "1".into(), ..DriverInfo::default() })
    }

    async fn ready(&self) -> Result<bool> {
        Ok(true)
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        None
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        Some(self)
    }
}

#[async_trait]
impl VolumeNode for Scripted {
    fn features(&self) -> NodeFeatures {
        let state = self.0.lock();
        NodeFeatures { mount_group: state.mount_group, conditions: state.tells, writers: false }
    }

    async fn node_info(&self) -> Result<NodeInfo> {
        let topology = Some(Topology([("zone".to_owned(), "z1".to_owned())].into()));
        Ok(NodeInfo { id: "id-of-n1".into(), max_volumes: Some(9), topology })
    }

    async fn publish(&self, request: &PublishVolume) -> Result<()> {
        self.step("publish", request.volume.to_string(), |state| {
            let prepared = request.staging.as_ref().is_none_or(|staging| state.staged.contains(staging));
            assert!(prepared, "it was not staged: {request:?}");
            state.published = Some(request.clone());
            fs::create_dir_all(&request.target).expect("a folder");
            fs::write(request.target.join("data"), request.volume.as_str()).expect("a file");
            Ok(())
        })
        .await
    }

    async fn unpublish(&self, volume: &VolumeId, target: &Path) -> Result<()> {
        self.step("unpublish", volume.to_string(), |_| {
            if target.exists() {
                fs::remove_dir_all(target).expect("a folder goes");
            }
            Ok(())
        })
        .await
    }

    fn staging(&self) -> Option<&dyn Staging> {
        Some(self)
    }

    fn usage(&self) -> Option<&dyn UsageReporting> {
        let tells = self.0.lock().tells;
        tells.then_some(self)
    }

    fn expanding(&self) -> Option<&dyn NodeExpanding> {
        Some(self)
    }
}

#[async_trait]
impl Staging for Scripted {
    async fn stage(&self, request: &StageVolume) -> Result<()> {
        self.step("stage", request.volume.to_string(), |state| {
            assert!(request.staging.is_dir(), "the staging path is no folder");
            state.staged.insert(request.staging.clone());
            Ok(())
        })
        .await
    }

    async fn unstage(&self, volume: &VolumeId, staging: &Path) -> Result<()> {
        self.step("unstage", volume.to_string(), |state| {
            state.staged.remove(staging);
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl UsageReporting for Scripted {
    async fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage> {
        self.step("usage", query.volume.to_string(), |state| {
            assert!(query.path.join("data").exists(), "it is asked of a path without the volume: {query:?}");
            assert!(query.staging.as_ref().is_some_and(|staging| state.staged.contains(staging)), "{query:?}");
            Ok(())
        })
        .await?;
        let ails = self.0.lock().ails.clone();
        let message = if ails.is_empty() { "it is well".to_owned() } else { ails.clone() };
        Ok(VolumeUsage {
            bytes: Some(Usage { total: 1 << 30, used: 300, available: (1 << 30) - 300 }),
            inodes: Some(Usage { total: 100, used: 7, available: 93 }),
            condition: Some(Condition { abnormal: !ails.is_empty(), message }),
        })
    }
}

#[async_trait]
impl NodeExpanding for Scripted {
    async fn expand(&self, request: &ExpandOnNode) -> Result<Option<u64>> {
        let bytes = request.capacity.required;
        let about = format!("{} to {}", request.volume, bytes.unwrap_or_default());
        self.step("expand", about, |_| Ok(())).await.map(|()| bytes)
    }
}
