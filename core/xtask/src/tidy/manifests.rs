//! Manifests are sorted, so that two people add a line in two places.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::Problem;

pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut manifests =
        vec![root.join("Cargo.toml"), root.join("conformance/Cargo.toml"), root.join("examples/Cargo.toml")];
    for folder in ["bindings", "core", "plugins"] {
        let entries = fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}"))?;
        manifests.extend(entries.filter_map(Result::ok).map(|entry| entry.path().join("Cargo.toml")));
    }
    for manifest in manifests.iter().filter(|path| path.is_file()) {
        let text = fs::read_to_string(manifest)?;
        let name = manifest.strip_prefix(root).unwrap_or(manifest).display().to_string();
        problems.extend(unsorted(&text).map(|line| format!("{name}: {line:?} is not in alphabetical order")));
    }
    Ok(problems)
}

/// The first dependency of each block that stands behind a later one.
fn unsorted(text: &str) -> impl Iterator<Item = &str> {
    let mut last = "";
    let mut inside = false;
    text.lines().filter(move |line| {
        if line.is_empty() || line.starts_with('#') {
            last = "";
        } else if line.starts_with('[') {
            inside = line.contains("dependencies");
            last = "";
        } else if inside && line.starts_with(|c: char| c.is_ascii_lowercase()) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or(line);
            let behind = name < last;
            last = name;
            return behind;
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_out_of_order_is_named() {
        let text = "[dependencies]\na = \"1\"\nc.workspace = true\nb = \"1\"\n\n[features]\nz = []\ny = []\n";
        assert_eq!(unsorted(text).collect::<Vec<_>>(), ["b = \"1\""]);
    }
}
