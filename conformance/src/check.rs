//! A check of a plugin's suite: the clause that it tests, what it needs of its fixture, and how it becomes a report's case.

use std::fmt::{self, Debug};

use futures::future::BoxFuture;

use crate::report::Case;

/// One check of a suite whose fixtures are `F`.
pub struct Check<F> {
    /// Its name, a sentence in snake case.
    pub name: &'static str,
    /// The clause of the specification that it tests, of the version that its suite names.
    pub clause: &'static str,
    pub(crate) needs: fn(&F) -> Option<&'static str>,
    pub(crate) run: fn(F) -> BoxFuture<'static, ()>,
}

// Not derived: that would ask the same of the fixtures.
impl<F> Clone for Check<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Check<F> {}

impl<F> Debug for Check<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F: Send + 'static> Check<F> {
    /// Why the fixture cannot be checked for this, if it cannot.
    #[must_use]
    pub fn lacks(&self, fixture: &F) -> Option<&'static str> {
        (self.needs)(fixture)
    }

    /// Runs the check.
    ///
    /// # Panics
    ///
    /// Where the contract is broken.
    pub async fn run(&self, fixture: F) {
        (self.run)(fixture).await;
    }
}

/// Checks as cases of a suite, each with a fixture of its own, which is given a prefix that differs for each.
pub(crate) fn cases<F: Send + 'static>(
    suite: &'static str,
    checks: Vec<Check<F>>,
    fresh: impl Fn(String) -> F,
) -> Vec<Case> {
    let case = |(number, check): (usize, Check<F>)| {
        let fixture = fresh(format!("c{number}"));
        let skip = check.lacks(&fixture).map(Into::into);
        let (name, clause) = (check.name, check.clause);
        Case { suite, name, clause, skip, work: Box::pin(async move { check.run(fixture).await }) }
    };
    checks.into_iter().enumerate().map(case).collect()
}
