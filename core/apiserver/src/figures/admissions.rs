//! How long admission took, as a whole and by plugin (upstream: `apiserver/pkg/admission/metrics`).

use std::{sync::OnceLock, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

use super::{Own, Step, Who};
use crate::registered::Operation;

const BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Plugin {
    name: String,
    operation: &'static str,
    rejected: bool,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Chain {
    operation: &'static str,
    rejected: bool,
    r#type: &'static str,
}

/// The histograms by step, operation and whether the request was refused: found without a look at labels, since every
/// write passes many.
type Cells = [[[OnceLock<Histogram>; 2]; 4]; 2];

/// What admission took.
#[derive(Debug)]
pub(super) struct Admissions {
    steps: Family<Chain, Histogram, fn() -> Histogram>,
    controllers: Family<Plugin, Histogram, fn() -> Histogram>,
    chain: Cells,
    /// By place, those that are parts of the server last.
    plugins: Vec<(String, Cells)>,
    own: usize,
}

impl Admissions {
    pub(super) fn of<'p>(plugins: impl Iterator<Item = &'p str>) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut plugins: Vec<(String, Cells)> = plugins.map(|name| (name.to_owned(), Cells::default())).collect();
        let own = plugins.len();
        plugins.extend(OWN.iter().map(|(_, name)| ((*name).to_owned(), Cells::default())));
        Self {
            steps: Family::new_with_constructor(histogram),
            controllers: Family::new_with_constructor(histogram),
            chain: Cells::default(),
            plugins,
            own,
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let name = |rest: &str| format!("apiserver_admission_{rest}_admission_duration_seconds");
        registry.register(name("step"), "How long the steps of admission took", self.steps.clone());
        registry.register(name("controller"), "How long admission plugins took", self.controllers.clone());
    }

    pub(super) fn count(&self, (who, step, operation): (Who, Step, Operation), took: Duration, refused: bool) {
        let row = match who {
            Who::Chain => None,
            Who::Plugin(at) => Some(at),
            Who::Own(own) => OWN.iter().position(|(other, _)| *other == own).map(|at| self.own + at),
        };
        let row = row.and_then(|at| self.plugins.get(at));
        let cells = row.map_or(&self.chain, |(_, cells)| cells);
        let cell = &cells[step as usize][operation as usize][usize::from(refused)];
        let histogram = cell.get_or_init(|| {
            let r#type = match step {
                Step::Admit => "admit",
                Step::Validate => "validate",
            };
            let (operation, rejected) = (operation.as_str(), refused);
            match row {
                Some((name, _)) => {
                    let labels = Plugin { name: name.clone(), operation, rejected, r#type };
                    self.controllers.get_or_create_owned(&labels)
                }
                None => self.steps.get_or_create_owned(&Chain { operation, rejected, r#type }),
            }
        });
        histogram.observe(took.as_secs_f64());
    }
}

const OWN: &[(Own, &str)] = &[
    #[cfg(feature = "cel")]
    (Own::MutatingPolicies, "MutatingAdmissionPolicy"),
    (Own::MutatingWebhooks, "MutatingAdmissionWebhook"),
    (Own::Quota, "ResourceQuota"),
    #[cfg(feature = "cel")]
    (Own::ValidatingPolicies, "ValidatingAdmissionPolicy"),
    (Own::ValidatingWebhooks, "ValidatingAdmissionWebhook"),
];
