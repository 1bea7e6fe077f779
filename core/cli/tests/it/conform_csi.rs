//! `windlass conform csi` on the driver of this repository: verdicts, reports, and what is shown of a leak.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use async_trait::async_trait;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use serde_json::{Value, json};
use windlass::{
    csi::{
        hostpath::{HostPath, Settings},
        skel::{self, Setup},
    },
    kernel::{
        Result, Stop, VolumeDriver,
        volume::{
            DriverInfo, NodeExpanding, NodeFeatures, NodeInfo, PublishVolume, Staging, UsageReporting,
            VolumeController, VolumeId, VolumeNode,
        },
    },
    rim::{SystemClock, TokioSpawn},
};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("conform_csi_says_what_was_kept_and_writes_it_down", verdicts),
    ("conform_csi_names_what_a_driver_leaves", failure),
    ("conform_csi_starts_what_it_is_told_and_says_that_it_ended", ended),
    ("conform_csi_names_what_is_wrong_with_its_input", wrong),
];

pub(crate) fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("mounts need root".into());
    }
    let found = Command::new("losetup").arg("--version").stdout(Stdio::null()).status();
    found.is_err().then(|| "there is no losetup".into())
}

/// Runs the checks on a driver that is served meanwhile, in mounts that nobody else sees.
fn conform(
    folder: &Path,
    driver: impl FnOnce(HostPath) -> Arc<dyn VolumeDriver>,
    more: &[&str],
) -> (Option<i32>, String) {
    apart();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let spawn = TokioSpawn::on(runtime.handle().clone());
    let setup = Setup { clock: Arc::new(SystemClock::new()), spawn: Arc::new(spawn) };
    let (root, socket) = (folder.join("root"), folder.join("csi.sock"));
    let driver = driver(HostPath::open(Settings::at(&root, "n1"), setup).expect("a driver"));
    let stop = Stop::new();
    let serving = runtime.block_on(async { skel::bind(driver, &socket) }).expect("a socket");
    let task = runtime.spawn(serving.run(stop.clone()));
    let work = folder.join("work");
    let folders = ["--state", root.to_str().expect("a path"), "--folder", work.to_str().expect("a path")];
    let done = run(&socket, &[&folders, more].concat());
    stop.stop();
    runtime.block_on(task).expect("a task").expect("the server ends well");
    // What a forgetful driver left mounted would keep the folder from going.
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("the table of mounts");
    for at in
        table.lines().rev().filter_map(|line| line.split(' ').nth(4)).filter(|at| Path::new(at).starts_with(folder))
    {
        nix::mount::umount(at).expect("a mount goes");
    }
    done
}

/// This thread and what it starts have mounts of their own.
fn apart() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts of its own");
}

fn run(socket: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .args(["conform", "csi", "--size", "1048576", "--endpoint"])
        .arg(format!("unix://{}", socket.display()))
        .args(more)
        .output()
        .expect("windlass runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

fn verdicts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (junit, report) = (folder.path().join("junit.xml"), folder.path().join("report.json"));
    let more = ["--junit", junit.to_str().expect("a path"), "--json", report.to_str().expect("a path"), "--ephemeral"];
    let (code, said) = conform(folder.path(), |driver| Arc::new(driver), &more);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("CSI driver hostpath.csi.windlass.dev "), "{said}");
    assert!(said.contains("  ok    what is written to a block device stays ("), "{said}");
    assert!(said.contains("  skip  a killed driver knows what it had: the driver cannot be killed"), "{said}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&report).expect("a report")).expect("JSON");
    assert_eq!((&report["failed"], &report["skipped"]), (&json!(0), &json!(3)), "{report:#}");
    let xml = fs::read_to_string(&junit).expect("a report");
    assert!(xml.contains("<testcase classname=\"volume\" name=\"a_name_is_one_volume\""), "{xml}");
}

/// A driver that forgets to unpublish.
#[derive(Debug)]
struct Forgetful(HostPath);

#[async_trait]
impl VolumeDriver for Forgetful {
    async fn info(&self) -> Result<DriverInfo> {
        self.0.info().await
    }

    async fn ready(&self) -> Result<bool> {
        self.0.ready().await
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        self.0.controller()
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        Some(self)
    }
}

impl Forgetful {
    fn inner(&self) -> &dyn VolumeNode {
        &self.0
    }
}

#[async_trait]
impl VolumeNode for Forgetful {
    fn features(&self) -> NodeFeatures {
        self.inner().features()
    }

    async fn node_info(&self) -> Result<NodeInfo> {
        self.inner().node_info().await
    }

    async fn publish(&self, request: &PublishVolume) -> Result<()> {
        self.inner().publish(request).await
    }

    async fn unpublish(&self, _: &VolumeId, _: &Path) -> Result<()> {
        Ok(())
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.inner().staging()
    }

    fn usage(&self) -> Option<&dyn UsageReporting> {
        self.inner().usage()
    }

    fn expanding(&self) -> Option<&dyn NodeExpanding> {
        self.inner().expanding()
    }
}

fn failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = ["--only", "what is written to a folder stays"];
    let (code, said) = conform(folder.path(), |driver| Arc::new(Forgetful(driver)), &more);
    assert_eq!(code, Some(5), "{said}");
    for part in [
        "  FAIL  what is written to a folder stays (",
        "        the target path is left: ",
        "        tests: NodePublishVolume: mount the volume at target_path",
        "        | -> publish PublishVolume { volume: v-",
        "        | <- unpublish: ()",
    ] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

/// A driver that ends at once.
fn ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = folder.path().join("started");
    // It only says that it was started. That is told at once, and not after a deadline.
    let program = folder.path().join("driver");
    fs::write(&program, format!("#!/bin/sh\necho \"$CSI_ENDPOINT\" >> {}\n", started.display())).expect("a program");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a program");
    let socket = folder.path().join("csi.sock");
    let (code, said) = run(&socket, &["--command", program.to_str().expect("a path")]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the driver ended before it answered"), "{said}");
    assert_eq!(fs::read_to_string(&started).expect("it was started"), format!("unix://{}\n", socket.display()));
}

fn wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("csi.sock");
    let (code, said) = run(&socket, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&format!("no volume driver answers at {}", socket.display())), "{said}");
}
