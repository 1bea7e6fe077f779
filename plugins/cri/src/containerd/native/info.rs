//! What is told of things beyond their status, for people: one JSON text in the shape of containerd's own CRI, so that tools which
//! look for a process or a specification there find it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use windlass_kernel::{
    Result,
    runtime::{ImageRef, Info, InfoOf},
};

use super::{super::mirrors::Mirror, Containerd, RUNTIME, record::Kept};

impl Containerd {
    pub(super) async fn told_of(&self, of: &InfoOf) -> Result<Info> {
        let kept = match of {
            InfoOf::Runtime => return Ok([("config".to_owned(), self.settings().to_string())].into()),
            InfoOf::Sandbox(id) => self.0.calls.kept_sandbox(id.as_str()).await?,
            InfoOf::Container(id) => self.0.calls.kept_container(id.as_str()).await?,
        };
        match kept {
            Some(kept) => Ok(told(&self.record(&kept).await?)),
            None => Ok(Info::new()),
        }
    }

    pub(super) async fn told_of_image(&self, image: &ImageRef) -> Result<Info> {
        let Some(facts) = self.facts_of(image).await? else { return Ok(Info::new()) };
        Ok(told(&json!({ "chainID": facts.chain, "imageSpec": facts.configuration })))
    }

    fn settings(&self) -> Value {
        json!({
            "namespace": &*self.0.calls.namespace,
            "snapshotter": &*self.0.calls.snapshotter,
            "sandboxImage": self.0.sandbox_image.as_str(),
            "stateDir": self.0.state_dir,
            "runtimeType": RUNTIME,
            "plainRegistries": self.0.plain_registries,
            "mirrors": self.0.mirrors.iter().map(|(of, all)| (of, urls(all))).collect::<BTreeMap<_, _>>(),
            "carrier": self.0.carrier,
        })
    }

    /// All that is kept of a sandbox or container, also where its configuration cannot be read.
    async fn record(&self, kept: &Kept) -> Result<Value> {
        let pid = self.running_task(&kept.id).await?;
        Ok(json!({
            "pid": pid.unwrap_or_default(),
            "snapshotter": &*self.0.calls.snapshotter,
            "snapshotKey": kept.id,
            "runtimeType": RUNTIME,
            "labels": kept.labels,
            "runtimeSpec": serde_json::from_slice::<Value>(&kept.spec).unwrap_or_default(),
        }))
    }
}

fn urls(mirrors: &[Mirror]) -> Vec<String> {
    mirrors.iter().map(Mirror::url).collect()
}

fn told(value: &Value) -> Info {
    [("info".to_owned(), value.to_string())].into()
}
