//! `windlass node` over a real containerd, beside a control plane in another process.
#![allow(clippy::disallowed_methods, reason = "the tests look at other processes, on the machine's clock")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use serde_json::{Value, json};
use windlass::{
    kernel::{
        Identity,
        node::{Exit, Session},
    },
    rim::{SystemClock, SystemDial, TokioSpawn},
    serve::{self, Pki},
};
use windlass_client::{
    Client,
    https::{HttpsApi, Means, RawRequest},
    kubeconfig::{Access, Credential},
};

use crate::{
    Test,
    cluster::{Cluster, WINDLASS, now, until, until_so},
    real::{Ended, Network, build_images},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_node_of_its_own_process_runs_pods_and_leaves_nothing", a_node_of_its_own_process_runs_pods_and_leaves_nothing),
    (
        "pods_of_two_nodes_reach_each_other_by_address_and_service",
        pods_of_two_nodes_reach_each_other_by_address_and_service,
    ),
    ("a_node_joins_a_cluster_that_has_one_and_follows_services_as_somebody_else", a_node_joins_a_cluster_that_has_one),
    ("what_an_agent_takes_with_fifty_pods_is_told", what_an_agent_takes_with_fifty_pods_is_told),
];

const NAME: &str = "worker";

/// A node in a process of its own, running or not, whose pods are gone when it goes.
struct Worker<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    /// The network namespace that it is in.
    space: String,
    folder: PathBuf,
    program: String,
    /// Further arguments.
    more: Vec<String>,
    child: Option<Child>,
}

impl<'a> Worker<'a> {
    fn new(cluster: &'a Cluster, network: &Network) -> Self {
        Self::named(NAME, cluster, network, &network.name, &[])
    }

    /// A node of that name in a namespace from which the network's host is reached.
    fn named(name: &'static str, cluster: &'a Cluster, network: &Network, space: &str, more: &[&str]) -> Self {
        let config = cluster.file(&format!("{name}.yaml"), &kubeconfig(name, cluster, network));
        let more = more.iter().map(|&word| word.into()).collect();
        let (folder, space) = (config.with_file_name(name), space.into());
        Self { cluster, name, space, folder, program: WINDLASS.into(), more, child: None }
    }

    fn data(&self) -> String {
        self.folder.to_str().expect("a path").to_owned()
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.folder.with_file_name(format!("{}.{extension}", self.name))
    }

    /// A program where the node is.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.space)).arg(program).env_remove("KUBECONFIG");
        command.stdin(Stdio::null());
        command
    }

    /// What a command prints where the node is.
    fn ask(&self, words: &[&str]) -> String {
        let output = self.command(words[0]).args(&words[1..]).output().expect("nsenter runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts the process and waits until the node is registered.
    fn start(&mut self) {
        let [ready, log] = ["ready", "log"].map(|extension| self.beside(extension));
        let _ = fs::remove_file(&ready);
        let written = fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let mut command = self.command(&self.program);
        command.args(["node", "--name", self.name]).arg("--kubeconfig").arg(self.beside("yaml"));
        command.arg("--data-dir").arg(&self.folder).arg("--ready-file").arg(&ready).args(&self.more);
        // How full this machine is must not decide what tests find.
        command.arg("--eviction-hard=").stdout(Stdio::null()).stderr(written);
        let mut child = command.spawn().expect("windlass starts");
        let said = until("the node is registered", || {
            if let Some(status) = child.try_wait().expect("a child has a state") {
                panic!("windlass node ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            fs::read_to_string(&ready).ok().filter(|text| text.ends_with('\n'))
        });
        self.child = Some(child);
        assert_eq!(said.as_deref().map(str::trim), Some(self.name));
    }

    /// Ends the process by surprise.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child ends");
        }
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.beside("log")).unwrap_or_default();
            eprintln!("what windlass node logged:\n{log}");
        }
        let said = self.command(WINDLASS).args(["down", "--purge", "--data-dir", &self.data()]).output();
        self.kill();
        if !thread::panicking() {
            let said = said.expect("windlass runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            assert!(!self.folder.exists());
            let (links, rules) = (self.ask(&["ip", "-o", "link"]), self.ask(&["nft", "list", "tables"]));
            assert!(links.contains("eth0") && !links.contains("windlass0") && !links.contains("wlvx"), "{links}");
            assert!(!rules.contains("windlass"), "{rules}");
            assert_eq!(self.ask(&["ip", "route", "show", "proto", "87"]), "");
        }
    }
}

/// A kubeconfig of the node itself, signed by the cluster's authority.
fn kubeconfig(name: &str, cluster: &Cluster, network: &Network) -> String {
    kubeconfig_of(&format!("system:node:{name}"), &["system:nodes"], cluster, network)
}

fn kubeconfig_of(user: &str, groups: &[&str], cluster: &Cluster, network: &Network) -> String {
    let pki = Pki::open(&cluster.data().join("pki"), now()).expect("the cluster's keys");
    let own = pki.authority.client(user, groups, now()).expect("a certificate");
    serve::kubeconfig(&format!("https://{}:6443", network.host), &pki.authority.pem().certificate, user, &own)
}

/// A cluster without containers in the network, whose nodes get ranges.
fn control_plane(network: &Network) -> Ended {
    let listen = format!("{}:6443", network.host);
    let arguments = ["--runtime", "fake", "--listen", &listen, "--cluster-cidr", "10.88.0.0/16"];
    let mut cluster = Cluster::prepare(&arguments, Some(&network.name));
    cluster.up();
    Ended(cluster)
}

/// A second namespace, in one subnet with that of a network: the first machine there is `10.66.0.1`, this one `10.66.0.2`.
struct Beside(String);

impl Beside {
    fn new(network: &Network) -> Self {
        let (first, second) = (&*network.name, format!("{}b", network.name));
        let [here, there] = [first, &second].map(|space| format!("--net=/run/netns/{space}"));
        for words in [
            &["ip", "netns", "add", &second] as &[&str],
            &["ip", "link", "add", "eth1", "netns", first, "type", "veth", "peer", "name", "eth0", "netns", &second],
            &["nsenter", &here, "ip", "address", "add", "10.66.0.1/24", "dev", "eth1"],
            &["nsenter", &here, "ip", "link", "set", "eth1", "up"],
            &["nsenter", &there, "ip", "address", "add", "10.66.0.2/24", "dev", "eth0"],
            &["nsenter", &there, "ip", "link", "set", "lo", "up"],
            &["nsenter", &there, "ip", "link", "set", "eth0", "up"],
            &["nsenter", &there, "ip", "route", "add", "default", "via", "10.66.0.1"],
        ] {
            assert!(Command::new(words[0]).args(&words[1..]).status().expect("ip runs").success(), "{words:?}");
        }
        Self(second)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn pods_of_two_nodes_reach_each_other_by_address_and_service() {
    let network = Network::new();
    let beside = Beside::new(&network);
    let cluster = control_plane(&network);
    let cluster = &cluster.0;
    let words = "--node-ip 10.66.0.1 --node-labels disk=fast --register-with-taints gpu=a:NoSchedule --max-pods 7 \
                 --cluster-dns 10.96.0.11 --cluster-domain example.internal";
    let words: Vec<_> = words.split_whitespace().collect();
    let mut left = Worker::named("left", cluster, &network, &network.name, &words);
    let mut right = Worker::named("right", cluster, &network, &beside.0, &["--node-ip", "10.66.0.2"]);
    for worker in [&mut left, &mut right] {
        build_images(&worker.folder.join("images"), &["busybox"]);
        worker.start();
    }
    let of = |name: &str| get(cluster, "node", name)["spec"]["podCIDR"].as_str().expect("a range").to_owned();
    let ranges: BTreeSet<_> = ["node-1", "left", "right"].map(of).into();
    assert!(ranges.len() == 3 && ranges.iter().all(|range| range.starts_with("10.88.")), "{ranges:?}");
    let node = get(cluster, "node", "left");
    assert_eq!(
        (&node["metadata"]["labels"]["disk"], &node["status"]["capacity"]["pods"]),
        (&"fast".into(), &"7".into())
    );
    let taints = node["spec"]["taints"].as_array().expect("taints");
    assert!(taints.iter().any(|taint| taint["key"] == "gpu" && taint["value"] == "a"), "{node}");

    serve_on(cluster, "right");
    let address = get(cluster, "pod", "web")["status"]["podIP"].as_str().expect("an address").to_owned();
    for (name, host) in [("by-address", format!("{address}:8080")), ("by-service", SERVICE.into())] {
        let said = seen_as_itself(cluster, name, "left", &host, "true");
        assert!(said.contains("nameserver 10.96.0.11") && said.contains("svc.example.internal"), "{said}");
    }
    what_is_outside_sees_the_node(cluster, &network);
    for worker in [&left, &right] {
        let other = if worker.name == "left" { "10.66.0.2" } else { "10.66.0.1" };
        assert!(worker.ask(&["ip", "route", "show", "proto", "87"]).contains(other));
    }
    let unreached = get(cluster, "node", "right")["status"]["conditions"].clone();
    let unreached = unreached.as_array().expect("conditions").iter().find(|one| one["type"] == "NetworkUnavailable");
    assert_eq!(unreached.map(|one| &one["status"]), Some(&"False".into()));
}

/// The address of the service.
const SERVICE: &str = "10.96.0.77";

/// Runs a server on a node, and a service for it: whoever asks is told from which address.
fn serve_on(cluster: &Cluster, node: &str) {
    let script = "mkdir -p /tmp/w/cgi-bin; printf '#!/bin/sh\\necho\\necho $REMOTE_ADDR\\n' > /tmp/w/cgi-bin/who; \
                  chmod +x /tmp/w/cgi-bin/who; exec httpd -f -p 8080 -h /tmp/w";
    apply(cluster, &pod_of("web", node, script));
    let ports = json!([{"port": 80, "targetPort": 8080}]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIP": SERVICE, "selector": {"app": "web"}, "ports": ports},
    });
    apply(cluster, &service);
    until_so("the server runs", || ready(&get(cluster, "pod", "web")));
}

/// Has a pod on a node ask the server at a host, once a condition of its own holds. The server sees the pod's own address.
/// Returns what the pod said, and how it asks for names.
fn seen_as_itself(cluster: &Cluster, name: &str, node: &str, host: &str, first: &str) -> String {
    let asks = format!(
        "until {first}; do sleep 1; done; \
         until timeout 3 wget -q -O /tmp/said http://{host}/cgi-bin/who; do sleep 1; done; \
         cat /tmp/said /etc/resolv.conf > /dev/termination-log"
    );
    apply(cluster, &pod_of(name, node, &asks));
    until_so("the pod was answered", || get(cluster, "pod", name)["status"]["phase"] == "Succeeded");
    let status = &get(cluster, "pod", name)["status"];
    let said = status["containerStatuses"][0]["state"]["terminated"]["message"].as_str().expect("last words");
    // It listens on both families.
    let heard = said.lines().next().map(|line| line.trim_matches(['[', ']']).trim_start_matches("::ffff:"));
    assert_eq!(heard, status["podIP"].as_str(), "{name}: {said}");
    said.to_owned()
}

/// Their nodes are in two subnets, so that packets between pods go in packets.
fn a_node_joins_a_cluster_that_has_one() {
    let network = Network::new();
    let beside = Beside::new(&network);
    let listen = format!("{}:6443", network.host);
    let arguments = ["--listen", &listen, "--pod-routes", "vxlan"];
    let mut cluster = Ended(Cluster::prepare(&arguments, Some(&network.name)));
    build_images(&cluster.0.data().join("images"), &["busybox"]);
    cluster.0.up();
    let cluster = &cluster.0;
    let own = cluster.windlass(&["get", "nodes", "-o", "name"]).ok();
    let own = own.trim().strip_prefix("node/").expect("one node");
    // Nodes may not follow services here; somebody else may.
    cluster.windlass(&["delete", "clusterrolebinding", "windlass:node-proxier"]).ok();
    let proxy = cluster.file("proxy.yaml", &kubeconfig_of("system:kube-proxy", &[], cluster, &network));
    let proxy = proxy.to_str().expect("a path");
    let more = ["--node-ip", "10.66.0.2", "--pod-routes", "vxlan"];
    let mut right = Worker::named("right", cluster, &network, &beside.0, &more);
    build_images(&right.folder.join("images"), &["busybox"]);
    right.start();
    until_so("the node says what it lacks", || {
        let log = fs::read_to_string(right.beside("log")).unwrap_or_default();
        log.contains("bind the ClusterRole system:node-proxier to the group system:nodes")
    });
    right.kill();
    right.more.extend(["--proxy-kubeconfig".into(), proxy.into()]);
    right.start();
    let of = |name: &str| get(cluster, "node", name)["spec"]["podCIDR"].as_str().expect("a range").to_owned();
    assert_eq!([of(own), of("right")], ["10.88.0.0/24", "10.88.1.0/24"]);

    serve_on(cluster, own);
    let named = format!("nslookup web.default.svc.cluster.local | grep -q {SERVICE}");
    seen_as_itself(cluster, "by-name", "right", SERVICE, &named);
    assert!(right.ask(&["ip", "route", "show", "proto", "87"]).contains("10.88.0.0/24 via 10.88.0.0 dev wlvx1"));
    drop(right);
}

/// Nobody outside knows the way to a pod.
fn what_is_outside_sees_the_node(cluster: &Cluster, network: &Network) {
    let gateway = network.ask(&["ip", "route", "show", "default"]);
    let gateway = gateway.split_whitespace().nth(2).expect("a gateway");
    let listener = TcpListener::bind((gateway, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let outside = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("a connection");
        // What it says does not matter, but that it does.
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("an answer");
        let _ = stream.read_to_end(&mut Vec::new());
        peer.ip().to_string()
    });
    apply(
        cluster,
        &pod_of("outside", "left", &format!("exec wget -q -O /dev/termination-log http://{gateway}:{port}/")),
    );
    until_so("the pod was answered", || get(cluster, "pod", "outside")["status"]["phase"] == "Succeeded");
    assert_eq!(outside.join().expect("it was asked"), network.host);
}

/// A pod that does this on the node, once.
fn pod_of(name: &str, node: &str, script: &str) -> Value {
    let container = json!({"name": "c", "image": "registry.local/busybox:1.35", "command": ["sh", "-c", script]});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container],
        },
    })
}

fn apply(cluster: &Cluster, object: &Value) {
    let file = cluster.file("object.json", &object.to_string());
    cluster.windlass(&["apply", "-f", file.to_str().expect("a path")]).ok();
}

fn a_node_of_its_own_process_runs_pods_and_leaves_nothing() {
    let network = Network::new();
    let cluster = control_plane(&network);
    let cluster = &cluster.0;
    let mut worker = Worker::new(cluster, &network);
    build_images(&worker.folder.join("images"), &["busybox"]);
    worker.start();
    let node = get(cluster, "node", NAME);
    let addresses = node["status"]["addresses"].as_array().expect("addresses");
    assert!(addresses.iter().any(|one| one["type"] == "InternalIP" && one["address"] == *network.host), "{node}");
    until_so("the node is ready", || ready(&get(cluster, "node", NAME)));
    a_second_process_is_refused(&worker);

    run(cluster, "first", "1000077");
    let pod = get(cluster, "pod", "first");
    assert_eq!(pod["status"]["hostIP"], *network.host);
    let range = node["spec"]["podCIDR"].as_str().and_then(|range| range.strip_suffix("0/24")).expect("a range");
    assert!(pod["status"]["podIP"].as_str().is_some_and(|address| address.starts_with(range)), "{pod}");
    let (id, running) = (container(&pod), processes("1000077"));
    assert_eq!((id.starts_with("containerd://"), running.len()), (true, 1), "{pod}");

    the_cluster_reaches_into_the_node(cluster, &network);
    the_nodes_api_is_for_those_who_may(cluster, &network);

    worker.kill();
    assert_eq!(processes("1000077"), running);
    assert!(cluster.windlass(&["logs", "first"]).failed(3).contains("the agent of node worker cannot be reached"));
    worker.start();
    assert_eq!(cluster.windlass(&["logs", "first"]).ok(), "first speaks\n");
    // Once this one runs, the new agent has looked at the other, too.
    run(cluster, "second", "1000078");
    let pod = get(cluster, "pod", "first");
    assert_eq!((container(&pod), processes("1000077")), (id, running));
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);

    cluster.windlass(&["delete", "pod", "first"]).ok();
    until_so("the container has ended", || processes("1000077").is_empty());
    the_agent_ends_politely_and_its_pods_stay(&mut worker);
    drop(worker);
    assert_eq!(processes("1000078"), BTreeSet::new());
}

/// Told, not judged: `cargo xtask bench` reads what is printed, and says which program it is about.
fn what_an_agent_takes_with_fifty_pods_is_told() {
    const PODS: usize = 50;
    const REST: Duration = Duration::from_secs(10);
    let network = Network::new();
    let cluster = control_plane(&network);
    let cluster = &cluster.0;
    let mut worker = Worker::new(cluster, &network);
    if let Ok(program) = std::env::var("WINDLASS_MEASURED") {
        worker.program = program;
    }
    build_images(&worker.folder.join("images"), &["busybox"]);
    worker.start();
    until_so("the node is ready", || ready(&get(cluster, "node", NAME)));
    let pods: Vec<_> = (0..PODS).map(|at| manifest(&format!("p{at}"), "1000079")).collect();
    let file = cluster.file("pods.yaml", &pods.join("---\n"));
    cluster.windlass(&["apply", "-f", file.to_str().expect("a path")]).ok();
    until_so("the pods run", || {
        let list: Value = serde_json::from_str(&cluster.windlass(&["get", "pods", "-o", "json"]).ok()).expect("JSON");
        let pods = list["items"].as_array().expect("pods");
        pods.iter().filter(|pod| pod["status"]["phase"] == "Running" && ready(pod)).count() == PODS
    });
    // The last reports are still written, and leases renewed, while it rests.
    thread::sleep(REST);
    let pid = worker.child.as_ref().expect("the node runs").id();
    let before = ticks(pid);
    thread::sleep(REST);
    let used = Duration::from_millis(10 * (ticks(pid) - before));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let (own, whole) = (kilobytes("RssAnon:"), kilobytes("VmRSS:"));
    assert!(own > 0 && whole > own, "{status}");
    println!("agent: {own} kB of its own, {whole} kB resident with {PODS} pods; {used:?} of CPU in {REST:?}");
}

/// The CPU time of a process so far, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// Logs, commands, ports and figures, which the control plane asks the other process for.
fn the_cluster_reaches_into_the_node(cluster: &Cluster, network: &Network) {
    assert_eq!(cluster.windlass(&["logs", "first"]).ok(), "first speaks\n");
    let said = cluster.windlass(&["exec", "first", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((said.code, said.out.as_str()), (Some(7), "out\n"), "{said:?}");
    assert!(said.err.starts_with("err\n"), "{said:?}");
    cluster.windlass(&["exec", "first", "-c", "other", "--", "true"]).failed(2);

    talk(async |means| {
        let api = admin(cluster, network, &means);
        let client = Client::new(Arc::new(api), Arc::new(Identity::anonymous()));
        let open = async |what: &str, query: &[(&str, &str)]| {
            let query = query.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            client.connect("default", "first", what, query).await
        };
        // What is written comes back by way of the process, and its end is the end of the input.
        let Session::Process(mut cat) =
            open("exec", &[("command", "cat"), ("stdin", "true"), ("stdout", "true")]).await.expect("a session")
        else {
            panic!("not a process");
        };
        let mut stdin = cat.stdin.take().expect("an input");
        stdin.write_all(b"to and fro").await.expect("it takes it");
        stdin.close().await.expect("it takes the end");
        let mut said = String::new();
        cat.stdout.take().expect("an output").read_to_string(&mut said).await.expect("it speaks");
        assert_eq!((said.as_str(), cat.exit.await), ("to and fro", Exit::Code(0)));
        drop(stdin);

        let Session::Ports(ports) = open("portforward", &[("ports", "7000")]).await.expect("a session") else {
            panic!("not ports");
        };
        let mut said = String::new();
        ports.connect(7000).await.expect("a connection").read_to_string(&mut said).await.expect("it speaks");
        assert_eq!(said, "first listens\n");
        let refused = ports.connect(7001).await.expect("a connection").read_to_string(&mut said).await;
        let why = refused.map_err(|error| error.to_string());
        assert!(why.as_ref().is_err_and(|why| why.contains("7001")), "{why:?}");
    });
    let summary = proxied(cluster, network, "/stats/summary");
    assert_eq!(summary["node"]["nodeName"], NAME);
    let own = |pod: &&Value| pod["podRef"]["name"] == "first";
    let pod = summary["pods"].as_array().and_then(|pods| pods.iter().find(own)).expect("the pod is measured").clone();
    assert!(pod["memory"]["workingSetBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{pod}");
    let told = talk(async |means| {
        let target = format!("/api/v1/nodes/{NAME}/proxy/metrics/cadvisor");
        send(&admin(cluster, network, &means), "GET", &target, "").await.1
    });
    for start in ["container_memory_usage_bytes{container=\"c\",", "machine_cpu_cores{", "container_scrape_error 0"] {
        assert!(told.lines().any(|line| line.starts_with(start)), "{start}: {told}");
    }
    let usage = ask(cluster, network, "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/first");
    assert_eq!(usage["containers"][0]["name"], "c", "{usage}");
    assert_eq!(proxied(cluster, network, "/pods")["items"].as_array().map(Vec::len), Some(1));
}

/// Whoever asks the node itself says who they are, and the cluster says what they may.
fn the_nodes_api_is_for_those_who_may(cluster: &Cluster, network: &Network) {
    let pki = Pki::open(&cluster.data().join("pki"), now()).expect("the cluster's keys");
    let known = |user: &str, group: &str| {
        let own = pki.authority.client(user, &[group], now()).expect("a certificate");
        Credential::Certificate { chain: own.certificate.into(), key: own.key.into() }
    };
    let token = ask_with(cluster, network, "POST", "/api/v1/namespaces/default/serviceaccounts/default/token");
    let token = Credential::Token(token["status"]["token"].as_str().expect("a token").to_owned());
    let forbidden = |user: &str, verb: &str, parts: &str| {
        (403, format!("Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{parts}])\n"))
    };
    let account = "system:serviceaccount:default:default";
    let get = "GET";
    for (credential, method, target, expect) in [
        (Credential::Anonymous, get, "/healthz", (401, "Unauthorized".to_owned())),
        (Credential::Token("nobody's".into()), get, "/healthz", (401, "Unauthorized".to_owned())),
        (token.clone(), get, "/healthz", forbidden(account, "get", "healthz proxy")),
        (token, "POST", "/run/default/first/c?cmd=id", forbidden(account, "create", "proxy")),
        (known("eve", "devs"), get, "/stats/summary", forbidden("eve", "get", "stats")),
        (known("root", "system:masters"), get, "/healthz", (200, "ok".into())),
        (known("root", "system:masters"), "POST", "/run/default/first/c?cmd=echo+here", (200, "here\n".into())),
        (known("root", "system:masters"), get, "/nothing", (404, "404 page not found\n".into())),
    ] {
        let said = talk(async |means| {
            let access = Access {
                server: format!("https://{}:10250", network.host),
                server_name: None,
                authority: Vec::new(),
                insecure: true,
                credential: credential.clone(),
                namespace: String::new(),
            };
            let api = HttpsApi::new(&access, means).expect("a client");
            send(&api, method, target, "").await
        });
        assert_eq!(said, expect, "{target}");
    }
}

/// Runs a conversation of this process.
fn talk<T>(run: impl AsyncFnOnce(Means) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let means = Means {
            dial: Arc::new(SystemDial),
            spawn: Arc::new(TokioSpawn::current()),
            clock: Arc::new(SystemClock::new()),
        };
        run(means).await
    })
}

/// The cluster's API as its administrator.
fn admin(cluster: &Cluster, network: &Network, means: &Means) -> HttpsApi {
    let pki = Pki::open(&cluster.data().join("pki"), now()).expect("the cluster's keys");
    let own = pki.authority.client("admin", &["system:masters"], now()).expect("a certificate");
    let access = Access {
        server: format!("https://{}:6443", network.host),
        server_name: None,
        authority: pki.authority.pem().certificate.clone().into(),
        insecure: false,
        credential: Credential::Certificate { chain: own.certificate.into(), key: own.key.into() },
        namespace: String::new(),
    };
    HttpsApi::new(&access, means.clone()).expect("a client")
}

async fn send(api: &HttpsApi, method: &str, target: &str, body: &str) -> (u16, String) {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let body = body.to_owned().into();
    let request = RawRequest { method: method.into(), target: target.into(), headers, body };
    let mut reply = api.raw(request).await.expect("an answer");
    let mut said = Vec::new();
    while let Some(chunk) = reply.body.0.next().await {
        said.extend_from_slice(&chunk.expect("a body"));
    }
    (reply.code, String::from_utf8(said).expect("a text"))
}

fn ask_with(cluster: &Cluster, network: &Network, method: &str, target: &str) -> Value {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}).to_string();
    let (code, said) = talk(async |means| {
        let api = admin(cluster, network, &means);
        send(&api, method, target, if method == "POST" { &body } else { "" }).await
    });
    assert!(matches!(code, 200 | 201), "{target}: {code} {said}");
    serde_json::from_str(&said).expect("JSON")
}

fn ask(cluster: &Cluster, network: &Network, target: &str) -> Value {
    ask_with(cluster, network, "GET", target)
}

/// What the node's API says to the control plane.
fn proxied(cluster: &Cluster, network: &Network, target: &str) -> Value {
    ask(cluster, network, &format!("/api/v1/nodes/{NAME}/proxy{target}"))
}

fn a_second_process_is_refused(worker: &Worker<'_>) {
    let kubeconfig = worker.folder.with_file_name("worker.yaml");
    let words = ["node", "--kubeconfig", kubeconfig.to_str().expect("a path"), "--data-dir", &worker.data()];
    let said = worker.cluster.windlass(&words).failed(3);
    assert!(said.contains("runs the node of") && said.lines().count() == 1, "{said}");
    let elsewhere = worker.folder.with_file_name("elsewhere");
    let elsewhere = elsewhere.to_str().expect("a path");
    let fake = ["node", "--kubeconfig", words[2], "--data-dir", elsewhere, "--runtime", "fake"];
    assert!(worker.cluster.windlass(&fake).failed(2).contains("windlass up"));
    let label =
        ["node", "--kubeconfig", words[2], "--data-dir", elsewhere, "--node-labels", "node-role.kubernetes.io/a="];
    assert!(worker.cluster.windlass(&label).failed(2).contains("let an administrator set it"));
    let range = ["node", "--kubeconfig", words[2], "--runtime", "cri:/x", "--pod-cidr", "10.9.0.0/24"];
    assert!(worker.cluster.windlass(&range).failed(2).contains("gives pods addresses itself"));
    let header = ["node", "--kubeconfig", words[2], "--manifest-url", "http://h/", "--manifest-url-header", "secret"];
    let said = worker.cluster.windlass(&header).failed(2);
    assert!(said.contains("expected NAME:VALUE") && !said.contains("secret"), "{said}");
}

fn the_agent_ends_politely_and_its_pods_stay(worker: &mut Worker<'_>) {
    let before = processes("1000078");
    let mut child = worker.child.take().expect("the node runs");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a process of ours");
    let status = until("windlass node ends", || child.try_wait().expect("a child has a state"));
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert_eq!((before.len(), processes("1000078")), (1, before));
}

/// A pod that sleeps so long, on the node.
fn manifest(name: &str, seconds: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: {NAME}\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: registry.local/busybox:1.35\n    \
         command: [sh, -c, 'echo {name} speaks; while true; do echo {name} listens | nc -l -p 7000; done & exec sleep \
         {seconds}']\n"
    )
}

/// Runs a pod that sleeps so long, on the node.
fn run(cluster: &Cluster, name: &str, seconds: &str) {
    let file = cluster.file("pod.yaml", &manifest(name, seconds));
    cluster.windlass(&["apply", "-f", file.to_str().expect("a path")]).ok();
    until_so("the pod runs", || {
        let pod = get(cluster, "pod", name);
        pod["status"]["phase"] == "Running" && ready(&pod)
    });
}

fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn container(pod: &Value) -> String {
    pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default().to_owned()
}

/// The processes that sleep for so long.
fn processes(seconds: &str) -> BTreeSet<String> {
    let wanted = format!("sleep\0{seconds}\0");
    let all = fs::read_dir("/proc").expect("the processes").flatten();
    let found = all.filter(|one| fs::read(one.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes()));
    found.map(|one| one.file_name().to_string_lossy().into_owned()).collect()
}

fn get(cluster: &Cluster, kind: &str, name: &str) -> Value {
    serde_json::from_str(&cluster.windlass(&["get", kind, name, "-o", "json"]).ok()).expect("JSON")
}
