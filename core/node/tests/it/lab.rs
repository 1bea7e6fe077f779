//! One real containerd for all tests, with its own directories, bridge and addresses.

use std::{fs, path::PathBuf, sync::Arc};

use tokio::runtime::Runtime;
use windlass_cri::{
    containerd::{Launcher, Running, Settings, oci::Recipe},
    host::Rim,
};
use windlass_node::{Config, Needs};
use windlass_testkit::SeededEntropy;

use crate::context::Objects;

/// The image of the suite's containers.
pub(crate) const BUSYBOX: &str = "registry.local/busybox:1";
const PAUSE: &str = "registry.local/pause:1";

/// A containerd that runs, and what it was made with.
pub(crate) struct Lab {
    pub(crate) tokio: Runtime,
    pub(crate) rim: Rim,
    pub(crate) folder: PathBuf,
    pub(crate) launcher: Launcher,
    pub(crate) running: Running,
}

/// Why this machine cannot run containers, if it cannot.
pub(crate) fn missing() -> Option<String> {
    let tokio = Runtime::new().expect("a runtime");
    let settings = Settings::new("/tmp/w", "/tmp/w");
    if let Err(error) = Launcher::new(settings, crate::rim::rim(tokio.handle())) {
        return Some(error.to_string());
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.contains("overlay") {
        return Some("the kernel has no overlay file system".into());
    }
    (!PathBuf::from("/bin/busybox").exists()).then(|| "this machine lacks a static busybox".into())
}

impl Lab {
    /// Starts it. `tag` is one letter that no other one of this process has.
    pub(crate) fn start(tag: char) -> Self {
        let tokio = Runtime::new().expect("a runtime");
        let rim = crate::rim::rim(tokio.handle());
        let pid = std::process::id();
        let folder = std::env::temp_dir().join(format!("wnod{pid}{tag}"));
        let third = (pid / 50 + u32::from(tag)) % 250;
        let settings = Settings {
            sandbox_image: PAUSE.into(),
            bridge: format!("wnod{pid}{tag}"),
            pod_range: format!("10.{}.{third}.0/24", 150 + pid % 50),
            ..Settings::new(folder.join("data"), folder.join("state"))
        };
        fs::create_dir_all(&folder).expect("a folder");
        let launcher = Launcher::new(settings, rim.clone()).expect("a launcher");
        let running = tokio.block_on(async {
            let running = launcher.start().await.expect("containerd starts");
            for (name, recipe) in [("busybox.tar", busybox()), ("pause.tar", pause())] {
                let archive = folder.join(name);
                recipe.save(&archive).expect("an archive is written");
                launcher.import(&archive).await.expect("an image is imported");
            }
            running
        });
        Self { tokio, rim, folder, launcher, running }
    }

    /// Ends it, and leaves nothing behind.
    pub(crate) fn end(self) {
        self.tokio.block_on(self.launcher.tear_down(true)).expect("containerd is torn down");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
        let folder = self.folder.display().to_string();
        assert!(!mounts.contains(&folder), "mounts are left: {mounts}");
        fs::remove_dir_all(&self.folder).expect("the folder goes");
        // Runtimes leave the groups of pods to whoever named them.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten() {
            let group = hierarchy.path().join(self.cgroup().trim_start_matches('/'));
            if group.exists() {
                fs::remove_dir(&group).expect("an empty control group goes");
            }
        }
    }

    /// A control group of these tests.
    pub(crate) fn cgroup(&self) -> String {
        format!("/{}", self.folder.file_name().unwrap_or_default().display())
    }

    /// What an agent on the lab's containerd is made of.
    pub(crate) fn agent(&self, name: &str, context: Arc<Objects>) -> (Config, Needs) {
        let config = Config {
            addresses: vec!["127.0.0.1".parse().expect("an address")],
            cgroups: format!("/wnode{}-{name}", std::process::id()),
            api: Some(("10.96.0.1".into(), 443)),
            ..Config::new(name, self.folder.join("agents").join(name))
        };
        let runtime = Arc::new(self.running.runtime.clone());
        let needs = Needs {
            runtime: runtime.clone(),
            images: runtime,
            context,
            clock: self.rim.clock.clone(),
            spawn: self.rim.spawn.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            dial: self.rim.dial.clone(),
        };
        (config, needs)
    }
}

fn binary() -> Vec<u8> {
    fs::read("/bin/busybox").expect("busybox can be read")
}

fn busybox() -> Recipe {
    let recipe = Recipe::named(BUSYBOX).also("registry.local/shell:1").file("/bin/busybox", 0o755, binary());
    let names = [
        "sh", "cat", "sleep", "nc", "true", "false", "echo", "id", "httpd", "touch", "ls", "env", "grep", "stat",
        "hostname",
    ];
    let recipe = names.iter().fold(recipe, |recipe, name| recipe.link(&format!("/bin/{name}"), "busybox"));
    recipe.folder("/tmp", 0o1777).folder("/etc", 0o755).arguments(&["sh"])
}

/// A stand-in for the real pause: it does not reap, which these tests do not need.
fn pause() -> Recipe {
    Recipe::named(PAUSE).file("/bin/busybox", 0o755, binary()).entrypoint(&["/bin/busybox", "sleep", "1000000000"])
}
