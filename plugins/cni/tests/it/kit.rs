//! The lab as the suite's surroundings, and networks in it.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use serde_json::{Value, json};
use windlass_cni::{
    host::{CniNetwork, Settings},
    lab::Lab,
};
use windlass_conformance::network::{Raw, RawAnswer, Seen, Surroundings};
use windlass_kernel::network::{Attachment, AttachmentKey};

use windlass_machine::Machine;

/// Everything that a test needs.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    pub(crate) lab: Arc<Lab>,
    pub(crate) machine: Arc<Machine>,
}

/// Where Debian puts its plugins.
pub(crate) const DEBIAN: &str = "/usr/lib/cni";

impl Kit {
    pub(crate) fn new(lab: Lab, machine: Arc<Machine>) -> Self {
        Self { lab: Arc::new(lab), machine }
    }

    /// Where the binary of this crate is.
    pub(crate) fn own_folder() -> PathBuf {
        Path::new(env!("CARGO_BIN_EXE_windlass-bridge")).parent().expect("a folder").to_owned()
    }

    /// A host of a network of one configuration. The same name is the same network.
    pub(crate) fn host(&self, name: &str, list: &Value, deadline: Duration) -> CniNetwork {
        let folder = self.lab.folder(name).expect("a folder");
        fs::write(folder.join("10-net.conflist"), list.to_string()).expect("a configuration");
        let settings = Settings {
            config_dir: folder.clone(),
            network: None,
            plugin_dirs: vec![Self::own_folder(), DEBIAN.into()],
            cache_dir: folder.join("cache"),
            deadline,
        };
        CniNetwork::new(settings, self.machine.clone(), self.machine.clone())
    }

    pub(crate) fn attachment(&self, name: &str) -> Attachment {
        Attachment {
            key: AttachmentKey::new(name, "eth0"),
            namespace: Some(self.lab.pod(name).expect("a pod")),
            ..Attachment::default()
        }
    }

    /// A plugin to talk to directly.
    pub(crate) fn raw(plugin: &Path, name: &str, config: &Value) -> Raw {
        let (plugin, mut config) = (plugin.to_owned(), config.clone());
        config["name"] = name.into();
        let path = format!("{}:{DEBIAN}", Self::own_folder().display());
        let run = move |call: windlass_conformance::network::RawCall| {
            let mut child = Command::new(&plugin)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("CNI_PATH", &path)
                .envs(call.environment)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("the plugin runs");
            // One that refuses may end before it has read all.
            let _ = child.stdin.take().map(|mut input| std::io::Write::write_all(&mut input, &call.input));
            let done = child.wait_with_output().expect("the plugin ends");
            futures::future::ready(RawAnswer { code: done.status.code(), output: done.stdout }).boxed()
        };
        Raw { run: Arc::new(run), config }
    }
}

/// The fields of this crate's bridge in the tests, with IPv4 and IPv6.
pub(crate) fn own_plugin() -> Value {
    json!({
        "type": "windlass-bridge", "bridge": "wl0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]]},
    })
}

impl Surroundings for Kit {
    fn pod(&self, name: &str) -> PathBuf {
        self.lab.pod(name).expect("a pod")
    }

    fn remove_pod(&self, pod: &Path) {
        self.lab.remove_pod(pod).expect("a pod goes");
    }

    fn interface(&self, pod: &Path, name: &str) -> Option<Seen> {
        let seen = self.lab.interface(pod, name).expect("a look into a pod")?;
        Some(Seen { up: seen.up, addresses: seen.addresses })
    }

    fn cut(&self, pod: &Path, name: &str) {
        self.lab.cut(pod, name).expect("an interface goes");
    }

    fn connects(&self, from: Option<&Path>, to: SocketAddr, server: &Path, port: u16) -> bool {
        self.lab.connects(from, to, server, port).expect("a listener")
    }

    fn inventory(&self) -> BTreeSet<String> {
        self.lab.inventory().expect("an inventory")
    }
}
