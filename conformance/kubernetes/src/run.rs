//! A run: what is left to do is done, and each outcome is written down as it comes.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use windlass_kernel::{Clock, Result, Spawn};

use crate::{
    junit,
    list::List,
    plan::{Part, Plan},
    process::{self, End},
    record::{self, Folder, Outcome, Verdict},
    spec::Spec,
    submission,
    suite::Suite,
};

/// What a run needs of the machine.
#[derive(Clone, Debug)]
pub struct Means {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who waits for processes.
    pub spawn: Arc<dyn Spawn>,
}

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where results are. What has passed there is not run again.
    pub folder: PathBuf,
    /// What is asked for.
    pub focus: List,
    /// What of it is not run.
    pub skip: Vec<List>,
    /// The part that this machine runs.
    pub part: Part,
    /// How many specs run at once, of those that may.
    pub jobs: usize,
    /// How long one spec may take.
    pub limit: Duration,
    /// What the product is, for a submission (`PRODUCT.yaml`), where it is known.
    pub product: Option<String>,
}

/// How far a run is.
#[derive(Debug)]
pub enum Progress<'p> {
    /// What will be run: the plan, and how many of its specs were run before.
    Planned(&'p Plan, usize),
    /// A spec ended: the how many-th it is, of how many.
    Ended(usize, usize, &'p Outcome),
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How many found themselves not to apply.
    pub skipped: usize,
    /// How many lists kept from running.
    pub left_out: usize,
    /// What stands in the way of a submission for certification; empty where nothing does.
    pub obstacles: Vec<String>,
}

/// Runs what is left of a plan. When the future is dropped, suites that run are told to end.
///
/// # Errors
///
/// Those of the folder, and [`Invalid`](windlass_kernel::ErrorKind::Invalid) where the program is no suite.
pub async fn run(
    suite: &Suite,
    options: &Options,
    means: &Means,
    mut progress: impl FnMut(&Progress<'_>),
) -> Result<Summary> {
    let version = suite.version(&means.spawn).await?;
    let specs = suite.specs(&means.spawn).await?;
    let folder = Folder::open(&options.folder, &version)?;
    let plan = Plan::new(specs, &options.focus, &options.skip, options.part);
    let mut outcomes = Vec::new();
    let mut left = [Vec::new(), Vec::new()];
    for (specs, left) in [&plan.parallel, &plan.serial].into_iter().zip(&mut left) {
        for spec in specs {
            match folder.known(spec) {
                Some(Outcome { verdict: Verdict::Failed(_), attempts, .. }) => left.push((spec, attempts + 1)),
                Some(outcome) => outcomes.push(outcome),
                None => left.push((spec, 1)),
            }
        }
    }
    progress(&Progress::Planned(&plan, outcomes.len()));
    let [parallel, serial] = left;
    let one = |(spec, attempt)| spec_run(suite, options, means, &folder, spec, attempt);
    let beside = stream::iter(parallel).map(one).buffer_unordered(options.jobs.max(1));
    let alone = stream::iter(serial).map(one).buffer_unordered(1);
    follow(beside.chain(alone), &plan, &mut outcomes, &mut progress).await?;
    outcomes.sort_by(|one, other| one.name.cmp(&other.name));
    record::put(&folder.path().join("junit.xml"), &junit::write(&plan, &outcomes))?;
    let count = |status: &str| outcomes.iter().filter(|outcome| outcome.verdict.status() == status).count();
    let obstacles = submission::obstacles(&plan, options, &outcomes);
    submission::write(&folder, &plan, options, &outcomes, &version, &obstacles)?;
    Ok(Summary {
        passed: count("passed"),
        failed: count("failed"),
        skipped: count("skipped"),
        left_out: plan.skipped.len(),
        obstacles,
    })
}

async fn follow(
    running: impl Stream<Item = Result<Outcome>>,
    plan: &Plan,
    outcomes: &mut Vec<Outcome>,
    progress: &mut impl FnMut(&Progress<'_>),
) -> Result<()> {
    let mut running = std::pin::pin!(running);
    while let Some(outcome) = running.next().await {
        let outcome = outcome?;
        progress(&Progress::Ended(outcomes.len() + 1, plan.len(), &outcome));
        outcomes.push(outcome);
    }
    Ok(())
}

/// Runs one spec, and writes down what came of it.
async fn spec_run(
    suite: &Suite,
    options: &Options,
    means: &Means,
    folder: &Folder,
    spec: &Spec,
    attempts: u64,
) -> Result<Outcome> {
    let own = folder.of(spec);
    fs::create_dir_all(&own).map_err(record::cannot_write(&own))?;
    let report = own.join("junit_01.xml");
    // What an earlier attempt left says nothing of this one.
    let _ = fs::remove_file(&report);
    let log = folder.log(spec);
    let started = means.clock.uptime();
    let end = process::run(suite.command(spec, &own), &log, options.limit, means).await?;
    let seconds = means.clock.uptime().saturating_sub(started).as_secs_f64();
    let verdict = match end {
        End::Late => Verdict::Failed(format!("it did not end within {:?}", options.limit)),
        End::Exited(status) => {
            let told = fs::read_to_string(&report).map_err(|_| "it left no report".to_owned());
            match told.and_then(|text| junit::verdict(&text, &spec.name)) {
                Ok(Verdict::Passed) if !status.success() => {
                    Verdict::Failed(format!("the spec passed and the suite ended with {status}"))
                }
                Ok(verdict) => verdict,
                Err(why) => Verdict::Failed(format!("{why}; the suite ended with {status}: see {}", log.display())),
            }
        }
    };
    let outcome = Outcome { name: spec.name.clone(), verdict, seconds, attempts };
    folder.keep(spec, &outcome)?;
    Ok(outcome)
}
