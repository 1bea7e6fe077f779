//! Figures that tests tell, because they need what only tests set up.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// What a test of a package's suite prints. One that is ignored here prints nothing.
pub(super) fn by(package: &str, test: &str) -> Result<String> {
    run(Command::new("cargo"), package, test)
}

/// As [`by`], of a test that measures that program.
pub(super) fn of(program: &Path, package: &str, test: &str) -> Result<String> {
    let mut command = Command::new("cargo");
    command.env("WINDLASS_MEASURED", program);
    run(command, package, test)
}

fn run(mut command: Command, package: &str, test: &str) -> Result<String> {
    command.args(["test", "--package", package, "--test=it", "--", "--nocapture", "--exact", test]);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run the test {test}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("the test {test} failed:\n{text}");
    }
    Ok(text)
}

/// Reads a time as Rust shows it, in milliseconds.
pub(super) fn millis(text: &str) -> Option<f64> {
    let units = [("ns", 1e-6), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let (digits, unit) = units.into_iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)))?;
    Some(digits.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_rust_shows_them() {
        assert_eq!([millis("900µs"), millis("2s"), millis("7ns")], [Some(0.9), Some(2000.0), Some(7e-6)]);
    }
}
