//! The schema of explanations as JSON: what `json` writes, for those who publish it.

use serde_json::{Value, json};

use super::Diagnosis;

/// A list of such.
fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

/// An object whose fields are all there but for those after `optional`.
fn object(fields: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let required: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let all = fields.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    let properties: Value = all.collect::<serde_json::Map<_, _>>().into();
    json!({"type": "object", "required": required, "properties": properties})
}

/// A schema with a sentence about it.
fn said(mut schema: Value, description: &str) -> Value {
    schema["description"] = description.into();
    schema
}

impl Diagnosis {
    /// The schema (OpenAPI 3) of what [`to_json`](Self::to_json) writes, without `apiVersion`, `kind` and `metadata`.
    #[must_use]
    pub fn schema() -> Value {
        let (text, number) = (json!({"type": "string"}), integer("int64"));
        let texts = list(&text);
        let overall = object(&[("plugin", text.clone()), ("reason", text.clone())], &[]);
        let best = object(
            &[("nodes", texts.clone()), ("decidedBy", said(text.clone(), "score, or chance between equals"))],
            &[],
        );
        let fields = [
            ("podUID", said(text.clone(), "the pod that is explained")),
            ("schedulerName", said(text.clone(), "the scheduler that the pod asks for")),
            ("verdict", said(text.clone(), "Bound, Fits, Preempts, Unschedulable, Gated or Unserved")),
            ("message", said(text.clone(), "all that in a sentence")),
            ("feasibleNodes", said(number, "how many nodes the pod fits on")),
            ("nodes", said(list(&node()), "what is said of each node")),
        ];
        let optional = [
            ("nodeName", said(text.clone(), "the node of a pod that has one, or where others would be evicted for it")),
            ("schedulingGates", said(texts.clone(), "what has to be removed first")),
            ("schedulerNames", said(texts, "the schedulers that run, where the pod's does not")),
            ("overall", said(overall, "what was said before any node was looked at")),
            ("best", said(best, "the nodes with the highest total")),
            ("preemption", said(preemption(), "whose leaving would make room")),
            ("smallestChange", said(change(), "the smallest change with which the pod would fit")),
        ];
        said(object(&fields, &optional), "Why a pod is where it is, or nowhere.")
    }
}

fn integer(format: &str) -> Value {
    json!({"type": "integer", "format": format})
}

/// A value of several kinds, told apart by its type; the fields depend on it.
fn kinds(fields: &[(&str, Value)], optional: &[&str]) -> Value {
    // Amounts are quantities as text, and plain numbers elsewhere.
    let any = || json!({"x-kubernetes-preserve-unknown-fields": true});
    let optional: Vec<_> = optional.iter().map(|name| (*name, any())).collect();
    object(fields, &optional)
}

fn node() -> Value {
    let (text, number, truth) = (json!({"type": "string"}), integer("int64"), json!({"type": "boolean"}));
    let detail = kinds(
        &[("type", text.clone())],
        &[
            "resource",
            "requested",
            "used",
            "allocatable",
            "free",
            "taint",
            "wanted",
            "found",
            "port",
            "protocol",
            "hostIP",
            "topologyKey",
            "place",
            "matchingPods",
            "leastMatchingPods",
            "maxSkew",
            "message",
        ],
    );
    let score = object(
        &[
            ("plugin", text.clone()),
            ("raw", said(number.clone(), "on the plugin's own scale")),
            ("normalized", said(number.clone(), "from 0 to 100")),
            ("weight", number.clone()),
            ("weighted", number.clone()),
        ],
        &[],
    );
    let optional = [
        ("refusedBy", said(text.clone(), "the first filter that refuses the node")),
        ("reasons", list(&text)),
        ("details", said(list(&detail), "the numbers behind the refusal")),
        ("preemptionMayHelp", truth.clone()),
        ("heldForNominatedPods", said(truth.clone(), "whether it is refused for pods that room was made for there")),
        ("scores", list(&score)),
        ("total", number),
    ];
    object(&[("name", text), ("fits", truth)], &optional)
}

fn preemption() -> Value {
    let (text, number) = (json!({"type": "string"}), integer("int64"));
    let pod = object(&[("namespace", text.clone()), ("name", text.clone()), ("priority", integer("int32"))], &[]);
    let candidate = object(&[("node", text.clone()), ("victims", list(&pod)), ("violatedBudgets", number)], &[]);
    object(&[("candidates", list(&candidate))], &[("message", text.clone()), ("chosen", text)])
}

fn change() -> Value {
    let text = json!({"type": "string"});
    let edit = kinds(
        &[("type", text.clone()), ("message", text.clone())],
        &[
            "gate",
            "resource",
            "from",
            "to",
            "taint",
            "node",
            "key",
            "value",
            "port",
            "protocol",
            "hostIP",
            "topologyKey",
            "index",
            "maxSkew",
            "selector",
            "claim",
            "namespace",
            "name",
            "like",
        ],
    );
    object(&[("message", text.clone()), ("node", text), ("edits", list(&edit))], &[])
}
