//! Requests that kubectl sends on to pods, services and nodes, and its own proxy.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    Test,
    cluster::{Cluster, until_so},
};

pub(crate) const TESTS: &[Test] = &[
    ("kubectl_sends_requests_on_to_pods_services_and_nodes", sends_requests_on),
    ("kubectl_proxy_serves_the_api_and_what_is_behind_it", proxy_serves),
];

/// A pod `p` behind a service `p`.
fn start() -> Cluster {
    let cluster = Cluster::fake(&[]);
    cluster.kubectl(&["run", "p", "--image=i:1", "--port=8080", "--expose"]).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/p", "--timeout=60s"]).ok();
    until_so("the service has an endpoint", || {
        let ip = ["get", "endpoints", "p", "-o", "jsonpath={.subsets[0].addresses[0].ip}"];
        !cluster.kubectl(&ip).ok().is_empty()
    });
    cluster
}

fn sends_requests_on() {
    let cluster = start();
    let raw = |path: &str| cluster.kubectl(&["get", "--raw", path]);
    let said = |path: &str| -> Value { serde_json::from_str(&raw(path).ok()).expect("JSON") };
    let pod = said("/api/v1/namespaces/default/pods/p/proxy/a/b?c=d");
    assert_eq!((&pod["pod"], &pod["port"], &pod["path"]), (&"default/p".into(), &8080.into(), &"/a/b?c=d".into()));
    let service = said("/api/v1/namespaces/default/services/p:8080/proxy/x");
    assert_eq!((&service["pod"], &service["path"]), (&"default/p".into(), &"/x".into()));
    let made = cluster.kubectl_with(
        &["create", "--raw", "/api/v1/namespaces/default/services/http:p:/proxy/entries", "-f", "-"],
        "{\"a\":1}",
    );
    let made: Value = serde_json::from_str(&made.ok()).expect("JSON");
    assert_eq!((&made["method"], &made["body"]), (&"POST".into(), &"{\"a\":1}".into()));

    assert_eq!(raw("/api/v1/nodes/node-1/proxy/healthz").ok(), "ok");
    let pods = said("/api/v1/nodes/node-1/proxy/pods");
    assert_eq!(pods["items"][0]["metadata"]["name"], "p");
    assert_eq!(raw("/api/v1/nodes/node-1/proxy/containerLogs/default/p/p").ok(), "p runs i:1\n");

    let away = raw("/api/v1/namespaces/default/services/p:81/proxy/").failed(1);
    assert_eq!(away, "Error from server (ServiceUnavailable): no service port 81 found for service \"p\"\n");
    cluster.kubectl(&["delete", "pod", "p", "--now"]).ok();
    until_so("the service has no endpoint", || raw("/api/v1/namespaces/default/services/p/proxy/").code == Some(1));
    let none = raw("/api/v1/namespaces/default/services/p/proxy/").failed(1);
    assert_eq!(none, "Error from server (ServiceUnavailable): no endpoints available for service \"p\"\n");
}

fn proxy_serves() {
    let cluster = start();
    let mut child = Command::new("kubectl")
        .env("KUBECONFIG", cluster.kubeconfig())
        .args(["proxy", "--port=0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("a line");
    let address = line.trim().rsplit(' ').next().expect("an address").to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).expect("kubectl listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    assert!(get("/api/v1/namespaces/default/pods").contains("\"kind\":\"PodList\""));
    assert!(get("/api/v1/namespaces/default/services/p/proxy/there").contains("\"path\":\"/there\""));
    let folder = get("/api/v1/namespaces/default/pods/p/proxy");
    assert!(folder.starts_with("HTTP/1.1 301") && folder.contains("/pods/p/proxy/"), "{folder}");
    child.kill().expect("it ends");
    child.wait().expect("it ends");
}
