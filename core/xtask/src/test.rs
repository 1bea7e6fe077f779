//! `cargo xtask test`: format, tidy, lints and every test, and at the very end how many passed.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{python, system, tidy};

/// Runs everything that must pass.
pub(crate) fn run() -> Result<()> {
    if system::root() {
        system::install(&[system::NODE, system::EXAMPLES, system::PYTHON, system::PROTOC])?;
    } else {
        println!("not root: tests that need containers or network namespaces will be listed as ignored");
    }
    system::run(&["cargo", "fmt", "--all", "--check"])?;
    tidy::run()?;
    let features = features();
    let lint = [&["cargo", "clippy", "--workspace", "--all-targets"], features, &["--", "-D", "warnings"]].concat();
    system::run(&lint)?;
    tests(features)
}

/// The reference container runtime, where it can be built.
fn features() -> &'static [&'static str] {
    if system::PROTOC.iter().all(|tool| system::present(tool.program)) {
        return &["--features", "windlass-cli/containerd,windlass-cri/containerd"];
    }
    println!("protoc is missing: the reference container runtime over containerd's own services is not tested");
    &[]
}

/// Counts of the runners' closing lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …` says.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for part in counts.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Adds what a line of pytest such as `2 failed, 31 passed, 1 skipped in 4.20s` says.
    pub(crate) fn add_pytest(&mut self, line: &str) {
        let Some((counts, _)) = line.trim_matches(['=', ' ']).rsplit_once(" in ") else { return };
        for part in counts.split(", ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" | "error" | "errors" => self.failed += number,
                "skipped" | "xfailed" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Whether nothing was run.
    pub(crate) fn none(&self) -> bool {
        self.passed + self.failed == 0
    }

    /// Whether nothing failed.
    pub(crate) fn sound(&self) -> bool {
        self.failed == 0
    }
}

fn tests(features: &[&str]) -> Result<()> {
    let command = [&["cargo", "test", "--workspace", "--no-fail-fast"], features].concat();
    println!("$ {}", command.join(" "));
    let mut child =
        Command::new(command[0]).args(&command[1..]).stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let mut counts = Counts::default();
    let output = child.stdout.take().context("cargo has an output")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what the tests print")?;
        counts.add(&line);
        println!("{line}");
    }
    let status = child.wait().context("cannot wait for cargo")?;
    let wheel = match python::Place::open() {
        Ok(place) => python::test(&place, &[])?,
        Err(why) => {
            println!("the Python package is not tested: {why}");
            Counts { ignored: 1, ..Counts::default() }
        }
    };
    counts.passed += wheel.passed;
    counts.failed += wheel.failed;
    counts.ignored += wheel.ignored;
    println!();
    println!("total: {} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.ignored);
    if !status.success() || !wheel.sound() {
        bail!("the tests failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        counts.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        counts.add("test something ... ok");
        assert_eq!(counts, Counts { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn pytest_closes_with_a_line_of_its_own() {
        let mut counts = Counts::default();
        counts.add_pytest("tests/test_a.py ....s");
        counts.add_pytest("==== 2 failed, 31 passed, 1 skipped, 3 warnings in 4.20s ====");
        counts.add_pytest("1 passed, 1 error in 0.01s");
        assert_eq!(counts, Counts { passed: 32, failed: 3, ignored: 1 });
        assert!(!counts.sound() && !counts.none());
    }
}
