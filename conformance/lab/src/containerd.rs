//! One real containerd for all tests of a program, with its own directories, bridge and addresses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Runtime;
use windlass_cri::{
    containerd::{Bare, Launcher, Running, Settings, oci::Recipe},
    host::Rim,
};

use crate::{Registry, rim};

/// The image of the tests' containers: a shell and its friends.
pub const BUSYBOX: &str = "registry.local/busybox:1";
/// The image of sandboxes.
pub const PAUSE: &str = "registry.local/pause:1";
const SHELL: &str = "/bin/busybox";

/// A containerd that runs, and what it was made with.
#[derive(Debug)]
pub struct Lab {
    /// Where everything runs.
    pub tokio: Runtime,
    /// The machine.
    pub rim: Rim,
    /// Where everything is.
    pub folder: PathBuf,
    /// What started containerd.
    pub launcher: Launcher,
    /// The containerd.
    pub running: Running,
    /// A registry that it pulls from.
    pub registry: Registry,
}

/// A containerd that serves nothing but its own services, and what it was made with.
#[derive(Debug)]
pub struct BareLab {
    /// Where everything runs.
    pub tokio: Runtime,
    /// The machine.
    pub rim: Rim,
    /// Where everything is.
    pub folder: PathBuf,
    /// What started containerd.
    pub launcher: Launcher,
    /// The containerd.
    pub running: Bare,
    /// A registry that it pulls from.
    pub registry: Registry,
    /// The bridge that pods are to be on.
    pub bridge: String,
    /// The range of their addresses.
    pub range: String,
}

/// Moves this thread, and all that come from it, into a network of their own, so that no test is seen from outside. Answers
/// why this machine cannot run containers, if it cannot; then nothing is moved.
///
/// To be called first of all in `main`, before there are other threads.
///
/// # Panics
///
/// Where a new network has no loopback.
#[must_use]
pub fn alone() -> Option<String> {
    if let Some(reason) = missing() {
        return Some(reason);
    }
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        return Some(format!("no network of its own: {error}"));
    }
    assert!(ip(&["link", "set", "lo", "up"]), "a new network has no loopback");
    None
}

fn missing() -> Option<String> {
    let tokio = Runtime::new().expect("a runtime");
    let settings = Settings::new("/tmp/w", "/tmp/w");
    if let Err(error) = Launcher::new(settings, rim(tokio.handle())) {
        return Some(error.to_string());
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.contains("overlay") {
        return Some("the kernel has no overlay file system".into());
    }
    if !ip(&["-Version"]) {
        return Some("this machine lacks iproute2".into());
    }
    (!Path::new(SHELL).exists()).then(|| "this machine lacks a static busybox".into())
}

/// Whether the program `ip` did that.
fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// No two of one process share addresses.
static RANGE: AtomicU8 = AtomicU8::new(0);

impl Lab {
    /// Starts it. `name` is of a few letters, and no other one of this process has it.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let Ground { tokio, rim, registry, folder, settings } = Ground::of(name);
        let launcher = Launcher::new(settings, rim.clone()).expect("a launcher");
        let running = tokio.block_on(async {
            let running = launcher.start().await.expect("containerd starts");
            import(&launcher, &folder).await;
            running
        });
        Self { tokio, rim, folder, launcher, running, registry }
    }

    /// Ends it, and leaves nothing behind.
    ///
    /// # Panics
    ///
    /// Where something is left.
    pub fn end(self) {
        end(&self.tokio, &self.launcher, &self.folder);
    }

    /// A control group of these tests, for all that they make.
    #[must_use]
    pub fn cgroup(&self) -> String {
        cgroup(&self.folder)
    }
}

impl BareLab {
    /// Starts it. `name` is of a few letters, and no other one of this process has it.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let Ground { tokio, rim, registry, folder, settings } = Ground::of(name);
        let (bridge, range) = (settings.bridge.clone(), settings.pod_range.clone());
        let settings = Settings { cri: false, ..settings };
        let launcher = Launcher::new(settings, rim.clone()).expect("a launcher");
        let running = tokio.block_on(async {
            let running = launcher.start_bare().await.expect("containerd starts");
            import(&launcher, &folder).await;
            running
        });
        Self { tokio, rim, folder, launcher, running, registry, bridge, range }
    }

    /// Ends it, and leaves nothing behind. Whoever ran sandboxes has removed them.
    ///
    /// # Panics
    ///
    /// Where something is left.
    pub fn end(self) {
        end(&self.tokio, &self.launcher, &self.folder);
    }

    /// A control group of these tests, for all that they make.
    #[must_use]
    pub fn cgroup(&self) -> String {
        cgroup(&self.folder)
    }
}

/// What every lab stands on.
struct Ground {
    tokio: Runtime,
    rim: Rim,
    registry: Registry,
    folder: PathBuf,
    settings: Settings,
}

impl Ground {
    fn of(name: &str) -> Self {
        let tokio = Runtime::new().expect("a runtime");
        let rim = rim(tokio.handle());
        let registry = Registry::start(tokio.handle());
        let short = format!("w{name}{}", std::process::id());
        let folder = std::env::temp_dir().join(&short);
        let settings = Settings {
            sandbox_image: PAUSE.into(),
            bridge: short,
            pod_range: format!("10.244.{}.0/24", RANGE.fetch_add(1, Ordering::Relaxed)),
            plain_registries: vec![registry.address().to_owned()],
            ..Settings::new(folder.join("data"), folder.join("state"))
        };
        fs::create_dir_all(folder.join("logs")).expect("a folder");
        Self { tokio, rim, registry, folder, settings }
    }
}

async fn import(launcher: &Launcher, folder: &Path) {
    for (name, recipe) in [("busybox.tar", busybox(BUSYBOX).also("registry.local/shell:1")), ("pause.tar", pause())] {
        let archive = folder.join(name);
        recipe.save(&archive).expect("an archive is written");
        launcher.import(&archive).await.expect("an image is imported");
    }
}

fn end(tokio: &Runtime, launcher: &Launcher, folder: &Path) {
    tokio.block_on(launcher.tear_down(true)).expect("containerd is torn down");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
    let below = folder.display().to_string();
    assert!(!mounts.contains(&below), "mounts are left: {mounts}");
    fs::remove_dir_all(folder).expect("the folder goes");
    // Runtimes leave the groups of pods to whoever named them.
    for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten() {
        let group = hierarchy.path().join(cgroup(folder).trim_start_matches('/'));
        if group.exists() {
            remove_group(&group);
        }
    }
}

fn cgroup(folder: &Path) -> String {
    format!("/{}", folder.file_name().unwrap_or_default().display())
}

/// Removes a control group in which nothing runs, the groups below it first.
fn remove_group(group: &Path) {
    let below = fs::read_dir(group).expect("a control group").flatten().map(|entry| entry.path());
    below.filter(|path| path.is_dir()).for_each(|path| remove_group(&path));
    fs::remove_dir(group).expect("an empty control group goes");
}

fn binary() -> Vec<u8> {
    fs::read(SHELL).expect("busybox can be read")
}

/// An image of that name with a shell and its friends.
pub(crate) fn busybox(name: &str) -> Recipe {
    let recipe = Recipe::named(name).file(SHELL, 0o755, binary());
    let names = [
        "sh", "cat", "sleep", "nc", "stty", "true", "false", "echo", "id", "httpd", "touch", "ls", "env", "grep",
        "stat", "hostname", "rm", "ps",
    ];
    let recipe = names.iter().fold(recipe, |recipe, name| recipe.link(&format!("/bin/{name}"), "busybox"));
    recipe.folder("/tmp", 0o1777).folder("/etc", 0o755).arguments(&["sh"])
}

/// A stand-in for the real pause: it does not reap, which these tests do not need.
fn pause() -> Recipe {
    Recipe::named(PAUSE).file(SHELL, 0o755, binary()).entrypoint(&[SHELL, "sleep", "1000000000"])
}
