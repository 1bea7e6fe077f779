//! Logs and sessions, through an agent that answers from a script.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::json;
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{Answer, Chunks, Verb},
    controller::ObjectKey,
    node::{
        Amounts, LogRequest, Measured, Metering, NodeAgent, NodeAgents, PodUsage, Report, Session, SessionRequest,
        Usage,
    },
};

use crate::{
    pods::pod,
    rig::{HandClock, Rig, builder, names, wait},
};

#[derive(Clone, Debug, Default)]
struct Agent(Arc<Mutex<Usage>>);

#[async_trait]
impl NodeAgent for Agent {
    async fn describe(&self) -> Result<windlass_api::core::v1::NodeStatus> {
        Ok(windlass_api::core::v1::NodeStatus::default())
    }

    async fn sync(&self, _: Vec<Arc<windlass_api::core::v1::Pod>>) -> Result<()> {
        Ok(())
    }

    fn reports(&self) -> stream::BoxStream<'static, Report> {
        stream::empty().boxed()
    }

    async fn logs(&self, request: LogRequest) -> Result<Chunks> {
        let text = format!("{} {} {:?}", request.pod, request.container, request.tail_lines);
        Ok(Chunks(stream::iter([Ok(text.into())]).boxed()))
    }

    async fn open(&self, request: SessionRequest) -> Result<Session> {
        Err(Error::new(ErrorKind::Unavailable, format!("{request:?}")))
    }

    fn metering(&self) -> Option<&dyn Metering> {
        Some(self)
    }
}

#[async_trait]
impl Metering for Agent {
    async fn usage(&self) -> Result<Usage> {
        Ok(self.0.lock().clone())
    }
}

#[derive(Debug)]
struct Agents(Agent);

impl NodeAgents for Agents {
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>> {
        if name == "n1" { Ok(Arc::new(self.0.clone())) } else { Err(Error::new(ErrorKind::NotFound, "no such node")) }
    }
}

fn rig() -> Rig {
    rig_with(Agent::default())
}

fn rig_with(agent: Agent) -> Rig {
    let clock = HandClock::default();
    let rig = Rig::over(&clock, wait(builder(&clock).node_agents(Arc::new(Agents(agent))).start()).unwrap());
    rig.create("serviceaccounts", json!({"metadata": {"name": "default"}})).unwrap();
    for (name, node) in [("a", "n1"), ("b", "n2")] {
        let mut object = pod(name);
        object["spec"]["nodeName"] = node.into();
        rig.create("pods", object).unwrap();
    }
    rig
}

#[test]
fn logs_come_from_the_agent_of_the_pods_node() {
    let rig = rig();
    let mut request = rig.request(Verb::Get, "pods:log").named("a");
    request.options.query = vec![("tailLines".into(), "3".into())];
    let Answer::Stream(Chunks(mut chunks)) = rig.call(request).unwrap().answer else { panic!("not a stream") };
    assert_eq!(wait(chunks.next()).unwrap().unwrap(), "default/a c Some(3)");
    let away = rig.call(rig.request(Verb::Get, "pods:log").named("b")).unwrap_err();
    assert!(away.is(ErrorKind::Unavailable));
    let mut request = rig.request(Verb::Get, "pods:log").named("a");
    request.options.query = vec![("container".into(), "x".into())];
    assert_eq!(rig.call(request).unwrap_err().message(), "container x is not valid for pod a");
}

#[test]
fn a_session_is_opened_with_what_the_query_says() {
    let rig = rig();
    let exec = |query: &[(&str, &str)]| {
        let mut request = rig.request(Verb::Connect, "pods:exec").named("a");
        request.options.query = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        rig.call(request).unwrap_err().message().to_owned()
    };
    assert_eq!(exec(&[]), "you must specify at least 1 of stdin, stdout, stderr");
    let asked = exec(&[("stdout", "true"), ("command", "ls"), ("command", "-l")]);
    assert!(asked.contains(r#"command: ["ls", "-l"]"#) && asked.contains("stdout: true"), "{asked}");
}

#[test]
fn what_is_used_is_read_from_the_agents() {
    let agent = Agent::default();
    let rig = rig_with(agent.clone());
    for name in ["n1", "n2"] {
        rig.create("nodes", json!({"metadata": {"name": name, "labels": {"zone": "z"}}})).unwrap();
    }
    let uid = rig.get("pods", "a").unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let amounts = |nanocores| Amounts { nanocores, memory: 3 << 20, cpu: None };
    let (at, window) = (jiff::Timestamp::from_second(60).unwrap(), std::time::Duration::from_millis(10_500));
    let containers = Measured { at, window, amounts: vec![("c".to_owned(), amounts(250_000_001))] };
    let pod = PodUsage { pod: ObjectKey::new("default", "a"), uid, containers };
    *agent.0.lock() = Usage { node: Some(Measured { at, window, amounts: amounts(0) }), pods: vec![pod] };

    let (pods, nodes) = ("metrics.k8s.io/v1beta1/pods", "metrics.k8s.io/v1beta1/nodes");
    let used = rig.get(pods, "a").unwrap();
    assert_eq!(used["containers"], json!([{"name": "c", "usage": {"cpu": "250000001n", "memory": "3072Ki"}}]));
    assert_eq!((&used["timestamp"], &used["window"]), (&json!("1970-01-01T00:01:00Z"), &json!("10.5s")));
    assert_eq!(used["kind"], "PodMetrics");
    // The node of the other pod does not answer, so that nothing is known of it.
    assert_eq!(names(&rig.list(pods, |_| ()).unwrap()), ["a"]);
    assert!(rig.get(pods, "b").unwrap_err().is(ErrorKind::NotFound));
    assert!(rig.list(pods, |request| request.options.label_selector = "no=such".into()).unwrap().items.is_empty());

    let listed = rig.list(nodes, |request| request.options.label_selector = "zone=z".into()).unwrap();
    assert_eq!(names(&listed), ["n1"]);
    assert_eq!(listed.kind, "NodeMetricsList");
    assert_eq!(rig.get(nodes, "n1").unwrap()["usage"], json!({"cpu": "0", "memory": "3072Ki"}));
    assert!(rig.create(nodes, json!({"metadata": {"name": "n1"}})).is_err());
}

#[test]
fn a_server_without_agents_does_not_say_what_is_used() {
    let rig = Rig::new();
    let refused = rig.list("metrics.k8s.io/v1beta1/nodes", |_| ()).unwrap_err();
    assert_eq!(refused.message(), "the server could not find the requested resource");
}
