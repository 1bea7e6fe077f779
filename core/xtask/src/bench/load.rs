//! Creates: many clients, each with a connection of its own, each waiting for its answer before it asks again.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::json;

use super::{
    client::{Connection, Protocol, Target},
    process::Usage,
};

/// What is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    /// A pod that no scheduler takes.
    Pending,
    /// A pod of the first fake node.
    Running,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    After(Duration),
    Count(usize),
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) done: usize,
    pub(super) took: Duration,
    pub(super) used: Usage,
    pub(super) median: Duration,
    pub(super) slow: Duration,
}

const NAME: &str = "bench-";
const UNNAMED: &str = "bench-0000000";

/// An object's JSON around its name, so that making one costs next to nothing.
struct Template {
    before: String,
    after: String,
}

impl Outcome {
    pub(super) fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64()
    }

    /// Server CPU for each, in microseconds.
    pub(super) fn cpu_micros(&self) -> f64 {
        self.used.cpu.as_secs_f64() * 1e6 / self.done.max(1) as f64
    }
}

impl Kind {
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Pending | Self::Running => "pods",
        }
    }

    /// What objects of so many bytes have in common.
    fn template(self, size: usize) -> Template {
        let text = |pad: &str| {
            let name = UNNAMED;
            let labels = json!({"app": "bench", "tier": "load"});
            let object = match self {
                Self::ConfigMap => json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": name, "labels": labels}, "data": {"pad": pad},
                }),
                Self::Pending | Self::Running => json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": name, "labels": labels, "annotations": {"bench.windlass.dev/pad": pad}},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "schedulerName": "bench",
                        "nodeName": if self == Self::Running { json!("node-1") } else { json!(null) },
                        "containers": [{
                            "name": "main", "image": "registry.example/app:1",
                            "env": [{"name": "MODE", "value": "bench"}, {"name": "PORT", "value": "8080"}],
                            "ports": [{"containerPort": 8080, "name": "http"}],
                            "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
                        }],
                    },
                }),
            };
            object.to_string()
        };
        let pad = size.saturating_sub(text("").len());
        let text = text(&"x".repeat(pad));
        let (before, after) = text.split_once(UNNAMED).unwrap_or((&text, ""));
        Template { before: before.into(), after: after.into() }
    }
}

impl Template {
    fn object(&self, at: usize) -> Bytes {
        Bytes::from(format!("{}{NAME}{at:07}{}", self.before, self.after))
    }
}

/// Makes a namespace with the service account that pods need.
pub(super) async fn namespace(target: &Target, name: &str) -> Result<()> {
    let mut connection = target.connect(Protocol::Two).await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}).to_string();
    let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
    for (path, body) in [("/api/v1/namespaces", namespace), (&accounts, account)] {
        let (status, _) = connection.send(Method::POST, path, body.into()).await?;
        if !status.is_success() && status != StatusCode::CONFLICT {
            bail!("POST {path} answered {status}");
        }
    }
    Ok(())
}

/// Deletes a namespace; what was in it goes on its own.
pub(super) async fn forget(target: &Target, name: &str) -> Result<()> {
    let mut connection = target.connect(Protocol::Two).await?;
    connection.send(Method::DELETE, &format!("/api/v1/namespaces/{name}"), Bytes::new()).await?;
    Ok(())
}

/// Creates objects and counts what that costs `pids`.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
pub(super) async fn create(
    target: &Target,
    pids: &[u32],
    place: (&str, Kind, usize),
    clients: usize,
    until: Until,
) -> Result<Outcome> {
    let (namespace, kind, size) = place;
    let path = format!("/api/v1/namespaces/{namespace}/{}", kind.resource());
    let connections = try_join_all((0..clients).map(|_| target.connect(Protocol::Two))).await?;
    let (given, template) = (Rc::new(Cell::new(0_usize)), kind.template(size));
    let before = Usage::of(pids)?;
    let started = Instant::now();
    let more = |given: &Cell<usize>| match until {
        Until::After(time) => started.elapsed() < time,
        Until::Count(count) => given.get() < count,
    };
    let each = connections.into_iter().map(|mut connection: Connection| {
        let (given, path, template) = (Rc::clone(&given), path.as_str(), &template);
        async move {
            let mut times = Vec::new();
            while more(&given) {
                let at = given.replace(given.get() + 1);
                let body = template.object(at);
                let asked = Instant::now();
                let (status, _) = connection.send(Method::POST, path, body).await?;
                if status != StatusCode::CREATED {
                    bail!("POST {path} answered {status}");
                }
                times.push(asked.elapsed());
            }
            Ok(times)
        }
    });
    let mut times: Vec<Duration> = try_join_all(each).await?.into_iter().flatten().collect();
    let took = started.elapsed();
    let used = Usage::of(pids)? - before;
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    Ok(Outcome { done: times.len(), took, used, median: at(50), slow: at(99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_size_that_was_asked_for() {
        for kind in [Kind::ConfigMap, Kind::Pending, Kind::Running] {
            let object = kind.template(1536).object(1);
            assert_eq!(object.len(), 1536, "{kind:?}");
            let read: serde_json::Value = serde_json::from_slice(&object).unwrap();
            assert_eq!(read["metadata"]["name"], "bench-0000001");
        }
    }
}
