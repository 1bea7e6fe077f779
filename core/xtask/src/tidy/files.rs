//! Rules about single files: a header, a length, and nothing left open.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::Problem;

/// Lines of code, without tests, above which a file must be split.
const LONGEST: usize = 600;

pub(super) fn check(root: &Path, sources: &[std::path::PathBuf]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for path in sources {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        problems.extend(check_text(&name, &text));
    }
    Ok(problems)
}

fn check_text(name: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let test = name.contains("/tests/") || name.ends_with("/tests.rs");
    if !test && !text.starts_with("//!") {
        problems.push(format!("{name}:1: a file opens with what it is for, as a `//!` comment"));
    }
    let body = text.lines().position(|line| line == "#[cfg(test)]").unwrap_or_else(|| text.lines().count());
    if body > LONGEST && !test {
        problems.push(format!("{name}: {body} lines without tests; more than {LONGEST} hide a second concept"));
    }
    for (at, line) in text.lines().enumerate() {
        let open = ["TO", "DO"].concat();
        if line.contains(&open) && !line.contains(&format!("{open}(#")) {
            problems.push(format!("{name}:{}: {open} needs an issue number: {open}(#n)", at + 1));
        }
        let stem = name.rsplit('/').next().unwrap_or(name);
        if at == 0 && matches!(stem, "utils.rs" | "common.rs" | "misc.rs" | "helpers.rs") {
            problems.push(format!("{name}: a file is named for what it holds"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str, expect: usize) {
        assert_eq!(check_text(name, text).len(), expect, "{name}");
    }

    #[test]
    fn broken_rules_are_named() {
        check("a.rs", "//! Fine.\n", 0);
        check("b.rs", "use x;\n", 1);
        check("c.rs", &format!("//! Long.\n{}", "x\n".repeat(700)), 1);
        check("d.rs", &format!("//! Tests.\n#[cfg(test)]\n{}", "x\n".repeat(700)), 0);
        check("utils.rs", "//! Everything.\n", 1);
    }
}
