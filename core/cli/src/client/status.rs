//! `windlass status`: nodes, pods and what is not as it should be.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, Result};
use serde_json::Value;
use windlass::api::resources::find;

use super::{
    columns::aligned,
    connect::{Connected, with},
    get::list,
    print,
};
use crate::args::Status;

pub(crate) fn run(status: &Status) -> Result<ExitCode> {
    with(&status.reach, async |connected| {
        let all = async |group, plural| {
            let resource = find(group, "v1", plural).context("a built-in resource")?.into();
            list(&connected, &resource, "", ["", ""]).await
        };
        let picture = Picture {
            nodes: all("", "nodes")
                .await
                .with_context(|| format!("the cluster at {} does not answer", connected.server))?,
            pods: all("", "pods").await?,
            deployments: all("apps", "deployments").await?,
        };
        print(if status.line { picture.line() } else { picture.page(&connected) })?;
        Ok(ExitCode::SUCCESS)
    })
}

struct Picture {
    nodes: Vec<Value>,
    pods: Vec<Value>,
    deployments: Vec<Value>,
}

impl Picture {
    fn line(&self) -> String {
        let ready = self.nodes.iter().filter(|node| is_ready(node)).count();
        let pods = self.pods_by_state().into_iter().map(|(state, count)| format!("{count} {state}"));
        let pods: Vec<_> = pods.collect();
        let pods = if pods.is_empty() { "none".into() } else { pods.join(", ") };
        let short = self.deployments.iter().filter(|deployment| shortfall(deployment).is_some()).count();
        let all = self.deployments.len();
        format!(
            "nodes: {ready} of {} ready; pods: {pods}; deployments: {} of {all} available\n",
            self.nodes.len(),
            all - short
        )
    }

    fn page(&self, connected: &Connected) -> String {
        let mut rows = vec![vec!["cluster".to_owned(), connected.server.clone()]];
        let line = self.line();
        let parts = line.trim_end().split("; ").filter_map(|part| part.split_once(": "));
        rows.extend(parts.map(|(what, how)| vec![what.to_owned(), how.to_owned()]));
        for node in self.nodes.iter().filter(|node| !is_ready(node)) {
            rows.push(vec!["not ready".into(), format!("node {}", text(node, "name"))]);
        }
        for deployment in &self.deployments {
            if let Some(lack) = shortfall(deployment) {
                let (namespace, name) = (text(deployment, "namespace"), text(deployment, "name"));
                rows.push(vec!["not available".into(), format!("deployment {namespace}/{name}: {lack}")]);
            }
        }
        aligned(&rows)
    }

    fn pods_by_state(&self) -> BTreeMap<String, usize> {
        let mut states = BTreeMap::new();
        for pod in &self.pods {
            let phase = pod["status"]["phase"].as_str().unwrap_or("unknown").to_lowercase();
            let ending = pod["metadata"]["deletionTimestamp"].is_string();
            let state = if ending { "terminating".into() } else { phase };
            *states.entry(state).or_default() += 1;
        }
        states
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn is_ready(node: &Value) -> bool {
    let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// What a deployment lacks.
fn shortfall(deployment: &Value) -> Option<String> {
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let there = deployment["status"]["availableReplicas"].as_u64().unwrap_or(0);
    (there < wanted).then(|| format!("{there} of {wanted} replicas"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_how_things_are() {
        let node = |ready: &str| json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let picture = Picture {
            nodes: vec![node("True"), node("Unknown")],
            pods: vec![json!({"status": {"phase": "Running"}}), json!({"metadata": {"deletionTimestamp": "2026"}})],
            deployments: vec![json!({"spec": {"replicas": 2}, "status": {"availableReplicas": 1}})],
        };
        let expect = "nodes: 1 of 2 ready; pods: 1 running, 1 terminating; deployments: 0 of 1 available\n";
        assert_eq!(picture.line(), expect);
    }
}
