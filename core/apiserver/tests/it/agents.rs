//! Logs and sessions, through an agent that answers from a script.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::json;
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{Answer, Chunks, Verb},
    node::{LogRequest, NodeAgent, NodeAgents, Report, Session, SessionRequest},
};

use crate::{
    pods::pod,
    rig::{HandClock, Rig, builder, wait},
};

#[derive(Debug)]
struct Agent;

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
}

#[derive(Debug)]
struct Agents;

impl NodeAgents for Agents {
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>> {
        if name == "n1" { Ok(Arc::new(Agent)) } else { Err(Error::new(ErrorKind::NotFound, "no such node")) }
    }
}

fn rig() -> Rig {
    let clock = HandClock::default();
    let rig = Rig::over(&clock, wait(builder(&clock).node_agents(Arc::new(Agents)).start()).unwrap());
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
