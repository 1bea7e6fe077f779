//! Runs Kubernetes' own end-to-end suite (`e2e.test`, which its users bring) against a cluster.
//!
//! The suite is one program in which all specs are. Each spec is run by a process of its own, so that it has a log of its
//! own, can be given up after a time, and need not be run again when a run goes on after a break. What a spec means is the
//! suite's business; what is chosen, how far it is and what came of it is told here.
#![deny(missing_docs)]

mod areas;
mod junit;
mod list;
mod plan;
mod process;
mod record;
mod run;
mod spec;
mod submission;
mod suite;

pub use self::{
    list::List,
    plan::{Part, Plan},
    record::{Outcome, Verdict},
    run::{Means, Options, Progress, Summary, run},
    spec::Spec,
    suite::Suite,
};
