//! Functions of Python as plugins: filters, scores and admissions. They see only what they are handed, and have to answer
//! at once.

use std::{any::Any, collections::BTreeMap, fmt::Display, panic::resume_unwind, sync::Arc};

use async_trait::async_trait;
use parking_lot::RwLock;
use pyo3::{prelude::*, types::PyBytes};
use windlass::{
    kernel::{
        Admission, Error, ErrorKind, Result, Scheduler,
        access::Admitting,
        api::{Request, Verb},
        scheduler::{
            Change, Cycle, Decision, Diagnose, Diagnosis, Filter, Fit, NodeView, PodView, Reason, Remedy, Resources,
            Score, ScorePlugin, Turn,
        },
    },
    scheduler::Framework,
};

use crate::engine::Within;

/// The default framework with whatever was added so far.
#[derive(Debug, Default)]
pub(crate) struct Growing(RwLock<Arc<Framework>>);

impl Growing {
    /// As another is now.
    pub(crate) fn like(other: &Self) -> Self {
        Self(RwLock::new(Arc::clone(&other.0.read())))
    }

    /// Lets go of what was added.
    pub(crate) fn clear(&self) {
        let before = std::mem::take(&mut *self.0.write());
        drop(before);
    }

    pub(crate) fn filter(&self, name: &str, function: Py<PyAny>) {
        let plugin = Plugin::new(name, function);
        let mut framework = self.0.write();
        *framework = Arc::new(Framework::clone(&framework).without(name).filter(plugin));
    }

    pub(crate) fn score(&self, name: &str, function: Py<PyAny>, weight: u32) {
        let plugin = Plugin::new(name, function);
        let mut framework = self.0.write();
        *framework = Arc::new(Framework::clone(&framework).without(name).score(weight, plugin));
    }
}

/// A [`Growing`] framework that a host and those who add to it share.
#[derive(Debug)]
pub(crate) struct Shared(pub(crate) Arc<Growing>);

#[async_trait]
impl Scheduler for Shared {
    async fn schedule(&self, turn: Turn<'_>) -> Result<Decision> {
        let framework = Arc::clone(&self.0.0.read());
        framework.schedule(turn).await
    }

    fn helped_by(&self, pod: &PodView, refused_by: &[&'static str], change: &Change<'_>) -> bool {
        let framework = Arc::clone(&self.0.0.read());
        framework.helped_by(pod, refused_by, change)
    }

    fn diagnoses(&self) -> Option<&dyn Diagnose> {
        Some(self)
    }
}

impl Diagnose for Shared {
    fn diagnose(&self, turn: Turn<'_>) -> Result<Diagnosis> {
        let framework = Arc::clone(&self.0.0.read());
        framework.diagnose(turn)
    }

    fn remedy(&self, turn: Turn<'_>) -> Result<Option<Remedy>> {
        let framework = Arc::clone(&self.0.0.read());
        framework.remedy(turn)
    }
}

/// A function that filters or scores.
#[derive(Debug)]
struct Plugin {
    name: &'static str,
    function: Py<PyAny>,
}

/// A pod as functions are handed it: namespace, name, uid, labels, priority, requests, node selector, images.
type Pod<'a> =
    (&'a str, &'a str, &'a str, &'a BTreeMap<String, String>, i32, Amounts, &'a BTreeMap<String, String>, &'a [String]);

/// A node: name, labels, taints, whether it is cordoned, what it offers, what of that is taken, pods that it takes, pods.
type Node<'a> =
    (&'a str, &'a BTreeMap<String, String>, Vec<(&'a str, &'a str, String)>, bool, Amounts, Amounts, i64, Vec<Pod<'a>>);

/// Amounts by resource: cores, and bytes or pieces.
type Amounts = BTreeMap<String, f64>;

#[allow(clippy::cast_precision_loss, reason = "Python's own numbers for such amounts are floats")]
fn amounts(resources: &Resources) -> Amounts {
    let usual = [
        ("cpu", resources.cpu as f64 / 1000.0),
        ("memory", resources.memory as f64),
        ("ephemeral-storage", resources.ephemeral as f64),
    ];
    let others = resources.others().map(|(name, amount)| (name.to_string(), amount as f64));
    usual.map(|(name, amount)| (name.to_owned(), amount)).into_iter().chain(others).collect()
}

fn pod(pod: &PodView) -> Pod<'_> {
    let (namespace, name) = (&*pod.key.namespace, &*pod.key.name);
    (namespace, name, &pod.uid, &pod.labels, pod.priority, amounts(&pod.requests), &pod.node_selector, &pod.images)
}

fn node(node: &NodeView) -> Node<'_> {
    let taints = node.taints.iter().map(|taint| (&*taint.key, &*taint.value, format!("{:?}", taint.effect)));
    let pods = node.pods().iter().map(|own| pod(own)).collect();
    let (offered, used) = (amounts(&node.allocatable), amounts(&node.used));
    (&node.name, &node.labels, taints.collect(), node.unschedulable, offered, used, node.max_pods, pods)
}

impl Plugin {
    fn new(name: &str, function: Py<PyAny>) -> Self {
        // Explanations name plugins for as long as the process runs.
        Self { name: Box::leak(name.to_owned().into_boxed_str()), function }
    }

    /// What the function says. What it raises is told as a panic, which the framework catches and names.
    fn ask<T: for<'a, 'py> FromPyObject<'a, 'py, Error = PyErr>>(&self, of: &PodView, at: &NodeView) -> T {
        let said = Python::attach(|py| {
            let _within = Within::enter();
            self.function.call1(py, (pod(of), node(at)))?.extract::<T>(py)
        });
        said.unwrap_or_else(|error| {
            let text: Box<dyn Any + Send> = Box::new(error.to_string());
            resume_unwind(text)
        })
    }
}

impl Filter for Plugin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        match self.ask::<Option<String>>(pod, node) {
            None => Fit::Yes,
            Some(why) => Fit::No(Reason::Told(why.into()).into()),
        }
    }
}

impl ScorePlugin for Plugin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn score(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        Score::exact(self.ask::<i64>(pod, node))
    }
}

/// The admissions that were added so far.
#[derive(Debug, Default)]
pub(crate) struct Admissions(RwLock<Vec<Arc<Admits>>>);

/// A function that admits.
#[derive(Debug)]
pub(crate) struct Admits {
    pub(crate) name: String,
    /// Group and plural; `*` is any.
    pub(crate) resource: (String, String),
    pub(crate) operations: Vec<String>,
    pub(crate) mutates: bool,
    pub(crate) function: Py<PyAny>,
}

impl Admissions {
    /// As others are now.
    pub(crate) fn like(other: &Self) -> Self {
        Self(RwLock::new(other.0.read().clone()))
    }

    /// Lets go of all.
    pub(crate) fn clear(&self) {
        let before = std::mem::take(&mut *self.0.write());
        drop(before);
    }

    /// Adds one, in place of another of its name.
    pub(crate) fn add(&self, admits: Admits) {
        let mut all = self.0.write();
        all.retain(|own| own.name != admits.name || own.mutates != admits.mutates);
        all.push(Arc::new(admits));
    }

    fn of(&self, request: &Request, mutates: bool) -> Vec<Arc<Admits>> {
        let all = self.0.read();
        all.iter().filter(|own| own.mutates == mutates && own.handles(request)).map(Arc::clone).collect()
    }
}

/// [`Admissions`] that a server and those who add to them share.
#[derive(Debug)]
pub(crate) struct SharedAdmissions(pub(crate) Arc<Admissions>);

#[async_trait]
impl Admission for SharedAdmissions {
    fn name(&self) -> &str {
        "Python"
    }

    fn handles(&self, request: &Request) -> bool {
        self.0.0.read().iter().any(|own| own.handles(request))
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        for own in self.0.of(admitting.request, true) {
            if let Some(changed) = own.ask(admitting)?
                && let Some(new) = &mut admitting.new
            {
                **new = serde_json::from_slice(&changed).map_err(|error| own.broken(&error))?;
            }
        }
        Ok(())
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        for own in self.0.of(admitting.request, false) {
            own.ask(admitting)?;
        }
        Ok(())
    }
}

impl Admits {
    fn handles(&self, request: &Request) -> bool {
        let (group, plural) = &self.resource;
        let named = |own: &str, is: &str| own == "*" || own == is;
        request.subresource.is_empty()
            && named(group, &request.resource.group)
            && named(plural, &request.resource.resource)
            && operation(request.verb).is_some_and(|is| self.operations.iter().any(|own| own == is))
    }

    /// Shows the write to the function: the object's JSON where it changed it.
    fn ask(&self, admitting: &Admitting<'_>) -> Result<Option<Vec<u8>>> {
        let request = admitting.request;
        // A patch of what is not there yet is a creation.
        let operation = match (operation(request.verb), admitting.old) {
            (Some("update"), None) => "create",
            (operation, _) => operation.unwrap_or_default(),
        };
        if !self.operations.iter().any(|own| own == operation) {
            return Ok(None);
        }
        let [new, old] = [admitting.new.as_deref(), admitting.old].map(|tree| tree.map(ToString::to_string));
        let said = Python::attach(|py| {
            let _within = Within::enter();
            let [new, old] = [new, old].map(|text| text.map(|text| PyBytes::new(py, text.as_bytes())));
            let user = (&request.identity.name, &request.identity.groups);
            self.function
                .call1(py, (new, old, operation, user, request.options.dry_run))?
                .extract::<(Option<Vec<u8>>, Option<String>)>(py)
        });
        let (changed, denied) = said.map_err(|error: PyErr| self.broken(&error))?;
        match denied {
            None => Ok(changed),
            Some(why) => {
                let text = format!("admission {:?} denied the request: {why}", self.name);
                Err(Error::new(ErrorKind::Forbidden, text))
            }
        }
    }

    fn broken(&self, error: &dyn Display) -> Error {
        Error::new(ErrorKind::Internal, format!("failed calling admission {:?}: {error}", self.name))
    }
}

/// What a verb does to an object, as admissions are told.
fn operation(verb: Verb) -> Option<&'static str> {
    match verb {
        Verb::Create => Some("create"),
        Verb::Update | Verb::Patch(_) => Some("update"),
        Verb::Delete | Verb::DeleteCollection => Some("delete"),
        Verb::Get | Verb::List | Verb::Watch | Verb::Connect => None,
    }
}
