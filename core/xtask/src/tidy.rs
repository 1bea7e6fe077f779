//! `cargo xtask tidy`: the rules of this repository that neither the compiler nor clippy checks.

mod contracts;
mod fences;
mod files;
mod manifests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::codegen;

/// What the top level holds, and nothing else.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "bindings",
    "conformance",
    "core",
    "docs",
    "examples",
    "plugins",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "target",
];

/// One broken rule, with the place.
pub(crate) type Problem = String;

/// Checks everything and lists every broken rule.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let sources = sources(&root)?;
    let mut problems = top_level(&root)?;
    problems.extend(files::check(&root, &sources)?);
    problems.extend(contracts::check(&root)?);
    problems.extend(fences::check(&root)?);
    problems.extend(manifests::check(&root)?);
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if !problems.is_empty() {
        bail!("tidy found {} broken rules", problems.len());
    }
    codegen::run(true)?;
    println!("tidy: {} files are in order", sources.len());
    Ok(())
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

fn top_level(root: &Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for entry in fs::read_dir(root).context("cannot list the workspace")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !TOP.contains(&name.as_str()) && !ignored(root, &name) {
            problems.push(format!("{name}: does not belong at the top level; tidy.rs lists what does"));
        }
    }
    Ok(problems)
}

fn ignored(root: &Path, name: &str) -> bool {
    let check = std::process::Command::new("git").arg("-C").arg(root).args(["check-ignore", "-q", name]).status();
    check.is_ok_and(|status| status.success())
}

/// Every Rust file that people write.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["bindings", "conformance", "core", "examples", "plugins"] {
        walk(&root.join(folder), &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "gen" {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        super::run().unwrap();
    }
}
