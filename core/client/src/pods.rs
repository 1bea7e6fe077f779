//! What can be done with pods beyond the common verbs: placing, evicting, reading logs, opening sessions.

use std::sync::Arc;

use serde_json::json;
use windlass_api::core::v1::Pod;
use windlass_kernel::{
    Result,
    api::{Answer, Chunks, Verb},
    node::Session,
};

use crate::client::{Client, unexpected};

impl Client {
    /// Places a pod on a node. The pod's uid, where given, must match.
    ///
    /// # Errors
    ///
    /// Those of the API; [`Conflict`](windlass_kernel::ErrorKind::Conflict) where the pod is placed or going.
    pub async fn bind(&self, namespace: &str, pod: &str, uid: Option<&str>, node: &str) -> Result<()> {
        let mut meta = json!({"namespace": namespace, "name": pod});
        if let Some(uid) = uid {
            meta["uid"] = uid.into();
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": meta,
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        self.call(self.on::<Pod>(Verb::Create, namespace).named(pod).subresource("binding").body(binding))
            .await
            .map(drop)
    }

    /// Deletes a pod if its disruption budgets allow that now.
    ///
    /// # Errors
    ///
    /// Those of the API; [`TooManyRequests`](windlass_kernel::ErrorKind::TooManyRequests) where a budget forbids it.
    pub async fn evict(&self, namespace: &str, pod: &str, grace_period: Option<i64>) -> Result<()> {
        let mut eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": namespace, "name": pod},
        });
        if let Some(seconds) = grace_period {
            eviction["deleteOptions"] = json!({"gracePeriodSeconds": seconds});
        }
        self.call(self.on::<Pod>(Verb::Create, namespace).named(pod).subresource("eviction").body(eviction))
            .await
            .map(drop)
    }

    /// Reads a pod's log. `query` holds the parameters of `PodLogOptions`, such as `follow` and `container`.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn logs(&self, namespace: &str, pod: &str, query: Vec<(String, String)>) -> Result<Chunks> {
        let mut request = self.on::<Pod>(Verb::Get, namespace).named(pod).subresource("log");
        request.options.query = query;
        match self.call(request).await?.answer {
            Answer::Stream(chunks) => Ok(chunks),
            Answer::Object(_) | Answer::Value(_) | Answer::List(_) | Answer::Session(_) | Answer::Destination(_) => {
                Err(unexpected("a log"))
            }
        }
    }

    /// Opens a session into a pod. `kind` is `exec`, `attach` or `portforward`.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn connect(
        &self,
        namespace: &str,
        pod: &str,
        kind: &str,
        query: Vec<(String, String)>,
    ) -> Result<Session> {
        let mut request = self.on::<Pod>(Verb::Connect, namespace).named(pod).subresource(kind);
        request.options.query = query;
        match self.call(request).await?.answer {
            Answer::Session(session) => Ok(session),
            Answer::Object(_) | Answer::Value(_) | Answer::List(_) | Answer::Stream(_) | Answer::Destination(_) => {
                Err(unexpected("a session"))
            }
        }
    }

    /// The pods that a field selector places on a node.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn pods_on(&self, node: &str) -> Result<Vec<Arc<Pod>>> {
        self.list(&crate::Select::all().fields(format!("spec.nodeName={node}"))).await
    }
}
