//! How a check is run: its calls are noted, what it leaves behind goes, and what stays on the machine is named.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use windlass_kernel::{ClockExt, ContainerRuntime, Result, runtime::SandboxFilter};

use super::{Check, Fixture, Traced, checks};
use crate::report::Case;

/// How long what was removed may take to go: runtimes answer before the last process has ended.
const SETTLE: Duration = Duration::from_secs(30);

/// Every check as a case for [`report::run`](crate::report::run). `fresh` is given a prefix that differs for each.
pub fn cases(fresh: impl Fn(String) -> Fixture) -> Vec<Case> {
    let case = |(number, check): (usize, Check)| {
        let fixture = fresh(format!("c{number}"));
        let skip = check.lacks(&fixture).map(Into::into);
        let (name, clause) = (check.name, check.clause);
        Case { suite: "runtime", name, clause, skip, work: perform(check, fixture).boxed() }
    };
    checks().into_iter().enumerate().map(case).collect()
}

/// Runs every check that the fixture can be checked for. `fresh` is given a prefix that differs for each.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn run<F: Future<Output = Fixture>>(fresh: impl Fn(String) -> F) {
    for (number, check) in checks().into_iter().enumerate() {
        let fixture = fresh(format!("c{number}")).await;
        match check.lacks(&fixture) {
            Some(reason) => tracing::info!(check = check.name, reason, "not checked"),
            None => perform(check, fixture).await,
        }
    }
}

/// Makes a sandbox and removes it, so that what all sandboxes share, such as a bridge, is there before the first check is run, and
/// no leak of that one.
///
/// # Errors
///
/// Those of the two calls, which the checks tell better.
pub async fn warm_up(fixture: &Fixture) -> Result<()> {
    let id = fixture.runtime.run_sandbox(&fixture.sandbox_config("a")).await?;
    fixture.runtime.remove_sandbox(&id).await
}

/// Runs a check. Its sandboxes go, also when it fails; when it does not, nothing of it may be left.
///
/// # Panics
///
/// Where the contract is broken, or something is left.
pub async fn perform(check: Check, mut fixture: Fixture) {
    let traced = Arc::new(Traced::new(&fixture));
    fixture.runtime = Arc::clone(&traced) as _;
    fixture.images = Arc::clone(&traced) as _;
    let before = fixture.machine.as_ref().map(|machine| machine.inventory(&BTreeSet::new()));
    let done = AssertUnwindSafe(check.run(fixture.clone())).catch_unwind().await;
    let forgotten = fixture.sweep(&*traced).await;
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
    assert!(forgotten.is_empty(), "sandboxes are listed after they were removed: {forgotten:?}");
    if let Some(before) = before {
        fixture.left_nothing(&before, &traced.made()).await;
    }
}

impl Fixture {
    /// Removes what a check left, and says what it was.
    async fn sweep(&self, runtime: &dyn ContainerRuntime) -> Vec<String> {
        let filter = SandboxFilter { labels: self.labels(), ..SandboxFilter::default() };
        // A runtime that does not answer has failed its check already.
        let left = runtime.sandboxes(&filter).await.unwrap_or_default();
        for sandbox in &left {
            let _ = self.clock.within(SETTLE, runtime.remove_sandbox(&sandbox.id)).await;
        }
        left.into_iter().map(|sandbox| sandbox.key.name).collect()
    }

    async fn left_nothing(&self, before: &BTreeSet<String>, ids: &BTreeSet<String>) {
        let Some(machine) = &self.machine else { return };
        let end = self.clock.uptime() + SETTLE;
        loop {
            let left: Vec<_> = machine.inventory(ids).difference(before).cloned().collect();
            if left.is_empty() {
                return;
            }
            assert!(self.clock.uptime() < end, "what is left on the machine: {}", left.join("; "));
            self.clock.sleep(Duration::from_millis(50)).await;
        }
    }
}
