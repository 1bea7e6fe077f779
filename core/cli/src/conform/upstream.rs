//! Kubernetes' own suite against a cluster: a program that the user brings, run spec by spec.

use std::{fs, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use windlass::{
    kernel::{Clock, Error, ErrorKind},
    rim::{SystemClock, TokioSpawn},
};
use windlass_kubernetes::{
    List, Means, Options, Outcome, Part, Plan, Progress, Suite, Summary, Verdict, run as follow,
};

use super::FAILED;
use crate::args::ConformUpstream;

pub(super) fn run(args: &ConformUpstream) -> Result<ExitCode> {
    let suite = Suite::new(&args.e2e, &args.kubeconfig, args.more.clone())?;
    let options = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let summary = runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let means = Means { clock, spawn: Arc::new(TokioSpawn::current()) };
        let working = std::pin::pin!(follow(&suite, &options, &means, show));
        let interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        match futures::future::select(working, interrupted).await {
            futures::future::Either::Left((summary, _)) => Ok(summary?),
            // The future goes, and with it the suites that run: they clean up and end.
            futures::future::Either::Right(_) => Err(anyhow::anyhow!(Error::new(
                ErrorKind::Unavailable,
                "interrupted: the same command goes on with what is left",
            ))),
        }
    });
    // A suite that is told to end is not waited for.
    runtime.shutdown_background();
    let summary = summary?;
    tell(args, &summary);
    Ok(if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn options(args: &ConformUpstream) -> Result<Options> {
    let focus = args.focus.as_deref().map_or_else(|| Ok(List::conformance()), list)?;
    let skip = args.skip.iter().map(|name| list(name)).collect::<Result<Vec<_>>>()?;
    let part = match &args.shard {
        None => Part::WHOLE,
        Some(text) => {
            let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
            let wrong = || Error::new(ErrorKind::Invalid, format!("--shard {text}: expected K/N, such as 1/4"));
            let (number, of) = numbers.ok_or_else(wrong)?;
            Part::new(number, of)?
        }
    };
    let product = match &args.product {
        None => None,
        Some(file) => {
            Some(fs::read_to_string(file).with_context(|| format!("cannot read the product {}", file.display()))?)
        }
    };
    let limit = std::time::Duration::from_secs(60 * args.spec_minutes);
    Ok(Options { folder: args.folder.clone(), focus, skip, part, jobs: args.jobs, limit, product })
}

/// A list that comes with the program, or that a file has.
fn list(name: &str) -> Result<List> {
    if let Some(own) = List::own(name) {
        return Ok(own);
    }
    let text = fs::read_to_string(name).map_err(|error| {
        let message = format!("{name} is no list of ours (fake-nodes, one-node, windlass) and cannot be read");
        Error::new(ErrorKind::Invalid, message).with_source(error)
    })?;
    Ok(List::read(name, &text)?)
}

fn show(progress: &Progress<'_>) {
    match progress {
        Progress::Planned(plan, before) => planned(plan, *before),
        Progress::Ended(number, of, outcome) => ended(*number, *of, outcome),
    }
}

fn planned(plan: &Plan, before: usize) {
    let (all, alone) = (plan.len(), plan.serial.len());
    println!("{all} specs, {alone} of them alone at the end; {} left out by lists", plan.skipped.len());
    if before > 0 {
        println!("{before} came off before and are not run again");
    }
    for (spec, reason) in &plan.skipped {
        println!("  skip  {}: {reason}", spec.name);
    }
}

fn ended(number: usize, of: usize, outcome: &Outcome) {
    let width = of.to_string().len();
    let attempt = if outcome.attempts > 1 { format!(", attempt {}", outcome.attempts) } else { String::new() };
    let told =
        |word: &str| println!("[{number:>width$}/{of}] {word}  {} ({:.1} s{attempt})", outcome.name, outcome.seconds);
    match &outcome.verdict {
        Verdict::Passed => told("ok  "),
        Verdict::Skipped(why) => {
            told("skip");
            println!("        {why}");
        }
        Verdict::Failed(why) => {
            told("FAIL");
            for line in why.lines().take(12) {
                println!("        {line}");
            }
        }
    }
}

fn tell(args: &ConformUpstream, summary: &Summary) {
    let Summary { passed, failed, skipped, left_out, obstacles } = summary;
    let folder = args.folder.display();
    println!("\n{passed} passed, {failed} failed, {skipped} skipped by the suite, {left_out} left out by lists");
    println!("logs and reports are in {folder}/specs, all verdicts in {folder}/junit.xml");
    if obstacles.is_empty() {
        println!("{folder}/submission can be submitted to cncf/k8s-conformance");
        return;
    }
    println!("{folder}/submission cannot be submitted yet:");
    for obstacle in obstacles {
        println!("  {obstacle}");
    }
}
