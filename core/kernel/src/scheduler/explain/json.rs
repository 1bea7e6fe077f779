//! Explanations as JSON: what `GET …/pods/{name}/schedulingexplanation` answers.

use serde_json::{Map, Value, json};

use super::{Detail, Diagnosis, Edit, NodeDiagnosis, Remedy, Room, Scored, Verdict, Victims, shown::amount};
use crate::scheduler::{PodView, Taint};

/// The group and version of explanations. They are no resource: nothing is stored.
const API_VERSION: &str = "scheduling.windlass.dev/v1alpha1";

/// Resource amounts are quantities, as in manifests; scores are plain numbers.
impl Diagnosis {
    /// The explanation as an object of kind `SchedulingExplanation`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut told = json!({
            "apiVersion": API_VERSION,
            "kind": "SchedulingExplanation",
            "metadata": {"namespace": self.pod.namespace, "name": self.pod.name},
            "podUID": self.uid,
            "schedulerName": self.scheduler,
            "verdict": self.verdict.word(),
            "message": self.to_string(),
            "feasibleNodes": self.feasible(),
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
        });
        match &self.verdict {
            Verdict::Bound(node) => told["nodeName"] = json!(node),
            Verdict::Preempts(node) => told["nodeName"] = json!(node),
            Verdict::Gated(gates) => told["schedulingGates"] = json!(gates),
            Verdict::Unserved(names) => told["schedulerNames"] = json!(names),
            Verdict::Fits | Verdict::Nowhere => {}
        }
        if let Some((plugin, reason)) = &self.overall {
            told["overall"] = json!({"plugin": plugin, "reason": reason.to_string()});
        }
        if let [only] = &self.best[..] {
            told["best"] = json!({"nodes": [only], "decidedBy": "score"});
        } else if !self.best.is_empty() {
            told["best"] = json!({"nodes": self.best, "decidedBy": "chance"});
        }
        if let Some(room) = &self.room {
            told["preemption"] = making(room);
        }
        if let Some(remedy) = &self.remedy {
            told["smallestChange"] = change(remedy);
        }
        told
    }
}

fn node(node: &NodeDiagnosis) -> Value {
    let mut told = json!({"name": node.node, "fits": node.refused.is_none()});
    match &node.refused {
        Some(refused) => {
            let reasons: Vec<_> = refused.reasons.iter().map(ToString::to_string).collect();
            let details: Vec<_> = refused.details.iter().map(detail).collect();
            told["refusedBy"] = json!(refused.plugin);
            told["reasons"] = json!(reasons);
            told["details"] = json!(details);
            told["preemptionMayHelp"] = json!(refused.curable);
            if refused.nominated {
                told["heldForNominatedPods"] = json!(true);
            }
        }
        None => {
            told["scores"] = node.scores.iter().map(score).collect();
            told["total"] = json!(node.total());
        }
    }
    told
}

fn score(scored: &Scored) -> Value {
    json!({
        "plugin": scored.plugin, "raw": scored.raw, "normalized": scored.normalized, "weight": scored.weight,
        "weighted": scored.weighted(),
    })
}

fn detail(detail: &Detail) -> Value {
    match detail {
        Detail::Lacks { resource, requested, used, allocatable } => {
            let free = allocatable.saturating_sub(*used);
            let [requested, used, allocatable, free] =
                [*requested, *used, *allocatable, free].map(|number| amount(resource, number));
            json!({"type": "Lacks", "resource": resource, "requested": requested, "used": used,
                   "allocatable": allocatable, "free": free})
        }
        Detail::Taint(own) => json!({"type": "Taint", "taint": taint(own)}),
        Detail::Label { wanted, found } => json!({"type": "Label", "wanted": wanted, "found": found}),
        Detail::Port(port) => {
            json!({"type": "Port", "port": port.port, "protocol": port.protocol, "hostIP": port.ip})
        }
        Detail::Skew { topology, place, kin, least, max_skew } => json!({
            "type": "Skew", "topologyKey": topology, "place": place, "matchingPods": kin, "leastMatchingPods": least,
            "maxSkew": max_skew,
        }),
        Detail::Told(message) => json!({"type": "Message", "message": message}),
    }
}

fn taint(taint: &Taint) -> Value {
    json!({"key": taint.key, "value": taint.value, "effect": format!("{:?}", taint.effect)})
}

fn making(room: &Room) -> Value {
    let pod = |pod: &PodView| json!({"namespace": pod.key.namespace, "name": pod.key.name, "priority": pod.priority});
    let candidate = |own: &Victims| {
        let victims: Vec<_> = own.pods.iter().map(|own| pod(own)).collect();
        json!({"node": own.node, "victims": victims, "violatedBudgets": own.violations})
    };
    let mut told = json!({"candidates": room.candidates.iter().map(candidate).collect::<Vec<_>>()});
    if let Some(said) = &room.said {
        told["message"] = json!(said);
    }
    if let Some(chosen) = &room.chosen {
        told["chosen"] = json!(chosen);
    }
    told
}

fn change(remedy: &Remedy) -> Value {
    let edits: Vec<_> = remedy.edits.iter().map(edit).collect();
    json!({"message": remedy.to_string(), "node": remedy.node, "edits": edits})
}

fn edit(edit: &Edit) -> Value {
    let fields = match edit {
        Edit::RemoveGate(gate) => json!({"gate": gate}),
        Edit::LowerRequest { resource, from, to } => {
            json!({"resource": resource, "from": amount(resource, *from), "to": amount(resource, *to)})
        }
        Edit::Tolerate(own) => json!({"taint": taint(own)}),
        Edit::Uncordon(node) => json!({"node": node}),
        Edit::LabelNode { node, key, value } => json!({"node": node, "key": key, "value": value}),
        Edit::DropPort(port) => json!({"port": port.port, "protocol": port.protocol, "hostIP": port.ip}),
        Edit::RelaxSpread { topology, at } => json!({"topologyKey": topology, "index": at}),
        Edit::StateSpread(spread) => json!({
            "topologyKey": spread.topology, "maxSkew": spread.max_skew, "selector": spread.selector.to_string(),
        }),
        Edit::DropSelector(key) => json!({"key": key}),
        Edit::DropNodeAffinity => json!({}),
        Edit::CreateClaim(claim) | Edit::BindClaim(claim) | Edit::DropClaim(claim) => json!({"claim": claim}),
        Edit::DropPodAffinity(term) | Edit::DropPodAntiAffinity(term) => {
            json!({"topologyKey": term.topology, "selector": term.selector.to_string()})
        }
        Edit::RemovePod { pod, node } => json!({"namespace": pod.namespace, "name": pod.name, "node": node}),
        Edit::AddNode { like, node } => json!({"node": node.name, "like": like}),
        Edit::GrowNode { node, resource, to } => {
            json!({"node": node, "resource": resource, "to": amount(resource, *to)})
        }
    };
    let mut told = Map::new();
    told.insert("type".into(), json!(edit.word()));
    told.insert("message".into(), json!(edit.to_string()));
    told.extend(fields.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    Value::Object(told)
}
