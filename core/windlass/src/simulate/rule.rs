//! How some pods behave: which they are, and their script.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};
use windlass_api::{core::v1::Pod, quantity::Amount};
use windlass_kernel::node::Amounts;
use windlass_testkit::agent::{Behaviour, End, Scene};

use super::group::{Span, amounts};

/// Which pods a rule means; what is not said does not matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Match {
    #[serde(default)]
    namespace: Option<String>,
    /// All of these.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The image of any container.
    #[serde(default)]
    image: Option<String>,
    /// The kind of the controller.
    #[serde(default)]
    owner: Option<String>,
}

/// How some pods behave. What a pod's own annotations say goes before it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(default, rename = "match")]
    which: Match,
    #[serde(default)]
    start_delay: Option<Span>,
    #[serde(default)]
    readiness: Option<Readiness>,
    #[serde(default)]
    lifetime: Option<Span>,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    restart_delay: Option<Span>,
    #[serde(default)]
    stop_delay: Option<Span>,
    #[serde(default)]
    logs: String,
    #[serde(default, deserialize_with = "used")]
    usage: Amounts,
}

/// What each container uses: `cpu` and `memory`.
fn used<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amounts, D::Error> {
    let mut used = Amounts::default();
    for (name, text) in amounts(deserializer)? {
        let amount: Amount = text.parse().map_err(|error| D::Error::custom(format!("usage: {name}: {error}")))?;
        let (part, value) = match &*name {
            "cpu" => (&mut used.nanocores, u64::try_from(amount.nano_value()).ok()),
            "memory" => (&mut used.memory, u64::try_from(amount.as_i64()).ok()),
            _ => return Err(D::Error::custom(format!("usage: {name:?} is neither cpu nor memory"))),
        };
        *part =
            value.ok_or_else(|| D::Error::custom(format!("usage: {name}: {text:?} is no amount that can be used")))?;
    }
    Ok(used)
}

/// When a pod is ready.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Readiness {
    /// So long after its start.
    After(Span),
    /// Not at all.
    Never,
}

/// Long enough for never, and no trouble to add to a time.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Rule {
    pub(super) fn means(&self, pod: &Pod) -> bool {
        let Match { namespace, labels, image, owner } = &self.which;
        let meta = &pod.metadata;
        namespace.as_ref().is_none_or(|own| meta.namespace.as_ref() == Some(own))
            && labels.iter().all(|(key, value)| meta.labels.get(key) == Some(value))
            && image.as_ref().is_none_or(|own| pod.spec.containers.iter().any(|c| c.image.as_ref() == Some(own)))
            && owner.as_ref().is_none_or(|kind| {
                meta.owner_references.iter().any(|owner| owner.controller == Some(true) && owner.kind == *kind)
            })
    }

    pub(super) fn scene(&self, pod: &Pod) -> Scene {
        let said = Behaviour::of(pod);
        let usual = Behaviour::default();
        let own = |said: Duration, usual: Duration, rule: Option<Span>| {
            if said == usual { rule.map_or(usual, |span| span.0) } else { said }
        };
        let ready = self.readiness.map(|readiness| match readiness {
            Readiness::After(span) => span,
            Readiness::Never => Span(NEVER),
        });
        let behaviour = Behaviour {
            start: own(said.start, usual.start, self.start_delay),
            ready: own(said.ready, usual.ready, ready),
            end: said.end.or_else(|| self.lifetime.map(|span| End { after: span.0, code: self.exit_code })),
            restart: own(said.restart, usual.restart, self.restart_delay),
            stop: own(said.stop, usual.stop, self.stop_delay),
        };
        Scene { behaviour, log: self.logs.clone(), usage: self.usage }
    }
}
