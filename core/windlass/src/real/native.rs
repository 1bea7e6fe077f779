//! A node over containerd's own services: one of our own without CRI, or one that runs already. Its pods' network is our bridge.

use std::{collections::BTreeSet, path::Path};

use windlass_cri::{
    containerd::Settings,
    skel::{Plugin, Setup},
};
use windlass_kernel::Result;

use super::ContainerNode;

/// Where containerd is, and what it is spoken to with.
#[cfg_attr(not(feature = "containerd"), expect(dead_code, reason = "a build without it refuses before it looks"))]
pub(super) struct Place<'a> {
    pub(super) settings: Settings,
    pub(super) socket: Option<&'a Path>,
    pub(super) carrier: &'a [String],
    pub(super) setup: Setup,
}

#[cfg(not(feature = "containerd"))]
mod without {
    use windlass_kernel::{Error, ErrorKind};

    use super::{BTreeSet, ContainerNode, Place, Plugin, Result};

    fn lacking() -> Error {
        let message = "this build has no native containerd runtime: build it with --features containerd, or use CRI";
        Error::new(ErrorKind::NotSupported, message)
    }

    impl Place<'_> {
        pub(in super::super) async fn start(&self, _: &ContainerNode) -> Result<(Plugin, BTreeSet<String>)> {
            Err(lacking())
        }

        pub(in super::super) async fn remove(&self, _: bool, _: &BTreeSet<String>) -> Result<()> {
            Err(lacking())
        }
    }
}

#[cfg(feature = "containerd")]
mod with {
    use std::sync::Arc;

    use serde_json::json;
    use windlass_cni::{bridge::Bridge, skel, wire::PluginConfig};
    use windlass_cri::{
        containerd::{Containerd, Launcher, Native},
        host::Rim,
    };
    use windlass_kernel::{Error, ErrorKind, PodNetwork};

    use super::{super::leftovers::empty, BTreeSet, ContainerNode, Place, Plugin, Result, Settings, Setup};

    /// The namespace of a containerd that others use, too.
    const NAMESPACE: &str = "windlass";

    impl Place<'_> {
        fn settings(&self) -> Settings {
            Settings { cri: false, ..self.settings.clone() }
        }

        fn launcher(&self) -> Result<Launcher> {
            let Setup { clock, spawn, dial, .. } = self.setup.clone();
            Launcher::new(self.settings(), Rim { dial, clock, spawn })
        }

        /// The bridge that a node has that way: the same as a containerd with CRI would be told of.
        fn network(&self) -> Result<Arc<dyn PodNetwork>> {
            let settings = self.settings();
            let config: PluginConfig = serde_json::from_value(json!({
                "cniVersion": "1.1.0",
                "name": "windlass",
                "type": "windlass-bridge",
                "bridge": settings.bridge,
                "isDefaultGateway": true,
                "ipMasq": settings.masquerade,
                "hairpinMode": true,
                "mtu": settings.mtu,
                "stateDir": settings.state_dir.join("network"),
                "ipam": {
                    "type": "host-local",
                    "dataDir": settings.state_dir.join("addresses"),
                    "ranges": [[{ "subnet": settings.pod_range }]],
                },
            }))
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot describe the bridge").with_source(error))?;
            Ok(Arc::new(Bridge::new(&skel::Setup::of(config, Arc::clone(&self.setup.spawn))?)?))
        }

        /// The runtime on one that somebody else runs.
        async fn connect(&self, native: Native) -> Result<Containerd> {
            Containerd::connect(native, self.network()?, self.setup.clone()).await
        }

        fn shared(&self, socket: &std::path::Path) -> Native {
            let state = self.settings().state_dir.join("native");
            let native = Native::new(socket, state, self.carrier.to_vec());
            Native { namespace: NAMESPACE.into(), mirrors: self.settings.mirrors.clone(), ..native }
        }

        pub(in super::super) async fn start(&self, node: &ContainerNode) -> Result<(Plugin, BTreeSet<String>)> {
            if let Some(socket) = self.socket {
                return Ok((Plugin::of(self.connect(self.shared(socket)).await?), BTreeSet::new()));
            }
            let launcher = self.launcher()?;
            let running = launcher.start_bare().await?;
            tracing::info!(pid = running.pid, found = running.found, "containerd runs, without CRI");
            let held = node.import_all(&launcher, self.settings().sandbox_image).await?;
            Ok((Plugin::of(self.connect(launcher.native(self.carrier.to_vec())).await?), held))
        }

        /// Removes the sandboxes of those pods, by uid, from a containerd that others use too, or a containerd of our own with
        /// every sandbox.
        pub(in super::super) async fn remove(&self, purge: bool, pods: &BTreeSet<String>) -> Result<()> {
            if let Some(socket) = self.socket {
                return empty(&self.connect(self.shared(socket)).await?, Some(pods)).await;
            }
            let launcher = self.launcher()?;
            if launcher.layout().config().exists() {
                launcher.start_bare().await?;
                empty(&self.connect(launcher.native(self.carrier.to_vec())).await?, None).await?;
            }
            launcher.tear_down(purge).await
        }
    }
}
