//! The scheduler at scale: each workload in a process of its own, which prints what it took as `name=value` words.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::table::{
    Figures,
    Limit::{self, AtLeast, None as Beside, Under},
};

/// A workload of upstream's scheduler_perf: its name, pods of the full size, pods per second that it must reach, and
/// upstream's own threshold.
const WORKLOADS: &[(&str, usize, f64, u32)] = &[
    ("SchedulingBasic", 10_000, 10_000.0, 270),
    ("SchedulingBasicDurable", 10_000, 5000.0, 270),
    ("TopologySpreading", 5000, 3000.0, 85),
    ("SchedulingPodAntiAffinity", 2000, 3000.0, 60),
    ("SchedulingPodAffinity", 5000, 3000.0, 35),
    ("PreemptionAsync", 5000, 3000.0, 160),
    ("Unschedulable", 10_000, 3000.0, 140),
];

const NODES: usize = 5000;
/// Quick runs have so many times fewer nodes and pods; their limits are those of the full size.
const QUICK: usize = 10;

/// What a workload printed.
struct Printed(String);

impl Printed {
    fn number(&self, name: &str) -> Result<f64> {
        let word = self.0.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.and_then(|digits| digits.parse().ok()).with_context(|| format!("the workload did not print {name}"))
    }
}

fn run_one(program: &Path, workload: &str, nodes: usize, pods: usize) -> Result<Printed> {
    let sizes = [nodes.to_string(), pods.to_string()];
    let mut command = Command::new(program);
    let output =
        command.arg(workload).args(sizes).stderr(Stdio::inherit()).output().context("cannot run a workload")?;
    if !output.status.success() {
        bail!("the workload {workload} ended with {}", output.status);
    }
    Ok(Printed(String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Measures all workloads, or those that are named.
pub(super) fn run(program: &Path, quick: bool, only: &[String]) -> Result<()> {
    let mut table = Figures::new();
    let done = measure(&mut table, program, if quick { QUICK } else { 1 }, only);
    // What was measured before something failed took minutes.
    println!("{table}");
    done
}

fn measure(table: &mut Figures, program: &Path, less: usize, only: &[String]) -> Result<()> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let nodes = NODES / less;
    for (name, pods, limit, upstream) in WORKLOADS.iter().filter(|(name, ..)| wanted(name)) {
        let printed = run_one(program, name, nodes, pods / less)?;
        let beside = format!(
            "{nodes} nodes, {} pods in {:.2} s, {:.0} events; {:.0} turns shared, {:.0} searched; upstream's threshold {upstream}",
            pods / less,
            printed.number("seconds")?,
            printed.number("events")?,
            printed.number("shared")?,
            printed.number("searched")?,
        );
        table.add(name, AtLeast(*limit), printed.number("rate")?, "pods/s", &beside);
    }
    borg(table, program, less, &wanted)?;
    if wanted("deployment") {
        let printed = run_one(program, "deployment", nodes, 50_000 / less)?;
        let beside = format!("{nodes} nodes, {} pods, {:.1} s of CPU", 50_000 / less, printed.number("cpu")?);
        table.add("a Deployment to all Running", Under(20.0), printed.number("seconds")?, "s", &beside);
        let beside = format!("{:.0} MB before it", printed.number("before_mb")?);
        table.add("  resident memory at most", Under(1024.0), printed.number("most_mb")?, "MB", &beside);
    }
    if wanted("garbage") {
        let printed = run_one(program, "garbage", 0, 100_000 / less)?;
        let beside = format!("{} dependents, {:.1} s of CPU", 100_000 / less, printed.number("cpu")?);
        table.add("garbage collection", Under(10.0), printed.number("seconds")?, "s", &beside);
    }
    if wanted("steady") {
        let printed = run_one(program, "steady", nodes, 150_000 / less)?;
        let beside = format!(
            "{nodes} nodes, {} pods, {:.0} MB; {:.1} % without changes; the slowest took {:.1} ms",
            150_000 / less,
            printed.number("resident_mb")?,
            printed.number("idle_percent")?,
            printed.number("slowest_ms")?,
        );
        let limit: Limit = if less == 1 { Under(10.0) } else { Beside };
        table.add("CPU for 100 changes of pods in a second", limit, printed.number("percent")?, "% of a core", &beside);
    }
    Ok(())
}

/// What each of Borg's ideas is worth.
fn borg(table: &mut Figures, program: &Path, less: usize, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    if wanted("repack") {
        let printed = run_one(program, "repack", NODES / less, 20_000 / less)?;
        let (with, without) = (printed.number("classes_seconds")?, printed.number("search_seconds")?);
        let beside =
            format!("{} pods of jobs of 100 in {with:.2} s and in {without:.2} s, to the same nodes", 20_000 / less);
        table.add("repack: a search of all nodes to classes", Beside, without / with, "times as long", &beside);
    }
    if wanted("relaxed") {
        let printed = run_one(program, "relaxed", NODES / less, 5000 / less)?;
        for percentage in [100, 50, 20, 5] {
            let micros = printed.number(&format!("us_{percentage}"))?;
            let fullest = printed.number(&format!("fullest_{percentage}"))? / 10.0;
            let figure = format!("relaxed randomization: {percentage} % of nodes");
            table.add(
                &figure,
                Beside,
                micros,
                "us for each pod",
                &format!("the fullest node {fullest:.1} % full; seed 1"),
            );
        }
    }
    if wanted("compaction") {
        let printed = run_one(program, "compaction", 1000 / less, 10_000 / less)?;
        for packing in ["worst", "best", "hybrid"] {
            let figure = format!("cell compaction: {packing} packing");
            let beside = "the 90th percentile of 11 seeds";
            table.add(&figure, Beside, printed.number(packing)?, "machines", beside);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_their_whole_name() {
        let printed = Printed("nodes=5 pods=7 seconds=0.250 rate=28.0\n".into());
        assert_eq!(printed.number("seconds").unwrap(), 0.25);
        assert_eq!(printed.number("rate").unwrap(), 28.0);
        assert!(printed.number("second").is_err());
    }
}
