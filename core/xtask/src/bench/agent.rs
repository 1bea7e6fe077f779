//! What a node's agent takes with fifty pods on a real containerd, as a test of the command tells it.

use std::path::Path;

use super::{
    table::{Figures, Limit::Under},
    told::{self, millis},
};

const TEST: &str = "what_an_agent_takes_with_fifty_pods_is_told";

#[derive(Debug, PartialEq)]
struct Costs {
    /// In megabytes: what is of no file, and all that is resident.
    own: f64,
    resident: f64,
    /// In percent of a core.
    cpu: f64,
}

/// Has it measured, and adds the figures.
pub(super) fn run(windlass: &Path, table: &mut Figures) {
    let (memory, cpu) = ("agent with 50 pods: resident memory", "its idle CPU");
    let why = match told::of(windlass, "windlass-cli", TEST).map(|text| read(&text)) {
        Ok(Some(costs)) => {
            let beside = format!("{:.1} MB of it without the program's file", costs.own);
            table.add(memory, Under(30.0), costs.resident, "MB", &beside);
            table.add(cpu, Under(0.5), costs.cpu, "%", "of a core, in 10 s");
            return;
        }
        Ok(None) => "not measured: this machine cannot run containers".to_owned(),
        Err(error) => format!("not measured: {error}"),
    };
    table.absent(memory, &Under(30.0).text("MB"), &why);
    table.absent(cpu, &Under(0.5).text("%"), &why);
}

fn read(text: &str) -> Option<Costs> {
    let line = text.lines().find_map(|line| line.split_once("agent: ").map(|(_, rest)| rest))?;
    let (own, rest) = line.split_once(" kB of its own, ")?;
    let (resident, rest) = rest.split_once(" kB resident")?;
    let (_, rest) = rest.split_once("; ")?;
    let (used, rest) = rest.split_once(" of CPU in ")?;
    let megabytes = |kilobytes: &str| Some(kilobytes.parse::<f64>().ok()? / 1024.0);
    Some(Costs {
        own: megabytes(own)?,
        resident: megabytes(resident)?,
        cpu: 100.0 * millis(used)? / millis(rest.trim())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_as_the_test_tells_them() {
        let said = "running 1 test\nagent: 12288 kB of its own, 86016 kB resident with 50 pods; 20ms of CPU in 10s\nok";
        assert_eq!(read(said), Some(Costs { own: 12.0, resident: 84.0, cpu: 0.2 }));
        assert_eq!(read("test x ... ignored"), None);
    }
}
