//! The guestbook in real containers, in a network namespace of its own: the whole story, from the images to nothing left.
#![allow(clippy::disallowed_methods, reason = "the tests look at other processes, on the machine's clock")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    Test,
    cluster::{Cluster, manifests, until_so},
    real::{self, Ended, Network, build_images},
};

/// Driven by our own commands, which are everywhere.
pub(crate) const TESTS: &[Test] = &[
    ("the_guestbook_lives_and_leaves_nothing", the_guestbook_lives_and_leaves_nothing),
    #[cfg(feature = "containerd")]
    ("the_guestbook_lives_without_cri_and_leaves_nothing", the_guestbook_lives_without_cri_and_leaves_nothing),
];

/// Driven by kubectl, where that is installed.
pub(crate) const WITH_KUBECTL: &[Test] = &[("the_guestbook_is_kubectls_too", the_guestbook_is_kubectls_too)];

/// Why this machine cannot run the guestbook, if it cannot.
pub(crate) fn missing() -> Option<String> {
    real::missing(&[("redis-server", "/usr/bin/redis-server"), ("nginx", "/usr/sbin/nginx")])
}

/// The page as the world reaches it.
#[derive(Clone)]
struct Page {
    address: String,
}

impl Page {
    /// One request on a connection of its own: the status and the body.
    fn ask(&self, method: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = self.connect()?;
        let length = body.len();
        let head = format!("{method} /entries HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address.parse().ok()?, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(15))).ok()?;
        Some(stream)
    }

    fn shows(&self, text: &str) -> bool {
        self.ask("GET", "").is_some_and(|(status, body)| status == 200 && body.contains(text))
    }
}

fn the_guestbook_lives_and_leaves_nothing() {
    the_guestbook_lives_on("auto");
}

/// containerd serves nothing but its own services then.
#[cfg(feature = "containerd")]
fn the_guestbook_lives_without_cri_and_leaves_nothing() {
    the_guestbook_lives_on("containerd");
}

fn the_guestbook_lives_on(runtime: &str) {
    let network = Network::new();
    let listen = format!("{}:6443", network.host);
    let mut cluster = Cluster::prepare(&["--runtime", runtime, "--listen", &listen], Some(&network.name));
    build_images(&cluster.data().join("images"), &[]);
    cluster.up();
    // Whatever happens below, nothing stays on the machine.
    let mut cluster = Ended(cluster);
    let cluster = &mut cluster.0;
    let page = Page { address: format!("{}:30080", network.host) };

    cluster.windlass(&["apply", "-f", manifests().to_str().expect("a path")]).ok();
    until_so("the guestbook answers", || page.shows("entries"));
    assert_eq!(page.ask("POST", "first").map(|(status, _)| status), Some(201));
    assert!(page.shows("first"));

    a_killed_container_is_restarted(cluster, &page);
    a_deleted_pod_is_replaced(cluster);
    scaling_out(cluster);
    no_request_fails_in_a_rollout(cluster, &page);
    restarts_touch_no_container(cluster, &page);
    a_deleted_namespace_leaves_nothing(cluster, &network);
    cluster.windlass(&["down", "--purge"]).ok();
    cluster.ended();
    let links = network.ask(&["ip", "-o", "link"]);
    assert!(links.contains("eth0") && !links.contains("windlass0"), "{links}");
}

fn the_guestbook_is_kubectls_too() {
    let network = Network::new();
    let listen = format!("{}:6443", network.host);
    let mut cluster = Cluster::prepare(&["--runtime", "auto", "--listen", &listen], Some(&network.name));
    build_images(&cluster.data().join("images"), &[]);
    cluster.up();
    let cluster = Ended(cluster);
    let cluster = &cluster.0;
    let page = Page { address: format!("{}:30080", network.host) };
    let kubectl = |words: &[&str]| cluster.kubectl(&[&["-n", "guestbook"], words].concat());

    let folder = manifests();
    let folder = folder.to_str().expect("a path");
    kubectl(&["apply", "-f", folder]).ok();
    kubectl(&["wait", "--for=condition=Available", "deployment", "--all", "--timeout=120s"]).ok();
    until_so("the guestbook answers", || page.shows("entries"));
    assert_eq!(page.ask("POST", "by hand").map(|(status, _)| status), Some(201));

    let behind = "/api/v1/namespaces/guestbook/services/guestbook/proxy/entries";
    assert!(cluster.kubectl(&["get", "--raw", behind]).ok().contains("by hand"));
    let redis = kubectl(&["get", "pods", "-l", "app=redis", "-o", "jsonpath={.items[0].metadata.name}"]).ok();
    assert_eq!(kubectl(&["exec", &redis, "--", "redis-cli", "ping"]).ok().trim(), "PONG");
    assert!(kubectl(&["logs", "deployment/redis"]).ok().contains("Ready to accept connections"));

    let there = cluster.file("there.txt", "there and back\n");
    let back = cluster.file("back.txt", "");
    kubectl(&["cp", there.to_str().expect("a path"), &format!("{redis}:/tmp/there.txt")]).ok();
    assert_eq!(kubectl(&["exec", &redis, "--", "tar", "--version"]).code, Some(0));
    kubectl(&["cp", &format!("{redis}:/tmp/there.txt"), back.to_str().expect("a path")]).ok();
    assert_eq!(fs::read_to_string(back).expect("a file"), "there and back\n");

    kubectl(&["set", "image", "deployment/frontend", "frontend=registry.local/guestbook-frontend:v2"]).ok();
    kubectl(&["rollout", "status", "deployment/frontend", "--timeout=120s"]).ok();
    until_so("the new version answers", || page.shows("\"version\":\"v2\""));
    kubectl(&["rollout", "undo", "deployment/frontend"]).ok();
    kubectl(&["rollout", "status", "deployment/frontend", "--timeout=120s"]).ok();
    until_so("the old version answers", || page.shows("\"version\":\"v1\""));
    kubectl(&["delete", "-f", folder, "--timeout=120s"]).ok();
    assert!(cluster.kubectl(&["get", "namespace", "guestbook"]).failed(1).contains("NotFound"));
}

fn pods(cluster: &Cluster, app: &str) -> Vec<Value> {
    let label = format!("app={app}");
    let said = cluster.windlass(&["get", "pods", "-n", "guestbook", "-l", &label, "-o", "json"]).ok();
    let list: Value = serde_json::from_str(&said).expect("JSON");
    list["items"].as_array().cloned().unwrap_or_default()
}

fn names(pods: &[Value]) -> BTreeSet<String> {
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)
}

fn is_available(cluster: &Cluster, replicas: u64, image: &str) -> bool {
    let said = cluster.windlass(&["get", "deployment", "frontend", "-n", "guestbook", "-o", "json"]).ok();
    let frontend: Value = serde_json::from_str(&said).expect("JSON");
    let status = &frontend["status"];
    let counts = ["replicas", "updatedReplicas", "availableReplicas"].map(|field| status[field].as_u64());
    let seen = status["observedGeneration"] == frontend["metadata"]["generation"];
    let wanted = frontend["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    seen && counts == [Some(replicas); 3] && wanted.is_some_and(|wanted| wanted.ends_with(image))
}

/// Applies one field of the front end, as its manager `test`.
fn set(cluster: &Cluster, spec: &str) {
    let text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: frontend, namespace: guestbook}}\nspec: {spec}\n"
    );
    let file = cluster.file("change.yaml", &text);
    let file = file.to_str().expect("a path");
    cluster.windlass(&["apply", "--force-conflicts", "--field-manager", "test", "-f", file]).ok();
}

fn a_killed_container_is_restarted(cluster: &Cluster, page: &Page) {
    let redis = names(&pods(cluster, "redis")).pop_first().expect("a pod");
    // Its connection breaks with it, so how this ends says nothing.
    cluster.windlass(&["exec", "-n", "guestbook", &redis, "--", "redis-cli", "shutdown"]);
    until_so("redis was restarted", || pods(cluster, "redis").first().is_some_and(|pod| restarts(pod) == 1));
    until_so("the entries are still there", || page.shows("first"));
}

fn a_deleted_pod_is_replaced(cluster: &Cluster) {
    let before = names(&pods(cluster, "frontend"));
    let victim = before.first().expect("a pod");
    cluster.windlass(&["delete", "pod", "-n", "guestbook", victim]).ok();
    until_so("another pod is there", || {
        let now = names(&pods(cluster, "frontend"));
        now.len() == 3 && !now.contains(victim)
    });
    until_so("it is available", || is_available(cluster, 3, ":v1"));
}

fn scaling_out(cluster: &Cluster) {
    set(cluster, "{replicas: 5}");
    until_so("five are available", || is_available(cluster, 5, ":v1"));
}

fn no_request_fails_in_a_rollout(cluster: &Cluster, page: &Page) {
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, ending) = (page.clone(), Arc::clone(&stop));
    let asking = thread::spawn(move || {
        let (mut good, mut bad) = (0_u64, Vec::new());
        while !ending.load(Ordering::Relaxed) {
            match asked.ask("GET", "") {
                Some((200, _)) => good += 1,
                other => bad.push(other),
            }
        }
        (good, bad)
    });
    for version in ["v2", "v1"] {
        let image = format!("registry.local/guestbook-frontend:{version}");
        set(
            cluster,
            &format!("{{replicas: 5, template: {{spec: {{containers: [{{name: frontend, image: \"{image}\"}}]}}}}}}"),
        );
        until_so("the rollout is complete", || is_available(cluster, 5, &format!(":{version}")));
        until_so("only its pods answer", || page.shows(&format!("\"version\":\"{version}\"")));
    }
    stop.store(true, Ordering::Relaxed);
    let (good, bad) = asking.join().expect("the asking ends");
    assert!(bad.is_empty(), "{} of {} requests failed: {:?}", bad.len(), good + bad.len() as u64, bad.first());
    assert!(good > 20, "only {good} requests");
}

fn restarts_touch_no_container(cluster: &mut Cluster, page: &Page) {
    let containers = |cluster: &Cluster| -> BTreeSet<String> {
        let all = ["redis", "frontend", "nginx"].into_iter().flat_map(|app| pods(cluster, app));
        all.map(|pod| pod["status"]["containerStatuses"][0]["containerID"].to_string()).collect()
    };
    until_so("only the pods that are wanted are left", || containers(cluster).len() == 7);
    let before = containers(cluster);
    let mut open = page.connect().expect("a connection");
    for politely in [true, false] {
        cluster.end(politely);
        keeps_alive(&mut open);
        // Rules outlive the control plane; names do not, so the page behind nginx is not asked for.
        keeps_alive(&mut page.connect().expect("services work without a control plane"));
        cluster.up();
        keeps_alive(&mut open);
        until_so("the node is ready", || cluster.windlass(&["status", "--line"]).ok().contains("1 of 1 ready"));
        until_so("every deployment is available", || {
            cluster.windlass(&["status", "--line"]).ok().contains("deployments: 3 of 3 available")
        });
        assert_eq!(containers(cluster), before);
    }
}

/// One more request on a connection that stays open.
fn keeps_alive(stream: &mut TcpStream) {
    stream.write_all(b"GET /nginx-healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("the connection lives");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the connection lives");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

fn a_deleted_namespace_leaves_nothing(cluster: &Cluster, network: &Network) {
    cluster.windlass(&["delete", "namespace", "guestbook"]).ok();
    let data = cluster.data();
    let pods = data.join("node/pods");
    let folder = |path: &PathBuf| fs::read_dir(path).map_or(0, |entries| entries.flatten().count());
    until_so("no pod's files are left", || folder(&pods) == 0);
    let below = data.display().to_string();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    until_so("no mount is left", || !mounts().lines().any(|line| line.contains(&below) && line.contains("/pods/")));
    until_so("no rule is left", || !network.ask(&["nft", "list", "ruleset"]).contains("30080"));
    until_so("no interface is left", || !network.ask(&["ip", "-o", "link"]).contains("master windlass0"));
}
