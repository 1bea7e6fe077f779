//! What a router says to the cluster: on its own node whether there are routes, and of others that they are not reached, in the
//! words of upstream's route controller.

use std::sync::Arc;

use windlass_api::{
    core::v1::{Node, NodeCondition, ObjectReference},
    types::Time,
};
use windlass_client::{
    Client,
    events::{Recorder, Severity},
    informer::Parts,
};
use windlass_kernel::{Clock, Error, Result, routes::RoutedNode};

/// The condition that keeps new pods from a node (`core/v1 NodeConditionType`).
const CONDITION: &str = "NetworkUnavailable";

#[derive(Debug)]
pub(super) struct Voice {
    client: Client,
    clock: Arc<dyn Clock>,
    events: Recorder,
    node: String,
    /// What was last to be said, and whether it was taken.
    said: Option<(bool, bool)>,
}

impl Voice {
    pub(super) fn new(parts: &Parts, node: &str) -> Self {
        let events = Recorder::start(parts, "route_controller", node);
        Self {
            client: parts.client.clone(),
            clock: Arc::clone(&parts.clock),
            events,
            node: node.to_owned(),
            said: None,
        }
    }

    /// Whether something was not taken that has to be said again.
    pub(super) fn is_unheard(&self) -> bool {
        self.said.is_some_and(|(_, heard)| !heard)
    }

    /// Says whether there are routes, unless that was said already.
    pub(super) async fn say(&mut self, routes: bool) {
        if self.said == Some((routes, true)) {
            return;
        }
        let done = self.write(routes).await;
        self.said = Some((routes, done.is_ok()));
        if let Err(error) = done {
            tracing::warn!(node = %self.node, %error, "cannot say yet whether there are routes to other nodes");
        }
    }

    async fn write(&self, routes: bool) -> Result<()> {
        let now = Time(self.clock.now());
        let change = |node: &mut Node| {
            let known = node.status.conditions.iter_mut().find(|known| known.type_ == CONDITION);
            let wanted = condition(routes, now);
            match known {
                // Nothing is written where only times would differ.
                Some(known) if known.status == wanted.status && known.reason == wanted.reason => {}
                Some(known) => *known = wanted,
                None => node.status.conditions.push(wanted),
            }
        };
        self.client.modify_status::<Node>("", &self.node, change).await.map(drop)
    }

    /// Says that the pods of another node are not reached from here.
    pub(super) fn complain(&self, other: &RoutedNode, why: &Error) {
        let ranges: Vec<_> = other.ranges.iter().map(ToString::to_string).collect();
        let name = &other.name;
        let text = format!("Could not create route {} for node {name} on node {}: {why}", ranges.join(","), self.node);
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            name: Some(name.clone()),
            // As kubelets and upstream's controllers have it in events about nodes.
            uid: Some(name.clone()),
            ..ObjectReference::default()
        };
        self.events.event_on(about, Severity::Warning, "FailedToCreateRoute", text);
    }
}

fn condition(routes: bool, now: Time) -> NodeCondition {
    let (status, reason, message) = match routes {
        true => ("False", "RouteCreated", "RouteController created a route"),
        false => ("True", "NoRouteCreated", "RouteController failed to create a route"),
    };
    NodeCondition {
        type_: CONDITION.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_heartbeat_time: Some(now),
        last_transition_time: Some(now),
    }
}
