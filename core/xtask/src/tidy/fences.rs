//! Who may depend on whom: the picture in `docs/architecture.md`, checked against the manifests.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Problem;

/// What each crate may depend on, of this workspace.
const FENCES: &[(&str, &[&str])] = &[
    ("windlass-api", &[]),
    ("windlass-kernel", &["api"]),
    ("windlass-machine", &["kernel", "transport"]),
    ("windlass-transport", &["kernel"]),
    ("windlass-store", &["api", "kernel"]),
    ("windlass-client", &["api", "kernel", "transport"]),
    ("windlass-apiserver", &["api", "kernel", "transport"]),
    ("windlass-scheduler", &["api", "client", "kernel"]),
    ("windlass-controllers", &["api", "client", "kernel"]),
    ("windlass-node", &["api", "client", "kernel", "transport"]),
    ("windlass-proxy", &["api", "client", "kernel"]),
    ("windlass-dns", &["api", "client", "kernel", "transport"]),
    ("windlass-testkit", &["api", "kernel"]),
    ("windlass-conformance", &["api", "client", "kernel", "testkit"]),
    ("windlass-kubernetes", &["conformance", "kernel"]),
    ("windlass-cni", &["api", "kernel"]),
    ("windlass-cri", &["api", "grpc", "kernel", "transport"]),
    ("windlass-csi", &["api", "grpc", "kernel"]),
    ("windlass-device", &["grpc", "kernel"]),
    ("windlass-grpc", &["kernel", "machine"]),
    ("windlass-lab", &["cri", "kernel", "machine"]),
    ("windlass-python", &[]),
];

/// What the crates at the bottom never use.
const PURE: &[&str] = &["windlass-api", "windlass-kernel"];
const IMPURE: &[&str] = &["async-std", "hyper", "smol", "tokio", "tonic"];

pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
    let fences: BTreeMap<_, _> = FENCES.iter().copied().collect();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let own = package["dependencies"].as_array().into_iter().flatten().filter(|d| d["kind"].is_null());
        for dependency in own.filter_map(|d| d["name"].as_str()) {
            if PURE.contains(&name) && IMPURE.contains(&dependency) {
                problems.push(format!("{name} performs no I/O, so it may not depend on {dependency}"));
            }
            let Some(short) = dependency.strip_prefix("windlass-") else { continue };
            if fences.get(name).is_some_and(|allowed| !allowed.contains(&short)) {
                problems.push(format!("{name} may not depend on {dependency} (docs/architecture.md)"));
            }
        }
    }
    Ok(problems)
}
