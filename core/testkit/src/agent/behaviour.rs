//! How a scripted pod behaves, as its annotations say.

use std::{fmt, sync::Arc, time::Duration};

use jiff::SignedDuration;
use windlass_api::{core::v1::Pod, quantity::Amount};
use windlass_kernel::node::Amounts;

/// What annotations of a script begin with.
const PREFIX: &str = "fake.windlass.dev/";
/// Which of an indexed Job's pods it is.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// How a pod's containers end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How long after they are ready.
    pub after: Duration,
    /// With which exit code.
    pub code: i32,
}

/// A pod's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From being handed over to running.
    pub start: Duration,
    /// From running to ready.
    pub ready: Duration,
    /// How it ends by itself; `None` runs until it is ended.
    pub end: Option<End>,
    /// From the end to the first restart, where the restart policy says so; doubles each time.
    pub restart: Duration,
    /// From being told to end to having ended; never more than the grace period.
    pub stop: Duration,
}

/// Decides how each pod behaves, in place of [`FakeNode::behaviour`](super::FakeNode::behaviour). Clones share it.
#[derive(Clone)]
pub struct Scripts(Arc<dyn Fn(&Pod) -> Scene + Send + Sync>);

/// A pod's script, and what its containers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The script.
    pub behaviour: Behaviour,
    /// What the log of each container holds, beside a line that says that it runs.
    pub log: String,
    /// What each container uses while it runs, where the pod's annotations say nothing.
    pub usage: Amounts,
}

impl Scripts {
    /// Decides by a function. The same pod gets the same answer each time.
    #[must_use]
    pub fn new(of: impl Fn(&Pod) -> Scene + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    /// What is decided about a pod.
    #[must_use]
    pub fn of(&self, pod: &Pod) -> Scene {
        (self.0)(pod)
    }
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripts")
    }
}

impl Behaviour {
    /// What a pod's annotations under `fake.windlass.dev/` say; the default where they say nothing or cannot be read.
    ///
    /// `start-delay`, `ready-delay`, `lifetime`, `restart-delay` and `stop-delay` are spans of time such as `1m30s`.
    /// `exit-code` is that of every pod, or a list in which `INDEX=CODE` is about one completion index: `0 3=42`.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let said = |name: &str| pod.metadata.annotations.get(&format!("{PREFIX}{name}"));
        let span = |name: &str| {
            let span: SignedDuration = said(name)?.parse().ok()?;
            Duration::try_from(span).ok()
        };
        let code = said("exit-code").map_or(0, |codes| code(codes, pod.metadata.annotations.get(INDEX)));
        let default = Self::default();
        Self {
            start: span("start-delay").unwrap_or(default.start),
            ready: span("ready-delay").unwrap_or(default.ready),
            end: span("lifetime").map(|after| End { after, code }),
            restart: span("restart-delay").unwrap_or(default.restart),
            stop: span("stop-delay").unwrap_or(default.stop),
        }
    }
}

/// What a container uses by its pod's annotations: `cpu` and `memory` under `fake.windlass.dev/`, for every container or
/// for one, as in `100m web=1500m`. The usual amount where they say nothing; `None` where what they say is no amount: then
/// it cannot be measured.
pub(super) fn usage(pod: &Pod, container: &str, usual: Amounts) -> Option<Amounts> {
    let said = |name: &str| pod.metadata.annotations.get(&format!("{PREFIX}{name}"));
    let amount = |said: &str| chosen(said, container)?.parse::<Amount>().ok().filter(|amount| !amount.is_negative());
    let nanocores = match said("cpu") {
        Some(said) => u64::try_from(amount(said)?.nano_value()).unwrap_or(u64::MAX),
        None => usual.nanocores,
    };
    let memory = match said("memory") {
        Some(said) => u64::try_from(amount(said)?.as_i64()).unwrap_or_default(),
        None => usual.memory,
    };
    Some(Amounts { nanocores, memory, cpu: None })
}

/// Of a list of words, the one for a name, or else the general one.
fn chosen<'w>(words: &'w str, name: &str) -> Option<&'w str> {
    let each = || words.split_whitespace();
    let own = each().filter_map(|word| word.split_once('=')).find(|(own, _)| *own == name);
    own.map(|(_, value)| value).or_else(|| each().find(|word| !word.contains('=')))
}

/// The code for an index, of a list.
fn code(codes: &str, index: Option<&String>) -> i32 {
    chosen(codes, index.map_or("", String::as_str)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

impl Default for Behaviour {
    fn default() -> Self {
        let restart = Duration::from_secs(10);
        Self { start: Duration::ZERO, ready: Duration::ZERO, end: None, restart, stop: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(annotations: &[(&str, &str)], expect: Behaviour) {
        let mut pod = Pod::default();
        pod.metadata.annotations = annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        assert_eq!(Behaviour::of(&pod), expect);
    }

    #[test]
    fn a_pod_without_a_script_runs_until_it_is_ended() {
        check(&[], Behaviour::default());
        check(&[("fake.windlass.dev/lifetime", "soon")], Behaviour::default());
    }

    #[test]
    fn a_script_says_when_and_how_a_pod_ends() {
        let end = |after, code| Some(End { after: Duration::from_secs(after), code });
        let lifetime = ("fake.windlass.dev/lifetime", "1m30s");
        check(&[lifetime], Behaviour { end: end(90, 0), ..Behaviour::default() });
        let codes = ("fake.windlass.dev/exit-code", "7 3=42");
        check(&[lifetime, codes], Behaviour { end: end(90, 7), ..Behaviour::default() });
        check(&[lifetime, codes, (INDEX, "3")], Behaviour { end: end(90, 42), ..Behaviour::default() });
        check(&[lifetime, codes, (INDEX, "4")], Behaviour { end: end(90, 7), ..Behaviour::default() });
    }

    #[test]
    fn a_script_says_what_containers_use() {
        let check = |annotations: &[(&str, &str)], expect: Option<(u64, u64)>| {
            let mut pod = Pod::default();
            pod.metadata.annotations =
                annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            let usual = Amounts { nanocores: 7, memory: 5, cpu: None };
            assert_eq!(usage(&pod, "web", usual).map(|own| (own.nanocores, own.memory)), expect);
        };
        check(&[], Some((7, 5)));
        check(&[("fake.windlass.dev/cpu", "250m"), ("fake.windlass.dev/memory", "1Ki")], Some((250_000_000, 1024)));
        check(&[("fake.windlass.dev/cpu", "250m web=2")], Some((2_000_000_000, 5)));
        check(&[("fake.windlass.dev/cpu", "other=2")], None);
        check(&[("fake.windlass.dev/cpu", "unknown")], None);
    }
}
