//! Programs of this workspace, built for use.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tidy::root;

/// Builds a package's program in the release profile and says where it is.
pub(crate) fn release(package: &str) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", package, "--message-format", "json-render-diagnostics"];
    println!("$ cargo {}", arguments[..4].join(" "));
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(root()).stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cargo has an output")?;
    let mut program = None;
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what cargo says")?;
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(path) = message["executable"].as_str() {
            program = Some(PathBuf::from(path));
        }
    }
    if !child.wait().context("cannot wait for cargo")?.success() {
        bail!("cannot build {package}");
    }
    program.with_context(|| format!("{package} has no program"))
}
