//! What tests with real containers stand on: a network namespace of their own, images, and nothing left at the end.
#![allow(clippy::disallowed_methods, reason = "the tests look at other processes, on the machine's clock")]

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use crate::cluster::Cluster;

/// Why this machine cannot run containers and these programs in them, if it cannot.
pub(crate) fn missing(programs: &[(&str, &str)]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("real containers need root".into());
    }
    let needed = [
        ("containerd", "/usr/bin/containerd"),
        ("runc", "/usr/sbin/runc"),
        ("the CNI plugins", "/usr/lib/cni/bridge"),
        ("nft", "/usr/sbin/nft"),
        ("a static busybox", "/bin/busybox"),
    ];
    let all = needed.iter().chain(programs);
    let missing: Vec<_> = all.filter(|(_, path)| !Path::new(path).exists()).map(|(name, _)| *name).collect();
    (!missing.is_empty()).then(|| format!("this machine lacks {}", missing.join(", ")))
}

/// A network namespace with a way to this one and back.
pub(crate) struct Network {
    pub(crate) name: String,
    pub(crate) host: String,
}

impl Network {
    pub(crate) fn new() -> Self {
        // Tests of one process run beside each other.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (pid, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let subnet = (pid + number) % 250;
        let network = Self { name: format!("wlt{pid}-{number}"), host: format!("10.67.{subnet}.2") };
        let (name, here) = (&network.name, format!("10.67.{subnet}.1"));
        let inside = format!("--net=/run/netns/{name}");
        for words in [
            &["ip", "netns", "add", name] as &[&str],
            &["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name],
            &["ip", "address", "add", &format!("{here}/24"), "dev", name],
            &["ip", "link", "set", name, "up"],
            &["nsenter", &inside, "ip", "address", "add", &format!("{}/24", network.host), "dev", "eth0"],
            &["nsenter", &inside, "ip", "link", "set", "lo", "up"],
            &["nsenter", &inside, "ip", "link", "set", "eth0", "up"],
            &["nsenter", &inside, "ip", "route", "add", "default", "via", &here],
        ] {
            assert!(Command::new(words[0]).args(&words[1..]).status().expect("ip runs").success(), "{words:?}");
        }
        network
    }

    /// What a command inside prints.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("nsenter").arg(format!("--net=/run/netns/{}", self.name)).args(words).output();
        String::from_utf8_lossy(&output.expect("nsenter runs").stdout).into_owned()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// A cluster whose pods are gone when it goes.
pub(crate) struct Ended(pub(crate) Cluster);

impl Drop for Ended {
    fn drop(&mut self) {
        let said = self.0.windlass(&["down", "--purge"]);
        self.0.end(false);
        if !thread::panicking() {
            said.ok();
            assert!(!self.0.data().exists());
        }
    }
}

/// Writes archives of images into a folder: those named, or the usual ones.
pub(crate) fn build_images(folder: &Path, names: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["run", "--quiet", "--package", "xtask", "--", "images"]).arg(folder).args(names);
    assert!(cargo.status().expect("cargo runs").success(), "the images are not built");
}
