//! Whether the example application is there: its Deployments by their status, its page by asking for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::Cluster;

const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(250);
const PORT: u16 = 30080;

/// Waits until the guestbook is available and, where containers are real, until it answers; says where.
pub(super) async fn wait(cluster: &Cluster) -> Result<Option<String>> {
    let start = Instant::now();
    loop {
        let state = match look(cluster).await {
            Ok(Ok(at)) => return Ok(at),
            Ok(Err(state)) => state,
            Err(error) => format!("{error:#}"),
        };
        if start.elapsed() > PATIENCE {
            bail!(
                "the guestbook does not answer after {PATIENCE:?}: {state}; `kubectl get pods -n guestbook` tells more"
            );
        }
        sleep(PAUSE).await;
    }
}

/// Where it answers, or what is amiss.
async fn look(cluster: &Cluster) -> Result<Result<Option<String>, String>> {
    let deployments = json(cluster, &["get", "deployments", "-n", "guestbook", "-o", "json"]).await?;
    let waiting: Vec<_> = items(&deployments).filter(|deployment| !available(deployment)).map(name).collect();
    if items(&deployments).count() == 0 || !waiting.is_empty() {
        return Ok(Err(format!("not available: {}", waiting.join(", "))));
    }
    if cluster.fake {
        return Ok(Ok(None));
    }
    let nodes = json(cluster, &["get", "nodes", "-o", "json"]).await?;
    let host = items(&nodes).find_map(address).context("no node has an address")?.to_owned();
    let status = timeout(Duration::from_secs(5), status_of(&host)).await;
    match status {
        Ok(Ok(200)) => Ok(Ok(Some(format!("http://{host}:{PORT}")))),
        Ok(Ok(status)) => Ok(Err(format!("{host}:{PORT} answers with {status}"))),
        Ok(Err(error)) => Ok(Err(format!("{host}:{PORT}: {error:#}"))),
        Err(_) => Ok(Err(format!("{host}:{PORT} does not answer"))),
    }
}

async fn json(cluster: &Cluster, words: &[&str]) -> Result<Value> {
    serde_json::from_str(&cluster.ask(words).await?).context("an answer is not JSON")
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether every replica of the latest generation is available.
fn available(deployment: &Value) -> bool {
    let number = |field: &Value| field.as_u64().unwrap_or(0);
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"])
        && number(&status["updatedReplicas"]) >= number(&spec["replicas"])
        && number(&status["availableReplicas"]) >= number(&spec["replicas"])
}

fn address(node: &Value) -> Option<&str> {
    let addresses = node["status"]["addresses"].as_array()?;
    addresses.iter().find(|address| address["type"] == "InternalIP")?["address"].as_str()
}

/// The status that the list of entries is answered with: it needs all three tiers.
async fn status_of(host: &str) -> Result<u16> {
    let mut stream = TcpStream::connect((host, PORT)).await?;
    stream.write_all(format!("GET /entries HTTP/1.0\r\nHost: {host}:{PORT}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    let head = String::from_utf8_lossy(&answer);
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not an HTTP answer")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(deployment: &Value, expect: bool) {
        assert_eq!(available(deployment), expect, "{deployment}");
    }

    #[test]
    fn a_deployment_is_available_when_its_latest_replicas_are() {
        let object = |observed: u64, updated: u64, available: u64| {
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": {
                "observedGeneration": observed, "updatedReplicas": updated, "availableReplicas": available}})
        };
        check(&object(2, 3, 3), true);
        check(&object(1, 3, 3), false);
        check(&object(2, 2, 3), false);
        check(&object(2, 3, 2), false);
    }
}
