//! The row of a pod: above all, its status in one word.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, born, cell_or, condition, leaving, name, number};
use super::{AGE, Column, NAME, age};
use crate::kinds::field::{dig, items, lookup, text};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::new("Ready", "string"),
    Column::new("Status", "string"),
    Column::new("Restarts", "string"),
    AGE,
    Column::wide("IP", "string"),
    Column::wide("Node", "string"),
    Column::wide("Nominated Node", "string"),
    Column::wide("Readiness Gates", "string"),
];

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let mut restarts = summary.restarts.to_string();
    if summary.restarts != 0 && !summary.last.is_empty() {
        restarts = format!("{restarts} ({} ago)", age(&summary.last, now));
    }
    let ip = items(pod, &["status", "podIPs"]).next().map_or(lookup(pod, "none"), |first| lookup(first, "ip"));
    let ip = match ip.as_str().unwrap_or_default() {
        "" => cell_or(pod, &["status", "podIP"], NONE),
        found => found.into(),
    };
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        born(pod, now),
        ip,
        cell_or(pod, &["spec", "nodeName"], NONE),
        cell_or(pod, &["status", "nominatedNodeName"], NONE),
        gates(pod),
    ]
}

/// What the containers of a pod amount to.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last: String,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let mut summary = Self { total: items(pod, &["spec", "containers"]).count(), ..Self::default() };
        let given = text(pod, &["status", "reason"]);
        summary.reason = if given.is_empty() { text(pod, &["status", "phase"]).into() } else { given.into() };
        let gated = |c: &Value| text(c, &["type"]) == "PodScheduled" && text(c, &["reason"]) == "SchedulingGated";
        if items(pod, &["status", "conditions"]).any(gated) {
            summary.reason = "SchedulingGated".into();
        }
        let sidecars = Self { ..Self::default() };
        let (initializing, sidecars) = summary.initialize(pod, sidecars);
        if !initializing || condition(pod, "Initialized") {
            summary.restarts = sidecars.restarts;
            summary.last = sidecars.last;
            summary.run(pod);
        }
        if leaving(pod) {
            if given == "NodeLost" {
                summary.reason = "Unknown".into();
            } else if !matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed") {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    /// Goes through the init containers until one that is not done; says whether there was one.
    fn initialize(&mut self, pod: &Value, mut sidecars: Self) -> (bool, Self) {
        let kept = |name: &str| {
            let own = |c: &&Value| text(c, &["name"]) == name;
            items(pod, &["spec", "initContainers"]).find(own).is_some_and(|c| text(c, &["restartPolicy"]) == "Always")
        };
        self.total +=
            items(pod, &["spec", "initContainers"]).filter(|c| text(c, &["restartPolicy"]) == "Always").count();
        for (at, status) in items(pod, &["status", "initContainerStatuses"]).enumerate() {
            self.count_restarts(status);
            let sidecar = kept(text(status, &["name"]));
            if sidecar {
                sidecars.count_restarts(status);
            }
            let (ended, waiting) =
                (dig(status, &["state", "terminated"]), text(status, &["state", "waiting", "reason"]));
            if !ended.is_null() && number(ended, &["exitCode"]) == 0 {
                continue;
            }
            if sidecar && lookup(status, "started").as_bool() == Some(true) {
                self.ready += usize::from(lookup(status, "ready").as_bool() == Some(true));
                continue;
            }
            self.reason = if !ended.is_null() {
                format!("Init:{}", ending(ended))
            } else if !matches!(waiting, "" | "PodInitializing") {
                format!("Init:{waiting}")
            } else {
                format!("Init:{at}/{}", items(pod, &["spec", "initContainers"]).count())
            };
            return (true, sidecars);
        }
        (false, sidecars)
    }

    /// Goes through the containers from the last to the first, so that the first has the last word.
    fn run(&mut self, pod: &Value) {
        let mut running = false;
        for status in items(pod, &["status", "containerStatuses"]).rev() {
            self.count_restarts(status);
            let (ended, waiting) =
                (dig(status, &["state", "terminated"]), text(status, &["state", "waiting", "reason"]));
            if !waiting.is_empty() {
                self.reason = waiting.into();
            } else if !ended.is_null() {
                self.reason = ending(ended);
            } else if lookup(status, "ready").as_bool() == Some(true) && !dig(status, &["state", "running"]).is_null() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition(pod, "Ready") { "Running" } else { "NotReady" }.into();
        }
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += number(status, &["restartCount"]);
        let ended = text(status, &["lastState", "terminated", "finishedAt"]);
        // Times of one server compare as texts: all are UTC and of one precision.
        if self.last.as_str() < ended {
            self.last = ended.into();
        }
    }
}

/// Why a container ended, in one word.
fn ending(ended: &Value) -> String {
    match (text(ended, &["reason"]), number(ended, &["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(ended, &["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

fn gates(pod: &Value) -> Value {
    let gates: Vec<&str> = items(pod, &["spec", "readinessGates"]).map(|gate| text(gate, &["conditionType"])).collect();
    if gates.is_empty() {
        return NONE.into();
    }
    let open = gates.iter().filter(|gate| condition(pod, gate)).count();
    format!("{open}/{}", gates.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(pod: &Value, expect: &str) {
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let cells = cells(pod, now);
        let shown: Vec<&str> = cells[1..4].iter().filter_map(Value::as_str).collect();
        assert_eq!(shown.join(" "), expect);
    }

    fn with(spec: &Value, status: &Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": spec, "status": status})
    }

    #[test]
    fn a_pod_is_what_its_containers_are() {
        let one = json!({"containers": [{"name": "c"}]});
        check(&with(&one, &json!({"phase": "Pending"})), "0/1 Pending 0");
        let state = |state: Value, ready: bool| json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": ready, "restartCount": 2, "state": state, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}}]});
        check(&with(&one, &state(json!({"running": {}}), true)), "1/1 Running 2 (5m ago)");
        check(
            &with(&one, &state(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false)),
            "0/1 CrashLoopBackOff 2 (5m ago)",
        );
        check(&with(&one, &state(json!({"terminated": {"exitCode": 3}}), false)), "0/1 ExitCode:3 2 (5m ago)");
        let mut leaving = with(&one, &state(json!({"running": {}}), true));
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        check(&leaving, "1/1 Terminating 2 (5m ago)");
    }

    #[test]
    fn a_starting_pod_shows_how_far_it_is() {
        let spec = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "a"}, {"name": "b"}]});
        let status = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "a", "state": {"terminated": {"exitCode": 0}}}, {"name": "b", "state": {"running": {}}}]});
        check(&with(&spec, &status), "0/1 Init:1/2 0");
        let status = json!({"phase": "Pending", "initContainerStatuses": [
            {"name": "a", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]});
        check(&with(&spec, &status), "0/1 Init:Error 0");
    }

    #[test]
    fn sidecars_count_as_containers() {
        let spec = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
        let status = json!({"phase": "Running",
            "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
            "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]});
        check(&with(&spec, &status), "2/2 Running 0");
    }
}
