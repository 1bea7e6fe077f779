//! The removal of a container node: its sandboxes, its rules, and what its agent left. Data of the cluster stay.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use windlass_cri::{
    containerd::Launcher,
    host::{RemoteRuntime, Rim},
    skel::Setup,
};
use windlass_kernel::{Clock, ContainerRuntime, Error, ErrorKind, Result, Spawn, SpawnExt, runtime::SandboxFilter};

use super::ContainerNode;
use crate::rim::{SystemDial, SystemEntropy};

/// The label that a sandbox says its pod's uid in.
const UID: &str = "io.kubernetes.pod.uid";

/// A container node that runs no more.
#[derive(Clone, Debug)]
pub struct Leftovers {
    /// The data directory that the node had: an absolute path.
    pub data_dir: PathBuf,
    /// The socket of the runtime, where it was not a containerd of our own.
    pub socket: Option<PathBuf>,
    /// As [`ContainerNode::carrier`], where the runtime was containerd's own services.
    pub carrier: Option<Vec<String>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where tasks run.
    pub spawn: Arc<dyn Spawn>,
}

impl Leftovers {
    /// Whether there ever was a node.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.agents().exists() || self.data_dir.join("containerd").exists()
    }

    /// Removes them. With `purge`, images and logs of a containerd of our own go too. Gone is success.
    ///
    /// # Errors
    ///
    /// The first thing that could not be removed.
    pub async fn remove(&self, purge: bool) -> Result<()> {
        let pods = self.pods().await?;
        // They are noted where a runtime of our own keeps what goes with it.
        #[cfg(feature = "cni")]
        super::routes::remove(&ContainerNode::node_file(&self.data_dir), &self.spawn).await?;
        let rim = Rim { dial: Arc::new(SystemDial), clock: Arc::clone(&self.clock), spawn: Arc::clone(&self.spawn) };
        if let Some(carrier) = &self.carrier {
            let (settings, socket) = (ContainerNode::settings(&self.data_dir), self.socket.as_deref());
            let setup = Setup { dial: rim.dial, clock: rim.clock, spawn: rim.spawn, entropy: Arc::new(SystemEntropy) };
            super::native::Place { settings, socket, carrier, setup }.remove(purge, &pods).await?;
            return self.remove_rest().await;
        }
        match &self.socket {
            Some(socket) => empty(&RemoteRuntime::connect(socket.to_string_lossy(), rim).await?, Some(&pods)).await?,
            None => Launcher::new(ContainerNode::settings(&self.data_dir), rim)?.tear_down(purge).await?,
        }
        self.remove_rest().await
    }

    /// The uids of the pods that the node's agent had: what of a runtime that others use too is ours.
    async fn pods(&self) -> Result<BTreeSet<String>> {
        let agents = self.agents();
        let read = self.spawn.run_blocking("leftovers.pods", move || windlass_node::leftover_pods(&agents)).await;
        read.ok_or_else(|| Error::new(ErrorKind::Internal, "the look at what is left was interrupted"))
    }

    /// What does not come from the runtime.
    async fn remove_rest(&self) -> Result<()> {
        #[cfg(feature = "csi")]
        self.take_volumes().await?;
        let (agents, data_dir) = (self.agents(), self.data_dir.clone());
        let rest = move || {
            windlass_node::remove_leftovers(&agents, "/kubepods")?;
            super::ranges::forget(&data_dir)?;
            super::ranges::remove_table("inet windlass")
        };
        let done = self.spawn.run_blocking("leftovers.remove", rest).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the removal was interrupted")))
    }

    /// Takes the volumes of our own driver from the pods, which are gone. What is in them stays.
    #[cfg(feature = "csi")]
    async fn take_volumes(&self) -> Result<()> {
        if !self.data_dir.join("volumes").exists() {
            return Ok(());
        }
        let (clock, spawn) = (Arc::clone(&self.clock), Arc::clone(&self.spawn));
        let driver = super::open_volumes(&self.data_dir, "", clock, spawn)?;
        windlass_node::take_volumes(&self.agents(), &driver).await
    }

    /// Where the node's agent keeps its things.
    fn agents(&self) -> PathBuf {
        self.data_dir.join("node")
    }
}

/// Removes the sandboxes of those pods, by uid, from a runtime that others may use too; `None` removes all there are.
pub(super) async fn empty(runtime: &dyn ContainerRuntime, pods: Option<&BTreeSet<String>>) -> Result<()> {
    for sandbox in runtime.sandboxes(&SandboxFilter::default()).await? {
        let ours = |pods: &BTreeSet<String>| sandbox.labels.get(UID).is_some_and(|uid| pods.contains(uid));
        if pods.is_none_or(ours) {
            runtime.remove_sandbox(&sandbox.id).await?;
        }
    }
    Ok(())
}

/// Where a node with another's runtime notes which one it was.
#[must_use]
pub fn socket_note(data_dir: &Path) -> PathBuf {
    data_dir.join("socket")
}

/// What is there where a node's runtime was containerd's own services.
#[must_use]
pub fn native_note(data_dir: &Path) -> PathBuf {
    data_dir.join("native")
}

#[cfg(all(test, feature = "fake"))]
mod tests {
    use std::collections::BTreeMap;

    use windlass_kernel::runtime::{SandboxConfig, SandboxKey};
    use windlass_testkit::{FakeRuntime, sim::Executor};

    use super::*;

    /// What is left of pods of these uids when one of our own is emptied of `ours`.
    fn check(uids: [&str; 3], ours: Option<&[&str]>, expect: &[&str]) {
        let executor = Executor::new(1);
        let runtime = FakeRuntime::new(executor.clock(), executor.spawn());
        let left = executor.run_until(async {
            for uid in uids {
                let key = SandboxKey { name: uid.into(), namespace: "default".into(), uid: uid.into(), attempt: 0 };
                let labels = BTreeMap::from([(UID.to_owned(), uid.to_owned())]);
                runtime.run_sandbox(&SandboxConfig { key, labels, ..SandboxConfig::default() }).await.unwrap();
            }
            let ours = ours.map(|uids| uids.iter().map(|uid| (*uid).to_owned()).collect());
            empty(&runtime, ours.as_ref()).await.unwrap();
            runtime.sandboxes(&SandboxFilter::default()).await.unwrap()
        });
        let mut left: Vec<_> = left.into_iter().map(|sandbox| sandbox.key.name).collect();
        left.sort();
        assert_eq!(left, expect);
    }

    #[test]
    fn only_the_pods_of_this_node_go_from_a_runtime_that_others_use() {
        check(["a", "b", ""], Some(&["a"]), &["", "b"]);
        check(["a", "b", ""], Some(&[]), &["", "a", "b"]);
        check(["a", "b", "c"], None, &[]);
    }

    #[test]
    fn pods_are_known_by_their_files_and_by_their_logs() {
        let data = std::env::temp_dir().join(format!("windlass-leftovers-{}", std::process::id()));
        for folder in ["pods/a", "logs/default_web_b"] {
            std::fs::create_dir_all(data.join(folder)).unwrap();
        }
        let pods = windlass_node::leftover_pods(&data);
        std::fs::remove_dir_all(&data).unwrap();
        assert_eq!(pods, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(windlass_node::leftover_pods(&data), BTreeSet::new());
    }
}
