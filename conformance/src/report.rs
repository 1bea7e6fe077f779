//! Suites from outside: cases of any suite run one by one, with verdicts, traces, and reports for people and machines.
//!
//! A case knows nothing of the trait that it checks. Suites make cases of their checks and a fixture; whoever runs them shows
//! progress.

mod junit;

use std::{
    any::Any,
    fmt::{self, Debug},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_kernel::{Clock, ClockExt, Result};

pub use self::junit::escape;

/// How long one case may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is asked of an implementation and what it answers, line by line. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Adds a line.
    pub fn note(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    /// Notes a call, whose first word is its name, and its answer.
    pub(crate) async fn noted<T: Debug + Send>(
        &self,
        call: String,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.note(format!("-> {call}"));
        let done = work.await;
        let name = call.split(' ').next().unwrap_or_default();
        self.note(match &done {
            Ok(answer) => format!("<- {name}: {answer:?}"),
            Err(error) => format!("<- {name}: {:?}, {:?}: {error}", error.kind(), error.certainty()),
        });
        done
    }

    /// Takes what was noted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// One check, ready to be run.
pub struct Case {
    /// The suite, such as `network`.
    pub suite: &'static str,
    /// The check's name, a sentence in snake case.
    pub name: &'static str,
    /// The clause of the specification that it tests.
    pub clause: &'static str,
    /// Why it cannot be run on this implementation, if it cannot.
    pub skip: Option<String>,
    /// What it does. It panics where a promise is broken.
    pub work: BoxFuture<'static, ()>,
}

impl Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("suite", &self.suite).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The promise is kept.
    Passed,
    /// It is broken, and how.
    Failed(String),
    /// It was not tried, and why.
    Skipped(String),
}

/// A case that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The suite.
    pub suite: &'static str,
    /// The check.
    pub name: &'static str,
    /// The clause of the specification.
    pub clause: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
    /// What was asked and answered meanwhile.
    pub trace: Vec<String>,
}

/// All outcomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was checked, as a sentence would name it.
    pub subject: String,
    /// One for each case, in order.
    pub outcomes: Vec<Outcome>,
}

/// Runs cases one after the other. `progress` is shown each as it ends.
pub async fn run(
    subject: impl Into<String>,
    cases: Vec<Case>,
    clock: &dyn Clock,
    trace: &Trace,
    mut progress: impl FnMut(&Outcome),
) -> Report {
    let mut report = Report { subject: subject.into(), outcomes: Vec::new() };
    for case in cases {
        let _ = trace.take();
        let started = clock.uptime();
        let verdict = match case.skip {
            Some(reason) => Verdict::Skipped(reason),
            None => match clock.within(PATIENCE, AssertUnwindSafe(case.work).catch_unwind()).await {
                Some(Ok(())) => Verdict::Passed,
                Some(Err(panic)) => Verdict::Failed(words(&*panic)),
                None => Verdict::Failed(format!("it did not end within {PATIENCE:?}")),
            },
        };
        let took = clock.uptime().saturating_sub(started);
        let (suite, name, clause) = (case.suite, case.name, case.clause);
        let outcome = Outcome { suite, name, clause, verdict, took, trace: trace.take() };
        progress(&outcome);
        report.outcomes.push(outcome);
    }
    report
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "it panicked".into())
}

impl Report {
    /// How many passed, failed and were skipped.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let count = |which: fn(&Verdict) -> bool| self.outcomes.iter().filter(|o| which(&o.verdict)).count();
        [
            count(|verdict| *verdict == Verdict::Passed),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
            count(|verdict| matches!(verdict, Verdict::Skipped(_))),
        ]
    }

    /// As JSON: counts, and for each case its verdict, its time in seconds and, where it failed, its trace.
    #[must_use]
    pub fn json(&self) -> Value {
        let [passed, failed, skipped] = self.counts();
        let case = |outcome: &Outcome| {
            let (verdict, message) = match &outcome.verdict {
                Verdict::Passed => ("passed", None),
                Verdict::Failed(message) => ("failed", Some(message)),
                Verdict::Skipped(reason) => ("skipped", Some(reason)),
            };
            let mut case = json!({
                "suite": outcome.suite,
                "name": outcome.name,
                "clause": outcome.clause,
                "verdict": verdict,
                "seconds": outcome.took.as_secs_f64(),
            });
            if let Some(message) = message {
                case["message"] = message.as_str().into();
            }
            if verdict == "failed" {
                case["trace"] = outcome.trace.clone().into();
            }
            case
        };
        json!({
            "subject": self.subject,
            "passed": passed,
            "failed": failed,
            "skipped": skipped,
            "cases": self.outcomes.iter().map(case).collect::<Vec<_>>(),
        })
    }

    /// As JUnit's XML, which most CI systems show.
    #[must_use]
    pub fn junit(&self) -> String {
        junit::write(self)
    }
}
