//! The scheduler: the framework, the default plugins, and the host that follows a cluster and binds its pods.
//!
//! A [`Framework`] composes plugins into a [`Scheduler`](windlass_kernel::Scheduler), which decides about one pod at a
//! time and touches nothing. A [`Profile`] gives it a name. A [`Host`] owns the queue and the nodes, gives each waiting
//! pod its turn, and carries decisions out. This crate promises no stable API; embed it through `windlass`.
//!
//! # Writing a filter and a score
//!
//! Plugins are synchronous and see only what they are handed: a node may be a copy that does not exist. The traits and
//! views are in [`windlass_kernel::scheduler`].
//!
//! ```
//! use windlass_kernel::scheduler::{Change, Cycle, Filter, Fit, NodeView, PodView, Score, ScorePlugin};
//! use windlass_scheduler::{Config, Framework, Profile};
//!
//! /// Keeps pods from nodes of another team.
//! #[derive(Debug)]
//! struct OwnTeam;
//!
//! impl Filter for OwnTeam {
//!     fn name(&self) -> &'static str {
//!         "OwnTeam"
//!     }
//!
//!     fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
//!         Fit::or_never(pod.labels.get("team") == node.labels.get("team"), "node(s) belong to another team")
//!     }
//!
//!     // Pods that were refused need no other turn when other pods leave.
//!     fn helped_by(&self, _: &PodView, change: &Change<'_>) -> bool {
//!         matches!(change, Change::NodeAdded(_) | Change::NodeChanged { .. })
//!     }
//! }
//!
//! /// Prefers nodes with few pods.
//! #[derive(Debug)]
//! struct Quiet;
//!
//! impl ScorePlugin for Quiet {
//!     fn name(&self) -> &'static str {
//!         "Quiet"
//!     }
//!
//!     fn score(&self, _: &Cycle, _: &PodView, node: &NodeView) -> Score {
//!         let pods = i64::try_from(node.pods().len()).unwrap_or(i64::MAX);
//!         Score::share(node.max_pods.saturating_sub(pods), node.max_pods)
//!     }
//! }
//!
//! let framework = Framework::default().without("ImageLocality").filter(OwnTeam).score(5, Quiet);
//! let config = Config { profiles: vec![Profile::new("default-scheduler", framework)], ..Config::default() };
//! # assert_eq!(config.profiles.len(), 1);
//! ```
//!
//! A filter can be tried without a cluster:
//!
//! ```
//! use windlass_kernel::scheduler::{Cycle, Filter, Fit, NodeView, PodView, Resources};
//! use windlass_scheduler::plugins::NodeResourcesFit;
//!
//! let node = NodeView::named("n1").offering(Resources::new(2000, 1 << 30), 110);
//! let pod = PodView { requests: Resources::new(3000, 0), ..PodView::default() };
//! let Fit::Never(reasons) = NodeResourcesFit.filter(&Cycle::new(), &pod, &node) else { panic!("it cannot fit") };
//! assert_eq!(reasons.as_slice()[0].to_string(), "Insufficient cpu");
//! ```
//!
//! # What it does not do
//!
//! Dynamic resources and groups of pods have no plugins yet; a pod that uses them is placed without regard to them.
//! Extenders are a trait without an HTTP implementation.

mod classes;
mod explained;
#[cfg(feature = "file")]
mod file;
mod framework;
mod host;
mod metrics;
pub mod plugins;
mod profile;
mod queue;
mod snapshot;
pub mod storage;

pub use self::{
    classes::Savings,
    explained::Explained,
    framework::{Faults, Framework, Watch},
    host::{Config, Explaining, Host, Questions, identity},
    metrics::Metrics,
    profile::{DEFAULT_NAME, Profile},
    queue::Patience,
};
