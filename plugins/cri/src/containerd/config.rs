//! Where a containerd keeps its things, and what is written into its configuration. Nothing is read from the system's own.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use windlass_kernel::{Error, ErrorKind, Result};

use super::mirrors::{self, Mirror, Mirrors};

/// What a containerd is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What outlives a reboot: images and snapshots, configuration, logs.
    pub data_dir: PathBuf,
    /// What does not: the socket and the state of running containers. A short path: socket names have little room.
    pub state_dir: PathBuf,
    /// The image of sandboxes. It is never pulled: import it.
    pub sandbox_image: String,
    /// The range of addresses for pods, such as `10.88.0.0/24`.
    pub pod_range: String,
    /// The bridge that pods are attached to, at most 15 characters.
    pub bridge: String,
    /// The largest packet on the bridge.
    pub mtu: u16,
    /// Whether what leaves the node has the node's address.
    pub masquerade: bool,
    /// Registries that are spoken to without TLS, as `host:port`.
    pub plain_registries: Vec<String>,
    /// Registries that are asked before others are.
    pub mirrors: Mirrors,
    /// Where root file systems come from, such as `overlayfs`.
    pub snapshotter: String,
    /// Whether it serves CRI. Without, it is what the reference runtime over containerd's own services needs, and no more.
    pub cri: bool,
}

impl Settings {
    /// Settings with everything below `data_dir` but the short-lived files, which are below `state_dir`.
    pub fn new(data_dir: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            state_dir: state_dir.into(),
            sandbox_image: "registry.local/pause:3.9".into(),
            pod_range: "10.88.0.0/24".into(),
            bridge: "windlass0".into(),
            mtu: 1450,
            masquerade: true,
            plain_registries: vec!["127.0.0.1:5000".into()],
            mirrors: Mirrors::new(),
            snapshotter: "overlayfs".into(),
            cri: true,
        }
    }
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) data: PathBuf,
    pub(super) state: PathBuf,
}

/// A socket's address has room for so many bytes and a NUL.
const SOCKET_LIMIT: usize = 107;

impl Layout {
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let layout = Self { data: settings.data_dir.clone(), state: settings.state_dir.clone() };
        // containerd itself appends `.ttrpc`.
        if layout.socket().as_os_str().len() + ".ttrpc".len() > SOCKET_LIMIT {
            let message = format!("the state directory {} is too long for a socket in it", layout.state.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        mirrors::check(&settings.mirrors)?;
        for path in [&layout.data, &layout.state] {
            if !path.is_absolute() || path.to_string_lossy().contains(['"', '\\', '\n']) {
                let message = format!("cannot keep a containerd in {}: not a plain absolute path", path.display());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        Ok(layout)
    }

    /// The socket that CRI is served on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    /// What containerd logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.data.join("containerd.log")
    }

    /// What containerd is started with (`--config`).
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.data.join("containerd.toml")
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.state.join("containerd.pid")
    }

    fn networks(&self) -> PathBuf {
        self.data.join("cni")
    }

    pub(super) fn registries(&self) -> PathBuf {
        self.data.join("registries")
    }

    /// Every file but those of registries, with its content, folders implied. CNI's comes before containerd is started: it only sees what is
    /// written in place.
    pub(super) fn files(&self, settings: &Settings, plugins: &Path, runc: &Path) -> Vec<(PathBuf, String)> {
        vec![(self.config(), self.toml(settings, plugins, runc)), self.network_file(settings)]
    }

    /// What containerd's CNI plugins are told.
    pub(super) fn network_file(&self, settings: &Settings) -> (PathBuf, String) {
        (self.networks().join("10-pods.conflist"), self.network(settings))
    }

    /// Where images come from, by registry.
    pub(super) fn registry_files(&self, settings: &Settings) -> Vec<(PathBuf, String)> {
        let named: BTreeSet<&String> = settings.plain_registries.iter().chain(settings.mirrors.keys()).collect();
        let file = |registry: &String| self.registries().join(registry).join("hosts.toml");
        named.into_iter().map(|registry| (file(registry), hosts(registry, settings))).collect()
    }

    fn toml(&self, settings: &Settings, plugins: &Path, runc: &Path) -> String {
        let (data, state) = (self.data.display(), self.state.display());
        let mut toml = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = writeln!(toml, "{text}");
        };
        line(format_args!("version = 2\nroot = \"{data}/containerd\"\nstate = \"{state}/containerd\"\noom_score = 0"));
        // What cannot work without its file system or device only makes noise.
        let off = ["snapshotter.v1.btrfs", "snapshotter.v1.zfs", "snapshotter.v1.devmapper", "snapshotter.v1.aufs"];
        let off = off.into_iter().chain((!settings.cri).then_some("grpc.v1.cri"));
        let off: Vec<_> = off.map(|plugin| format!("\"io.containerd.{plugin}\"")).collect();
        line(format_args!("disabled_plugins = [{}]", off.join(", ")));
        line(format_args!("[grpc]\n  address = \"{}\"", self.socket().display()));
        line(format_args!("[plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"{data}/opt\""));
        if !settings.cri {
            return toml;
        }
        let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
        line(format_args!("[{cri}]\n  sandbox_image = \"{}\"", settings.sandbox_image));
        line(format_args!("  stream_server_address = \"127.0.0.1\"\n  stream_server_port = \"0\""));
        line(format_args!("  netns_mounts_under_state_dir = true"));
        // A negative score needs a capability that containers of this process may not have; then nothing would start.
        line(format_args!("  restrict_oom_score_adj = true"));
        let apparmor = Path::new("/sys/kernel/security/apparmor").exists();
        line(format_args!("  disable_apparmor = {}", !apparmor));
        line(format_args!("  [{cri}.containerd]\n    snapshotter = \"{}\"", settings.snapshotter));
        line(format_args!("    default_runtime_name = \"runc\""));
        line(format_args!("    [{cri}.containerd.runtimes.runc]\n      runtime_type = \"io.containerd.runc.v2\""));
        line(format_args!("      [{cri}.containerd.runtimes.runc.options]"));
        line(format_args!("        BinaryName = \"{}\"\n        Root = \"{state}/runc\"", runc.display()));
        line(format_args!("        SystemdCgroup = false"));
        line(format_args!("  [{cri}.cni]\n    bin_dir = \"{}\"", plugins.display()));
        line(format_args!("    conf_dir = \"{}\"\n    max_conf_num = 1", self.networks().display()));
        line(format_args!("  [{cri}.registry]\n    config_path = \"{}\"", self.registries().display()));
        toml
    }

    fn network(&self, settings: &Settings) -> String {
        let config = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": "windlass",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": settings.bridge,
                    "isGateway": true,
                    "ipMasq": settings.masquerade,
                    "hairpinMode": true,
                    "mtu": settings.mtu,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": self.state.join("addresses"),
                        "ranges": [[{ "subnet": settings.pod_range }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
            ],
        });
        format!("{config:#}\n")
    }
}

/// Where containerd looks for a registry's images: first at its mirrors, then at the registry itself.
fn hosts(registry: &str, settings: &Settings) -> String {
    let mirrors: String = settings.mirrors.get(registry).into_iter().flatten().map(Mirror::toml).collect();
    let (server, own) = match registry {
        _ if settings.plain_registries.iter().any(|plain| plain == registry) => {
            let server = format!("http://{registry}");
            let own = format!("[host.\"{server}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
            (server, own)
        }
        // Its images have another host in their names than the one that has them.
        "docker.io" => ("https://registry-1.docker.io".into(), String::new()),
        registry => (format!("https://{registry}"), String::new()),
    };
    format!("server = \"{server}\"\n{mirrors}{own}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_too_long_for_a_socket_is_refused() {
        let deep = format!("/run/{}", "x".repeat(100));
        let refused = Layout::of(&Settings::new("/data", deep)).unwrap_err();
        assert!(refused.is(ErrorKind::Invalid), "{refused}");
    }

    #[test]
    fn mirrors_come_before_their_registry() {
        let at = |url: &str| Mirror::at(url).unwrap();
        let mut settings = Settings::new("/data", "/run/w");
        settings.mirrors = [
            (
                "docker.io".to_owned(),
                vec![at("https://a.local").trusting("/ca.pem"), at("https://b.local").unverified()],
            ),
            ("127.0.0.1:5000".to_owned(), vec![at("http://127.0.0.1:5001")]),
        ]
        .into();
        let pull = "  capabilities = [\"pull\", \"resolve\"]\n";
        let expect = format!(
            "server = \"https://registry-1.docker.io\"\n[host.\"https://a.local\"]\n{pull}  ca = \"/ca.pem\"\n\
             [host.\"https://b.local\"]\n{pull}  skip_verify = true\n"
        );
        assert_eq!(hosts("docker.io", &settings), expect);
        let expect = format!(
            "server = \"http://127.0.0.1:5000\"\n[host.\"http://127.0.0.1:5001\"]\n{pull}\
             [host.\"http://127.0.0.1:5000\"]\n{pull}"
        );
        assert_eq!(hosts("127.0.0.1:5000", &settings), expect);
        settings.mirrors.insert("../docker.io".into(), vec![]);
        assert!(Layout::of(&settings).unwrap_err().is(ErrorKind::Invalid));
    }

    #[test]
    fn the_configuration_keeps_to_its_directories() {
        let settings = Settings::new("/data", "/run/w");
        let layout = Layout::of(&settings).unwrap();
        let files = layout.files(&settings, Path::new("/cni/bin"), Path::new("/sbin/runc"));
        assert!(files.iter().all(|(path, _)| path.starts_with("/data")));
        let toml = &files[0].1;
        for part in ["\"/run/w/containerd.sock\"", "restrict_oom_score_adj = true", "\"/cni/bin\"", "\"/data/cni\""] {
            assert!(toml.contains(part), "{part} in {toml}");
        }
    }
}
