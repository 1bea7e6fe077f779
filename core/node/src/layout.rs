//! Where the agent keeps what it makes. Pure: paths only.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use windlass_api::core::v1::Pod;

use crate::{
    make::resources::{Class, class},
    pod::uid,
    volume::DRIVERS,
};

/// The folders of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    data: PathBuf,
    /// The control group above all pods; empty where the agent keeps none.
    cgroups: String,
}

impl Layout {
    pub(crate) fn new(data: &Path, cgroups: &str) -> Self {
        Self { data: data.to_owned(), cgroups: cgroups.trim_end_matches('/').to_owned() }
    }

    /// The logs of a pod's containers.
    pub(crate) fn logs(&self, pod: &Pod) -> PathBuf {
        let meta = &pod.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        self.all_logs().join(format!("{namespace}_{name}_{}", uid(pod)))
    }

    pub(crate) fn all_logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// Everything else of a pod.
    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    pub(crate) fn volume(&self, uid: &str, name: &str) -> PathBuf {
        self.pod(uid).join("volumes").join(name)
    }

    /// The folder of a driver's volume at a pod: its record, and the path that it is shown at.
    pub(crate) fn driven(&self, uid: &str, name: &str) -> PathBuf {
        self.pod(uid).join(DRIVERS).join(name)
    }

    /// The path that a driver's volume is shown at, for one pod.
    pub(crate) fn target(&self, uid: &str, name: &str) -> PathBuf {
        self.driven(uid, name).join("mount")
    }

    /// Where a driver prepares a volume for all its pods.
    pub(crate) fn staging(&self, driver: &str, handle: &str) -> PathBuf {
        // A handle may be anything.
        let name = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(handle);
        self.data.join("plugins/kubernetes.io/csi").join(driver).join(name).join("globalmount")
    }

    pub(crate) fn pods(&self) -> PathBuf {
        self.data.join("pods")
    }

    pub(crate) fn sub_path(&self, uid: &str, container: &str, index: usize) -> PathBuf {
        self.pod(uid).join("sub-paths").join(container).join(index.to_string())
    }

    pub(crate) fn hosts(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// The file of an instance's last words.
    pub(crate) fn message(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod(uid).join("containers").join(container).join(attempt.to_string())
    }

    /// Whose devices of plugins are.
    pub(crate) fn devices(&self) -> PathBuf {
        self.data.join("devices.json")
    }

    /// Where seccomp profiles that pods name are looked for.
    pub(crate) fn seccomp(&self) -> PathBuf {
        self.data.join("seccomp")
    }

    /// The control group of a pod; empty where the agent keeps none.
    pub(crate) fn cgroup(&self, pod: &Pod) -> String {
        if self.cgroups.is_empty() {
            return String::new();
        }
        let class = match class(pod) {
            Class::Guaranteed => "",
            Class::Burstable => "/burstable",
            Class::BestEffort => "/besteffort",
        };
        format!("{}{class}/pod{}", self.cgroups, uid(pod))
    }

    /// The control group above all pods; empty where the agent keeps none.
    pub(crate) fn all_cgroups(&self) -> &str {
        &self.cgroups
    }

    /// Everywhere a pod's control group may be.
    pub(crate) fn cgroups(&self, uid: &str) -> Vec<String> {
        if self.cgroups.is_empty() {
            return vec![];
        }
        ["", "/burstable", "/besteffort"].iter().map(|class| format!("{}{class}/pod{uid}", self.cgroups)).collect()
    }
}
