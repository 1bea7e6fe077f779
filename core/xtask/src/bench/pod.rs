//! The starts of pods, as tests over a real containerd tell them.

use anyhow::Result;

use super::{
    table::{Figures, Limit::Under},
    told::{self, millis},
};

const ONE: &str = "the_agents_own_time_of_a_pod_start_is_told";
const FIFTY: &str = "how_fast_fifty_pods_start_at_once_is_told";

/// Has them measured, and adds the figures.
pub(super) fn run(table: &mut Figures) {
    let figure = "pod start: our time on top of the sum of the CRI calls";
    match read(ONE, own_time) {
        Ok((median, worst)) => {
            table.add(figure, Under(10.0), median, "ms", &format!("median; worst {worst:.1}; debug build"))
        }
        Err(why) => table.absent(figure, &Under(10.0).text("ms"), &why),
    }
    let figure = "50 pods at once: time of the agent to that of the runtime's calls alone";
    match read(FIFTY, crowd) {
        Ok((agent, calls)) => {
            let beside = format!("{:.1} s and {:.1} s; debug build", agent / 1e3, calls / 1e3);
            table.add(figure, Under(1.1), agent / calls, "", &beside);
        }
        Err(why) => table.absent(figure, &Under(1.1).text(""), &why),
    }
}

/// What a test tells, in milliseconds, or why it does not.
fn read(test: &str, of: fn(&str) -> Option<(f64, f64)>) -> Result<(f64, f64), String> {
    match told::by("windlass-node", test).map(|text| of(&text)) {
        Ok(told) => told.ok_or_else(|| "not measured: this machine cannot run containers".to_owned()),
        // The other figures are worth showing all the same.
        Err(error) => Err(format!("not measured: {error}")),
    }
}

/// The median and the worst.
fn own_time(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find_map(|line| line.split_once("own time ").map(|(_, rest)| rest))?;
    let (median, rest) = line.split_once(" median, ")?;
    let (worst, _) = rest.split_once(" worst")?;
    Some((millis(median)?, millis(worst)?))
}

/// The time of the agent, and that of the calls.
fn crowd(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find_map(|line| line.split_once("crowd: ").map(|(_, rest)| rest))?;
    let (_, rest) = line.split_once(" pods in ")?;
    let (agent, rest) = rest.split_once(" by the agent, in ")?;
    let (calls, _) = rest.split_once(" by the calls")?;
    Some((millis(agent)?, millis(calls)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_tests_tell_them() {
        let said = "running 1 test\npod start: own time 3.25ms median, 5.5ms worst; whole 298.1ms\ntest x ... ok";
        assert_eq!(own_time(said), Some((3.25, 5.5)));
        let said = "running 1 test\ncrowd: 50 pods in 5.5s by the agent, in 6s by the calls of the runtime alone\nok";
        assert_eq!(crowd(said), Some((5500.0, 6000.0)));
        assert_eq!([own_time("test x ... ignored"), crowd("test x ... ignored")], [None; 2]);
    }
}
