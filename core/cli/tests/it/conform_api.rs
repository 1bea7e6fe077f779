//! `windlass conform api` on a cluster of our own, and where nothing answers.

use std::fs;

use serde_json::{Value, json};

use crate::{Test, cluster::Cluster};

pub(crate) const TESTS: &[Test] = &[
    ("the_api_suite_passes_on_our_own_server", passes),
    ("the_api_suite_shows_what_was_asked_where_it_fails", failure),
    ("the_api_suite_names_a_server_that_is_not_there", absent),
];

/// The whole suite, over HTTPS, as an administrator.
fn passes() {
    let cluster = Cluster::fake(&[]);
    let json = cluster.data().with_file_name("report.json");
    let kubeconfig = cluster.kubeconfig();
    let (path, report) = (kubeconfig.to_str().expect("a path"), json.to_str().expect("a path"));
    let hooks = ["--webhook-address", "127.0.0.1:0"];
    let said = cluster.windlass(&[&["conform", "api", "--kubeconfig", path, "--json", report], &hooks[..]].concat());
    assert_eq!(said.code, Some(0), "{}", said.out);
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).expect("a report")).expect("JSON");
    let patient = report["cases"].as_array().into_iter().flatten().filter(|case| case["verdict"] == "skipped");
    let waits = patient.filter(|case| case["message"].as_str().is_some_and(|why| why.contains("--patient"))).count();
    assert_eq!((&report["failed"], &report["skipped"]), (&json!(0), &json!(waits)));
    assert!(report["passed"].as_u64().is_some_and(|passed| passed > 100), "{}", report["passed"]);
}

/// An administrator of nothing.
fn failure() {
    let cluster = Cluster::fake(&[]);
    let text = fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let nobody = text.lines().filter(|line| !line.contains("client-key-data")).map(|line| {
        if line.contains("client-certificate-data") { "    token: nonsense\n".to_owned() } else { format!("{line}\n") }
    });
    let kubeconfig = cluster.file("nobody.yaml", &nobody.collect::<String>());
    let path = kubeconfig.to_str().expect("a path");
    let said = cluster.windlass(&["conform", "api", "--kubeconfig", path, "--only", "a_name_is_taken_once"]);
    assert_eq!(said.code, Some(5), "{said:?}");
    for part in [
        "  FAIL  a name is taken once in a namespace (",
        "POST /api/v1/namespaces was answered 401 instead of 201",
        "tests: Kubernetes API conventions, Metadata",
        "| > POST /api/v1/namespaces",
        "| < 401 {",
    ] {
        assert!(said.out.contains(part), "{part:?} is not in: {}", said.out);
    }
}

fn absent() {
    let mut cluster = Cluster::fake(&[]);
    cluster.end(true);
    let path = cluster.kubeconfig();
    let said = cluster.windlass(&["conform", "api", "--kubeconfig", path.to_str().expect("a path")]);
    let complaint = said.failed(3);
    assert!(complaint.starts_with("windlass: ") && complaint.lines().count() == 1, "{complaint}");
}
