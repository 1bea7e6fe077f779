//! Every numbered line of a contract has a check, and every check a line.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use super::Problem;

/// The suites of `conformance/`, each with the file and the trait whose contract it checks.
const SUITES: &[(&str, &str, &str)] = &[
    ("store", "core/kernel/src/store.rs", "Store"),
    ("runtime", "core/kernel/src/runtime.rs", "ContainerRuntime"),
    ("node", "core/kernel/src/node/agent.rs", "NodeAgent"),
    ("network", "core/kernel/src/network.rs", "PodNetwork"),
    ("volume", "core/kernel/src/volume.rs", "VolumeDriver"),
    ("device", "core/kernel/src/device.rs", "DevicePlugin"),
];

pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (suite, file, name) in SUITES {
        let text = fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
        let promised = promised(&text, name);
        let mut suite_text = String::new();
        for path in [format!("conformance/src/{suite}.rs"), format!("conformance/src/{suite}")] {
            read(&root.join(path), &mut suite_text)?;
        }
        let checked = checked(&suite_text);
        for number in promised.difference(&checked) {
            problems
                .push(format!("{file}: line {number} of {name}'s contract has no check in conformance/src/{suite}"));
        }
        for number in checked.difference(&promised) {
            problems
                .push(format!("conformance/src/{suite}: checks line {number}, which {name}'s contract does not have"));
        }
    }
    Ok(problems)
}

/// The numbers of the contract in the comment above a trait.
fn promised(text: &str, name: &str) -> BTreeSet<u32> {
    let declaration = format!("pub trait {name}:");
    let above = text.split(&declaration).next().unwrap_or_default();
    let comment = above.rsplit("\n\n").next().unwrap_or_default();
    let lines = comment.lines().filter_map(|line| line.trim().strip_prefix("///"));
    lines.filter_map(|line| line.trim().split_once(". **")?.0.parse().ok()).collect()
}

/// The numbers that checks are named for.
fn checked(text: &str) -> BTreeSet<u32> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("/// Contract "));
    let heads = lines.filter_map(|line| line.split_once(':'));
    heads
        .flat_map(|(numbers, _)| numbers.split([',', ' ']).filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn read(path: &Path, text: &mut String) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            read(&entry?.path(), text)?;
        }
    } else if path.is_file() {
        text.push_str(&fs::read_to_string(path)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_on_both_sides() {
        let text = "/// A.\n///\n/// # Contract\n///\n/// 1. **One.** Yes.\n/// 2. **Two.**\npub trait A: B {";
        assert_eq!(promised(text, "A"), BTreeSet::from([1, 2]));
        assert_eq!(checked("/// Contract 1: yes.\nfn x() {}\n/// Contract 2, 3: no.\n"), BTreeSet::from([1, 2, 3]));
    }
}
