//! The node agent's own time of a pod start, as a test over a real containerd tells it.

use anyhow::Result;

use super::told::{self, millis};

const TEST: &str = "the_agents_own_time_of_a_pod_start_is_told";

/// The median and the worst, in milliseconds; `None` where this machine cannot run containers.
pub(super) fn own_time() -> Result<Option<(f64, f64)>> {
    Ok(read(&told::by("windlass-node", TEST)?))
}

fn read(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find_map(|line| line.split_once("own time ").map(|(_, rest)| rest))?;
    let (median, rest) = line.split_once(" median, ")?;
    let (worst, _) = rest.split_once(" worst")?;
    Some((millis(median)?, millis(worst)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_test_tells_them() {
        let said = "running 1 test\npod start: own time 3.25ms median, 5.5ms worst; whole 298.1ms\ntest x ... ok";
        assert_eq!(read(said), Some((3.25, 5.5)));
        assert_eq!(read("test x ... ignored"), None);
    }
}
