//! `windlass explain pod`: why a pod is where it is, or nowhere, node by node.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;
use windlass::{
    api::manifests::to_yaml,
    kernel::{
        Error, ErrorKind,
        api::{GroupVersionResource, Verb},
    },
};

use super::{columns::aligned, connect::within, print};
use crate::args::{Explain, Told};

pub(crate) fn run(explain: &Explain) -> Result<ExitCode> {
    let name = pod(&explain.what)?;
    within(&explain.scope, async |connected| {
        let pods = GroupVersionResource::of("", "v1", "pods");
        let request = connected.client.request(Verb::Get, pods).in_namespace(&connected.namespace);
        let told = connected.client.value(request.named(name).subresource("schedulingexplanation")).await?;
        match explain.output {
            None => print(readable(&told))?,
            Some(Told::Json) => print(format!("{told:#}\n"))?,
            Some(Told::Yaml) => print(to_yaml(&told))?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The pod that is meant by `pod NAME` or `pod/NAME`.
fn pod(what: &[String]) -> Result<&str, Error> {
    let kind = |word: &str| matches!(word, "pod" | "pods" | "po");
    match what {
        [one] => one.split_once('/').filter(|(word, name)| kind(word) && !name.is_empty()).map(|(_, name)| name),
        [word, name] if kind(word) => Some(&**name),
        _ => None,
    }
    .ok_or_else(|| {
        let message = format!("cannot explain {:?}: only pods are explained, as in `explain pod NAME`", what.join(" "));
        Error::new(ErrorKind::Invalid, message)
    })
}

/// The sentence, a line for each node, the scores of those that are possible, and who would have to leave.
fn readable(told: &Value) -> String {
    let mut parts = vec![format!("{}\n", sentence(&told["message"]))];
    let nodes = told["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !nodes.is_empty() {
        let head = ["NODE", "FITS", "TOTAL", "REFUSED BY", "WHY"].map(str::to_owned).to_vec();
        parts.push(aligned(&[vec![head], nodes.iter().map(line).collect()].concat()));
    }
    parts.extend(scores(nodes));
    parts.extend(victims(&told["preemption"]));
    parts.join("\n")
}

/// With a capital and a full stop.
fn sentence(message: &Value) -> String {
    let text = word(message);
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn line(node: &Value) -> Vec<String> {
    if node["fits"] == true {
        let dash = || "-".to_owned();
        return vec![word(&node["name"]), "yes".into(), node["total"].to_string(), dash(), dash()];
    }
    let reasons = items(&node["reasons"]).iter().map(word);
    let details = items(&node["details"]).iter().filter_map(detail);
    let why: Vec<_> = reasons.chain(details).collect();
    vec![word(&node["name"]), "no".into(), "-".into(), word(&node["refusedBy"]), why.join("; ")]
}

/// The numbers, where the reason does not say them.
fn detail(detail: &Value) -> Option<String> {
    let of = |field: &str| word(&detail[field]);
    match detail["type"].as_str()? {
        "Lacks" => {
            let [resource, requested, free, all] = ["resource", "requested", "free", "allocatable"].map(of);
            Some(format!("{resource}: {requested} requested, {free} of {all} free"))
        }
        "Label" if detail["found"].is_null() => Some(format!("wants {}, has no such label", of("wanted"))),
        "Label" => Some(format!("wants {}, has {}", of("wanted"), of("found"))),
        "Port" => Some(format!("{}/{} is taken", of("port"), of("protocol"))),
        "Skew" => {
            let [topology, place, kin, least, most] =
                ["topologyKey", "place", "matchingPods", "leastMatchingPods", "maxSkew"].map(of);
            Some(format!("{topology}={place} has {kin}, the least is {least}, maxSkew {most}"))
        }
        "Message" => Some(of("message")),
        _ => None,
    }
}

/// A column for each plugin: what it found, from 0 to 100, times its weight.
fn scores(nodes: &[Value]) -> Option<String> {
    let possible: Vec<&Value> = nodes.iter().filter(|node| !items(&node["scores"]).is_empty()).collect();
    let plugins: Vec<_> = items(&possible.first()?["scores"]).iter().map(|score| word(&score["plugin"])).collect();
    let mut rows = vec![["NODE".to_owned()].into_iter().chain(plugins).collect::<Vec<_>>()];
    for node in possible {
        let cell = |score: &Value| format!("{} ({}) x{}", score["normalized"], score["raw"], score["weight"]);
        rows.push([word(&node["name"])].into_iter().chain(items(&node["scores"]).iter().map(cell)).collect());
    }
    Some(format!("Scores from 0 to 100, the plugin's own number in brackets, and the weight:\n{}", aligned(&rows)))
}

fn victims(preemption: &Value) -> Option<String> {
    let candidates = items(&preemption["candidates"]);
    if candidates.is_empty() {
        return preemption["message"].as_str().map(|said| format!("Making room: {said}\n"));
    }
    let mut rows = vec![["NODE", "CHOSEN", "PODS THAT WOULD LEAVE"].map(str::to_owned).to_vec()];
    for candidate in candidates {
        let pods: Vec<_> = items(&candidate["victims"])
            .iter()
            .map(|pod| format!("{}/{} ({})", word(&pod["namespace"]), word(&pod["name"]), pod["priority"]))
            .collect();
        let chosen = if candidate["node"] == preemption["chosen"] { "yes" } else { "no" };
        rows.push(vec![word(&candidate["node"]), chosen.into(), pods.join(", ")]);
    }
    Some(aligned(&rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_reads_as_a_table() {
        let told = json!({
            "message": "pod a/p fits on none of 2 nodes; it would fit with the smallest change: request cpu 1 instead of 2",
            "nodes": [
                {"name": "n1", "fits": false, "refusedBy": "NodeResourcesFit", "reasons": ["Insufficient cpu"],
                 "details": [{"type": "Lacks", "resource": "cpu", "requested": "2", "free": "1", "allocatable": "4"}]},
                {"name": "n2", "fits": true, "total": 80,
                 "scores": [{"plugin": "Own", "raw": 7, "normalized": 40, "weight": 2}]},
            ],
        });
        let expect = "\
Pod a/p fits on none of 2 nodes; it would fit with the smallest change: request cpu 1 instead of 2.

NODE   FITS   TOTAL   REFUSED BY         WHY
n1     no     -       NodeResourcesFit   Insufficient cpu; cpu: 2 requested, 1 of 4 free
n2     yes    80      -                  -

Scores from 0 to 100, the plugin's own number in brackets, and the weight:
NODE   Own
n2     40 (7) x2
";
        assert_eq!(readable(&told), expect);
    }

    #[test]
    fn only_pods_are_explained() {
        let asked =
            |words: &[&str]| pod(&words.iter().map(|word| (*word).into()).collect::<Vec<_>>()).map(str::to_owned);
        assert_eq!((asked(&["pod", "a"]).unwrap(), asked(&["pod/a"]).unwrap()), ("a".into(), "a".into()));
        assert!(asked(&["node", "a"]).is_err() && asked(&["a"]).is_err() && asked(&["pod/"]).is_err());
    }
}
