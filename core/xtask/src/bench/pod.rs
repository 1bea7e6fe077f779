//! The node agent's own time of a pod start, as a test over a real containerd tells it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const TEST: &str = "the_agents_own_time_of_a_pod_start_is_told";

/// The median and the worst, in milliseconds; `None` where this machine cannot run containers.
pub(super) fn own_time() -> Result<Option<(f64, f64)>> {
    let mut command = Command::new("cargo");
    command.args(["test", "--package=windlass-node", "--test=it", "--", "--nocapture", "--exact", TEST]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run the test of pod starts")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("the test of pod starts failed:\n{text}");
    }
    Ok(read(&text))
}

fn read(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find_map(|line| line.split_once("own time ").map(|(_, rest)| rest))?;
    let (median, rest) = line.split_once(" median, ")?;
    let (worst, _) = rest.split_once(" worst")?;
    Some((millis(median)?, millis(worst)?))
}

/// Reads a time as Rust shows it.
fn millis(text: &str) -> Option<f64> {
    let units = [("ns", 1e-6), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let (digits, unit) = units.into_iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)))?;
    Some(digits.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_test_tells_them() {
        let said = "running 1 test\npod start: own time 3.25ms median, 5.5ms worst; whole 298.1ms\ntest x ... ok";
        assert_eq!(read(said), Some((3.25, 5.5)));
        assert_eq!(read("test x ... ignored"), None);
        assert_eq!([millis("900µs"), millis("2s"), millis("7ns")], [Some(0.9), Some(2000.0), Some(7e-6)]);
    }
}
