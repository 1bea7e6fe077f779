//! `windlass conform`: the suites of `windlass-conformance` against anybody's implementation, from outside.
//!
//! What is checked and how it is reached is said by a file for each kind; progress, verdicts and reports are the same for all.

mod api;
mod cni;
mod cri;
mod csi;
mod node;
mod started;
mod upstream;
mod webhooks;

use std::{fs, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use windlass::kernel::Clock;
use windlass_conformance::report::{self, Case, Outcome, Report, Trace, Verdict};

use crate::args::{Conform, Kind, Reports};

/// At least one check failed.
const FAILED: u8 = 5;

/// A suite that is ready to be run.
struct Suite {
    /// What is checked, as a sentence would name it.
    subject: String,
    cases: Vec<Case>,
    trace: Trace,
    clock: Arc<dyn Clock>,
}

pub(crate) fn run(conform: &Conform) -> Result<ExitCode> {
    match &conform.kind {
        Kind::Cni(cni) => cni::run(cni),
        Kind::Cri(cri) => cri::run(cri),
        Kind::Csi(csi) => csi::run(csi),
        Kind::Node(node) => node::run(node),
        Kind::Api(api) => api::run(api),
        Kind::Upstream(upstream) => upstream::run(upstream),
    }
}

/// Runs the cases, shows each as it ends, and writes the reports.
async fn report(suite: Suite, reports: &Reports) -> Result<ExitCode> {
    let Suite { subject, mut cases, trace, clock } = suite;
    if let Some(part) = &reports.only {
        // Names are shown with spaces.
        let part = part.replace(' ', "_");
        cases.retain(|case| case.name.contains(&part) || case.suite == part);
    }
    println!("{subject}: {} checks", cases.len());
    quiet(&trace);
    let started = clock.uptime();
    let report = report::run(subject, cases, &*clock, &trace, show).await;
    let took = clock.uptime().saturating_sub(started);
    let [passed, failed, skipped] = report.counts();
    println!("\n{passed} passed, {failed} failed, {skipped} skipped in {:.1} s", took.as_secs_f64());
    write(reports, &report)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// A check that fails panics: that is no trouble of this program, and where it was belongs to the check's trace.
fn quiet(trace: &Trace) {
    let trace = trace.clone();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(place) = panic.location() {
            trace.note(format!("failed at {}:{}", place.file(), place.line()));
        }
    }));
}

fn show(outcome: &Outcome) {
    let name = outcome.name.replace('_', " ");
    let took = outcome.took.as_millis();
    match &outcome.verdict {
        Verdict::Passed => println!("  ok    {name} ({took} ms)"),
        Verdict::Skipped(reason) => println!("  skip  {name}: {reason}"),
        Verdict::Failed(why) => {
            println!("  FAIL  {name} ({took} ms)");
            println!("        {why}");
            println!("        tests: {}", outcome.clause);
            for line in &outcome.trace {
                println!("        | {line}");
            }
        }
    }
}

fn write(reports: &Reports, report: &Report) -> Result<()> {
    let put = |path: &Path, text: String| {
        fs::write(path, text).with_context(|| format!("cannot write the report {}", path.display()))
    };
    if let Some(path) = &reports.junit {
        put(path, report.junit())?;
    }
    if let Some(path) = &reports.json {
        put(path, format!("{:#}\n", report.json()))?;
    }
    Ok(())
}
