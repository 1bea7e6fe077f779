//! A pod that takes the name of another on the same node, through the host and the real API server in virtual time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, channel::mpsc, stream::BoxStream};
use libtest_mimic::Trial;
use parking_lot::Mutex;
use serde_json::json;
use windlass_api::core::v1::{NodeStatus, Pod, PodStatus, ServiceAccount};
use windlass_client::{Cache, Select};
use windlass_kernel::{
    ClockExt, Error, ErrorKind, NodeAgent, Result, SpawnExt, Stop,
    api::{Chunks, Options, PatchType},
    controller::ObjectKey,
    node::{LogRequest, Report, Session, SessionRequest},
};
use windlass_node::{Host, host::Registration};
use windlass_testkit::{FakeAgent, FakeNode};

use crate::cluster::{Cluster, Test, of};

const TESTS: &[Test] = &[
    ("a_pod_that_takes_the_name_of_one_that_still_ends_becomes_ready", replaced),
    ("the_last_word_on_a_pod_that_was_replaced_is_not_one_on_the_new_pod", last_word),
];

/// How long what has to happen may take.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) fn trials() -> Vec<Trial> {
    of(TESTS)
}

impl Cluster {
    fn host(&self, agent: Arc<dyn NodeAgent>) -> windlass_kernel::Task {
        let host = Host::new(Registration::named("n1"), &self.informers, agent);
        self.executor.spawn().spawn("host", host.run(Stop::new()))
    }

    async fn account(&self) {
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "default", "namespace": "default"}})).expect("JSON");
        self.client.create(&account).await.expect("an account is made");
    }

    /// Makes a pod `web` on the node, which takes a second to end.
    async fn pod(&self) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "default", "annotations": {"fake.windlass.dev/stop-delay": "1s"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "image:1"}]},
        });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        self.client.create(&pod).await.expect("a pod is made")
    }

    /// Puts another in place of the pod `web`, without a word to the node.
    async fn replace(&self) -> Arc<Pod> {
        let failed = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
        self.client.patch_status::<Pod>("default", "web", PatchType::Merge, failed).await.expect("it is patched");
        let at_once = Options { grace_period: Some(0), ..Options::default() };
        self.client.delete_with::<Pod>("default", "web", at_once).await.expect("it goes");
        self.pod().await
    }

    /// Waits until the pod `web` of that uid is ready.
    async fn ready(&self, pod: &Pod) {
        let pods: Cache<Arc<Pod>> = self.informers.typed(Select::all());
        let is_ready = |pods: &Cache<Arc<Pod>>| {
            pods.get(&key()).is_some_and(|now| {
                let ready = now.status.conditions.iter().find(|condition| condition.type_ == "Ready");
                now.metadata.uid == pod.metadata.uid && ready.is_some_and(|ready| ready.status == "True")
            })
        };
        let clock = self.executor.clock();
        let waited = clock.within(PATIENCE, pods.wait_until(is_ready)).await;
        assert!(waited.is_some(), "the pod is not ready after {PATIENCE:?}: {:?}", pods.get(&key()));
    }
}

fn key() -> ObjectKey {
    ObjectKey::new("default", "web")
}

fn replaced() {
    let cluster = Cluster::new();
    let (clock, spawn) = (cluster.executor.clock(), cluster.executor.spawn());
    let agent = FakeAgent::new(FakeNode::new("n1", 1), clock, spawn);
    cluster.executor.run_until(async {
        cluster.account().await;
        let _host = cluster.host(Arc::new(agent.clone()));
        let former = cluster.pod().await;
        cluster.ready(&former).await;
        let pod = cluster.replace().await;
        cluster.ready(&pod).await;
        let clock = cluster.executor.clock();
        clock.sleep(Duration::from_secs(60)).await;
        assert_eq!(agent.statuses().len(), 1, "the former pod has not ended");
    });
}

/// Says what it is told to say.
#[derive(Debug, Default)]
struct Speaker(Mutex<Option<mpsc::UnboundedSender<Report>>>);

impl Speaker {
    fn say(&self, pod: &Pod, ready: &str, released: bool) {
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
        let status: PodStatus = serde_json::from_value(status).expect("a status");
        let uid = pod.metadata.uid.clone().expect("a uid");
        let listener = self.0.lock().clone().expect("a listener");
        listener.unbounded_send(Report { pod: key(), uid, status, released }).expect("it listens");
    }
}

#[async_trait]
impl NodeAgent for Speaker {
    async fn describe(&self) -> Result<NodeStatus> {
        Ok(NodeStatus::default())
    }

    async fn sync(&self, _: Vec<Arc<Pod>>) -> Result<()> {
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let (sender, receiver) = mpsc::unbounded();
        *self.0.lock() = Some(sender);
        receiver.boxed()
    }

    async fn logs(&self, request: LogRequest) -> Result<Chunks> {
        Err(Error::new(ErrorKind::NotSupported, format!("nothing is logged of {}", request.pod)))
    }

    async fn open(&self, request: SessionRequest) -> Result<Session> {
        Err(Error::new(ErrorKind::NotSupported, format!("{request:?} is not opened")))
    }
}

fn last_word() {
    let cluster = Cluster::new();
    let agent = Arc::new(Speaker::default());
    let clock = cluster.executor.clock();
    cluster.executor.run_until(async {
        cluster.account().await;
        let _host = cluster.host(agent.clone());
        let former = cluster.pod().await;
        clock.sleep(Duration::from_secs(1)).await;
        agent.say(&former, "True", false);
        cluster.ready(&former).await;
        let pod = cluster.replace().await;
        clock.sleep(Duration::from_secs(1)).await;
        // Both are said before the host has written anything.
        agent.say(&pod, "True", false);
        agent.say(&former, "False", true);
        cluster.ready(&pod).await;
    });
}
