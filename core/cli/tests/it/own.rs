//! Our own commands, against fake nodes.

use std::{fs, os::unix::fs::PermissionsExt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use windlass::apiserver::http::tls::Authority;

use crate::{
    Test,
    cluster::{Cluster, manifests, now, until_so},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_cluster_is_there_once_its_ready_file_is", a_cluster_is_there_once_its_ready_file_is),
    ("the_guestbook_is_applied_shown_and_deleted", the_guestbook_is_applied_shown_and_deleted),
    ("a_second_process_on_one_directory_is_refused", a_second_process_on_one_directory_is_refused),
    ("several_nodes_share_the_pods", several_nodes_share_the_pods),
    ("pods_are_scheduled_as_a_file_says", pods_are_scheduled_as_a_file_says),
    ("a_pod_without_a_node_is_explained", a_pod_without_a_node_is_explained),
    ("exit_codes_say_who_is_to_blame", exit_codes_say_who_is_to_blame),
    ("a_bad_manifest_is_named_and_changes_nothing", a_bad_manifest_is_named_and_changes_nothing),
    ("custom_resources_are_used_like_built_in_ones", custom_resources_are_used_like_built_in_ones),
    ("what_is_served_is_chosen_by_flags", what_is_served_is_chosen_by_flags),
    ("policies_of_files_are_followed_until_the_end", policies_of_files_are_followed_until_the_end),
    ("certificates_in_files_are_read_again_when_they_change", certificates_in_files_are_read_again_when_they_change),
    ("logs_and_commands_come_from_containers", logs_and_commands_come_from_containers),
    ("what_a_machine_lacks_is_said_in_one_line", what_a_machine_lacks_is_said_in_one_line),
    ("down_ends_a_cluster_and_purge_removes_it", down_ends_a_cluster_and_purge_removes_it),
];

fn a_cluster_is_there_once_its_ready_file_is() {
    let mut cluster = Cluster::fake(&[]);
    assert!(cluster.windlass(&["status"]).ok().starts_with("cluster "));
    let mode = fs::metadata(cluster.kubeconfig()).expect("a kubeconfig").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    cluster.end(true);
    let millis: u64 = cluster.up().trim().parse().expect("milliseconds");
    assert!(millis > 0);
}

fn the_guestbook_is_applied_shown_and_deleted() {
    let cluster = Cluster::fake(&[]);
    let folder = manifests();
    let folder = folder.to_str().expect("a path");
    let said = cluster.windlass(&["apply", "-f", folder]).ok();
    assert!(said.contains("deployment.apps/frontend created\n"), "{said}");
    let said = cluster.windlass(&["apply", "-f", folder]).ok();
    assert!(said.contains("deployment.apps/frontend applied\n"), "{said}");
    until_so("every deployment is available", || {
        cluster.windlass(&["status", "--line"]).ok().contains("deployments: 3 of 3 available")
    });

    let get = |words: &[&str]| cluster.windlass(&[&["get", "-n", "guestbook"], words].concat());
    assert_eq!(get(&["deploy", "-o", "name"]).ok().lines().count(), 3);
    let table = get(&["deployment/frontend"]).ok();
    let cells: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    assert_eq!(cells[1][..4], ["frontend", "3/3", "3", "3"]);
    assert!(get(&["pods", "-l", "app=frontend", "-o", "wide"]).ok().contains("node-1"));
    let service: serde_json::Value =
        serde_json::from_str(&get(&["svc", "guestbook", "-o", "json"]).ok()).expect("JSON");
    assert_eq!((&service["kind"], &service["spec"]["ports"][0]["nodePort"]), (&"Service".into(), &30080.into()));
    assert!(get(&["cm", "nginx", "-o", "yaml"]).ok().contains("kind: ConfigMap\n"));
    let all = get(&["all"]).ok();
    assert!(
        all.contains("pod/redis-") && all.contains("service/redis") && all.contains("deployment.apps/redis"),
        "{all}"
    );

    cluster.windlass(&["delete", "-f", folder]).ok();
    assert!(cluster.windlass(&["get", "pods", "-A"]).failed_or_empty());
    cluster.windlass(&["get", "namespace", "guestbook"]).failed(4);
}

impl crate::cluster::Said {
    /// Whether nothing was shown.
    fn failed_or_empty(self) -> bool {
        self.code != Some(0) || self.out.is_empty()
    }
}

fn a_second_process_on_one_directory_is_refused() {
    let cluster = Cluster::fake(&[]);
    let second = cluster.windlass(&["up", "--runtime", "fake", "--listen", "127.0.0.1:0"]);
    let complaint = second.failed(3);
    assert!(complaint.starts_with("windlass: ") && complaint.lines().count() == 1, "{complaint}");
    cluster.windlass(&["status"]).ok();
}

fn several_nodes_share_the_pods() {
    let cluster = Cluster::fake(&["--nodes", "3"]);
    until_so("three nodes are ready", || cluster.windlass(&["status", "--line"]).ok().contains("nodes: 3 of 3 ready"));
    let manifest = cluster.file(
        "spread.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: spread}\nspec:\n  replicas: 6\n  \
         selector: {matchLabels: {app: s}}\n  template:\n    metadata: {labels: {app: s}}\n    \
         spec: {containers: [{name: c, image: i}]}\n",
    );
    cluster.windlass(&["apply", "-f", manifest.to_str().expect("a path")]).ok();
    until_so("six pods run", || cluster.windlass(&["status", "--line"]).ok().contains("6 running"));
    let pods = cluster.windlass(&["get", "pods", "-o", "wide"]).ok();
    for node in ["node-1", "node-2", "node-3"] {
        assert_eq!(pods.lines().filter(|line| line.contains(node)).count(), 2, "{pods}");
    }
    let more = cluster.windlass(&["up", "--nodes", "2"]).failed(2);
    assert!(more.contains("--runtime fake"), "{more}");
}

fn pods_are_scheduled_as_a_file_says() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("scheduler.yaml");
    let write = |more: &str| {
        let text = format!("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n{more}");
        fs::write(&file, text).expect("a file is written");
    };
    let path = file.to_str().expect("a path");
    write("profiles: [{schedulerName: packed, plugins: {score: {enabled: [{name: Mine}]}}}]\n");
    let refused = Cluster::prepare(&[], None).windlass(&["up", "--runtime", "fake", "--scheduler-config", path]);
    let said = refused.failed(2);
    let expect = format!(
        "windlass: cannot schedule as {path} says: profiles[0].plugins.score.enabled[0].name: there is no plugin \"Mine\""
    );
    assert!(said.starts_with(&expect), "{said}");

    let strategy = "scoringStrategy: {type: MostAllocated}";
    let args = format!("[{{name: NodeResourcesFit, args: {{{strategy}}}}}]");
    let score = "{disabled: [{name: '*'}], enabled: [{name: NodeResourcesFit}]}";
    write(&format!("profiles: [{{schedulerName: packed, plugins: {{score: {score}}}, pluginConfig: {args}}}]\n"));
    let cluster = Cluster::fake(&["--nodes", "3", "--scheduler-config", path]);
    until_so("three nodes are ready", || cluster.windlass(&["status", "--line"]).ok().contains("nodes: 3 of 3 ready"));
    let pod = |at: usize| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{at}}}\nspec: {{schedulerName: packed, \
             containers: [{{name: c, image: i, resources: {{requests: {{cpu: 2}}}}}}]}}\n---\n"
        )
    };
    let manifest = cluster.file("packed.yaml", &(0..6).map(pod).collect::<String>());
    cluster.windlass(&["apply", "-f", manifest.to_str().expect("a path")]).ok();
    until_so("six pods run", || cluster.windlass(&["status", "--line"]).ok().contains("6 running"));
    let pods = cluster.windlass(&["get", "pods", "-o", "wide"]).ok();
    let on = |node: &str| pods.lines().filter(|line| line.contains(node)).count();
    let mut counts = ["node-1", "node-2", "node-3"].map(on);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 6], "{pods}");
}

fn exit_codes_say_who_is_to_blame() {
    let mut cluster = Cluster::fake(&[]);
    cluster.windlass(&["get", "pod", "absent"]).failed(4);
    cluster.windlass(&["delete", "pod", "absent"]).failed(4);
    cluster.windlass(&["delete", "pod", "absent", "--ignore-not-found"]).ok();
    let unknown = cluster.windlass(&["get", "widgets"]).failed(2);
    assert_eq!(
        unknown,
        "windlass: no resource is called \"widgets\": it is neither built in nor defined in the cluster\n"
    );
    cluster.windlass(&["get"]).failed(2);
    cluster.end(true);
    let away = cluster.windlass(&["status"]).failed(3);
    assert!(away.contains("does not answer"), "{away}");
}

fn a_bad_manifest_is_named_and_changes_nothing() {
    let cluster = Cluster::fake(&[]);
    let first = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n";
    let apply = |name: &str, second: &str| {
        let file = cluster.file(name, &format!("{first}{second}"));
        cluster.windlass(&["apply", "-f", file.to_str().expect("a path")])
    };
    let broken = apply("broken.yaml", "apiVersion: v1\nkind: [\n").failed(2);
    assert!(broken.contains("broken.yaml, document 2: "), "{broken}");
    cluster.windlass(&["get", "cm", "a"]).failed(4);

    let refused = apply(
        "refused.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: Odd, ports: [{port: 80}]}\n",
    );
    assert!(refused.out.contains("configmap/a created"), "{refused:?}");
    assert!(refused.err.contains("refused.yaml, document 2: ") && refused.err.contains("spec.type"), "{refused:?}");
    assert_eq!(refused.code, Some(2));
}

fn custom_resources_are_used_like_built_in_ones() {
    let cluster = Cluster::fake(&[]);
    let file = cluster.file(
        "widgets.yaml",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n\
         spec:\n  group: example.com\n  scope: Namespaced\n  names: {plural: widgets, kind: Widget, shortNames: [wd], \
         categories: [all]}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    \
         additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]\n    schema: {openAPIV3Schema: \
         {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}\n\
         ---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 3}\n",
    );
    let file = file.to_str().expect("a path");
    let said = cluster.windlass(&["apply", "-f", file]).ok();
    let expect =
        "customresourcedefinition.apiextensions.k8s.io/widgets.example.com created\nwidget.example.com/a created\n";
    assert_eq!(said, expect);
    let said = cluster.windlass(&["apply", "-f", file]).ok();
    assert!(said.contains("widget.example.com/a applied"), "{said}");
    for words in [&["get", "wd"][..], &["get", "widget", "a"], &["get", "widgets.v1.example.com/a"]] {
        assert_eq!(cluster.windlass(words).ok(), "NAME   SIZE\na      3\n", "{words:?}");
    }
    assert_eq!(cluster.windlass(&["get", "wd", "-A"]).ok(), "NAMESPACE   NAME   SIZE\ndefault     a      3\n");
    assert_eq!(cluster.windlass(&["get", "wd", "-o", "name"]).ok(), "widget.example.com/a\n");
    let object: serde_json::Value =
        serde_json::from_str(&cluster.windlass(&["get", "wd", "a", "-o", "json"]).ok()).expect("JSON");
    assert_eq!((&object["kind"], &object["spec"]["size"]), (&"Widget".into(), &3.into()));
    assert!(cluster.windlass(&["get", "all"]).ok().contains("widget.example.com/a"));
    cluster.windlass(&["get", "wd", "b"]).failed(4);
    assert_eq!(cluster.windlass(&["get", "wd", "-l", "app=x"]).ok(), "");

    let bad = cluster.file(
        "bad.yaml",
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: b}\nspec: {size: big}\n---\n\
         apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: c}\n",
    );
    let refused = cluster.windlass(&["apply", "-f", bad.to_str().expect("a path")]);
    assert!(refused.err.contains("bad.yaml, document 1: ") && refused.err.contains("spec.size"), "{refused:?}");
    assert!(refused.err.contains("bad.yaml, document 2: ") && refused.err.contains("\"Gadget\""), "{refused:?}");
    assert_eq!(refused.code, Some(2));

    cluster.windlass(&["delete", "-f", file]).ok();
    cluster.windlass(&["get", "wd"]).failed(2);
    cluster.windlass(&["delete", "-f", file, "--ignore-not-found"]).ok();
}

fn what_is_served_is_chosen_by_flags() {
    let cluster = Cluster::fake(&[
        "--runtime-config",
        "api/beta=true,batch/v1=false",
        "--feature-gates",
        "WatchList=true",
        "--advertise-address",
        "192.0.2.7",
    ]);
    let get = |path: &str| cluster.windlass(&["get", path]);
    let endpoints = cluster.windlass(&["get", "endpoints", "kubernetes", "-n", "default", "-o", "json"]).ok();
    assert!(endpoints.contains("192.0.2.7"), "{endpoints}");
    get("jobs").failed(4);
    assert!(get("deployments").code == Some(0));
    let up =
        |words: &[&str]| cluster.windlass(&[&["up", "--runtime", "fake", "--listen", "127.0.0.1:0"], words].concat());
    let gate = up(&["--feature-gates", "WatchLst=true"]).failed(2);
    assert_eq!(gate, "windlass: unrecognized feature gate: WatchLst: did you mean WatchList?\n");
    let version = up(&["--runtime-config", "bach/v1=true"]).failed(2);
    assert_eq!(version, "windlass: runtime-config: unknown api groups bach: did you mean batch/v1?\n");
    let advertised = up(&["--advertise-address", "127.0.0.1"]).failed(2);
    assert!(advertised.contains("cannot be advertised at 127.0.0.1: may not be in the loopback range"), "{advertised}");
    let short = up(&["--eviction-hard", "memory.available<1Gi"]).failed(2);
    assert!(short.contains("--eviction-hard and its like need real containers"), "{short}");
    let signal = up(&["--eviction-hard", "memory<1Gi"]).failed(2);
    assert!(signal.contains("unsupported eviction signal memory; there are memory.available, "), "{signal}");
    let login = up(&["--oidc-issuer-url", "https://issuer.example.com"]).err;
    assert!(
        login.starts_with("windlass: --oidc-issuer-url: logging in with tokens of other issuers is not supported"),
        "{login}"
    );
    let rest = up(&["--encryption-provider-config", "absent.yaml"]).err;
    assert!(rest.contains("put the data directory on an encrypted file system"), "{rest}");
    let key = up(&["--tls-cert-file", "a.crt", "--tls-private-key-file", "absent.key"]).err;
    assert!(key.contains("a.crt"), "{key}");
}

fn policies_of_files_are_followed_until_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("a file is written");
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).expect("a folder");
    let refuse = |name: &str| {
        write(
            "manifests/policy.yaml",
            format!(
                "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\n\
                 metadata: {{name: maps.static.k8s.io}}\nspec:\n  matchConstraints:\n    resourceRules:\n    \
                 - {{apiGroups: [''], apiVersions: ['*'], operations: [CREATE], resources: [configmaps]}}\n  \
                 validations:\n  - {{expression: \"object.metadata.name != '{name}'\", message: it is kept}}\n---\n\
                 apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\n\
                 metadata: {{name: maps.static.k8s.io}}\n\
                 spec: {{policyName: maps.static.k8s.io, validationActions: [Deny]}}\n"
            ),
        );
    };
    refuse("odd");
    write(
        "admission.yaml",
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n\
             - name: ValidatingAdmissionPolicy\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n    \
             kind: ValidatingAdmissionPolicyConfiguration\n    staticManifestsDir: {}\n",
            manifests.display()
        ),
    );
    let file = folder.path().join("admission.yaml");
    let mut cluster = Cluster::fake(&[
        "--feature-gates",
        "ManifestBasedAdmissionControlConfig=true",
        "--admission-control-config-file",
        file.to_str().expect("a path"),
    ]);
    let made = |name: &str| {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        let file = cluster.file("map.yaml", &text);
        let said = cluster.windlass(&["apply", "-f", file.to_str().expect("a path")]);
        assert!(said.code == Some(0) || said.err.contains("it is kept"), "{said:?}");
        said.code == Some(0)
    };
    assert!(!made("odd") && made("even"));
    refuse("even-more");
    until_so("the file is read again", || made("odd"));
    assert!(!made("even-more"));
    // Following ends with the cluster.
    cluster.end(true);
}

fn certificates_in_files_are_read_again_when_they_change() {
    let now = now();
    let first = Authority::generate("first-ca", now).expect("an authority");
    let second = Authority::generate("second-ca", now).expect("an authority");
    let sign = |authority: &Authority| authority.server("given", &["localhost"], now).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
    let write = |authority: &Authority| {
        let signed = sign(authority);
        fs::write(&certificate, signed.certificate).expect("a file is written");
        fs::write(&key, signed.key).expect("a file is written");
    };
    write(&first);
    let path = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
    let cluster = Cluster::fake(&["--tls-cert-file", &path(&certificate), "--tls-private-key-file", &path(&key)]);
    let own = fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let port = own.lines().find_map(|line| line.trim().strip_prefix("server: https://127.0.0.1:")).expect("a port");
    let reaching = |name: &str, authority: &Authority| {
        let trusted = STANDARD.encode(&authority.pem().certificate);
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://localhost:{port}\n    \
             certificate-authority-data: {trusted}\nusers:\n- name: u\n  user: {{token: wrong}}\ncontexts:\n- name: x\n  \
             context: {{cluster: c, user: u}}\ncurrent-context: x\n"
        );
        let file = folder.path().join(format!("{name}.yaml"));
        fs::write(&file, text).expect("a file is written");
        path(&file)
    };
    // Whoever is refused by name was let in by certificate.
    let reached = |kubeconfig: &str| {
        let code = cluster.windlass(&["get", "nodes", "--kubeconfig", kubeconfig]).code;
        assert!(matches!(code, Some(3 | 4)), "{code:?}");
        code == Some(4)
    };
    let (by_first, by_second) = (reaching("first", &first), reaching("second", &second));
    assert!(reached(&by_first) && !reached(&by_second));
    write(&second);
    until_so("the new certificate is shown", || reached(&by_second));
    assert!(!reached(&by_first));
    // The cluster's own certificate is still there for those who come by address.
    cluster.windlass(&["status"]).ok();
}

fn logs_and_commands_come_from_containers() {
    let cluster = Cluster::fake(&[]);
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i:1}]}\n";
    let pod = cluster.file("pod.yaml", pod);
    cluster.windlass(&["apply", "-f", pod.to_str().expect("a path")]).ok();
    until_so("the pod runs", || cluster.windlass(&["get", "pod", "p"]).ok().contains("Running"));
    assert_eq!(cluster.windlass(&["logs", "p"]).ok(), "c runs i:1\n");
    assert_eq!(cluster.windlass(&["exec", "p", "--", "echo", "a", "b"]).ok(), "a b\n");
    assert_eq!(cluster.windlass(&["exec", "p", "--", "exit", "3"]).code, Some(3));
    let unknown = cluster.windlass(&["exec", "p", "--", "nonsense"]).failed(127);
    assert_eq!(unknown, "nonsense: not found\n");
    cluster.windlass(&["exec", "absent", "--", "true"]).failed(4);
}

fn what_a_machine_lacks_is_said_in_one_line() {
    let cluster = Cluster::prepare(&[], None);
    let socket = cluster.data().join("no.sock");
    let runtime = format!("cri:{}", socket.display());
    let up = cluster.windlass(&["up", "--runtime", &runtime, "--listen", "127.0.0.1:0"]).failed(3);
    assert!(up.contains("--runtime fake") && up.lines().count() == 1, "{up}");
    let root = nix::unistd::geteuid().is_root();
    assert_eq!(up.contains("no container runtime answers at"), root, "{up}");
    let elsewhere = cluster.data().with_file_name("absent");
    let status = cluster.windlass(&["status", "--kubeconfig", elsewhere.to_str().expect("a path")]).failed(3);
    assert!(status.contains("windlass up") && status.lines().count() == 1, "{status}");
}

fn a_pod_without_a_node_is_explained() {
    let cluster = Cluster::fake(&[]);
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: big}\nspec:\n  containers:\n  - name: c\n    image: i\n    \
               resources: {requests: {cpu: 9000}}\n";
    let file = cluster.file("pod.yaml", pod);
    cluster.windlass(&["apply", "-f", file.to_str().expect("a path")]).ok();
    until_so("the pod is told what would help", || {
        let pod = cluster.windlass(&["get", "pod", "big", "-o", "json"]).ok();
        pod.contains("It would fit with the smallest change: ")
    });
    let told = cluster.windlass(&["explain", "pod", "big"]).ok();
    assert!(
        told.starts_with("Pod default/big fits on none of 1 nodes; it would fit with the smallest change: "),
        "{told}"
    );
    assert!(told.contains("NodeResourcesFit") && told.contains("cpu: 9k requested"), "{told}");
    let json: serde_json::Value =
        serde_json::from_str(&cluster.windlass(&["explain", "pod/big", "-o", "json"]).ok()).expect("JSON");
    assert_eq!((&json["verdict"], &json["nodes"][0]["fits"]), (&"Unschedulable".into(), &false.into()));
    cluster.windlass(&["explain", "node", "node-1"]).failed(2);
}

fn down_ends_a_cluster_and_purge_removes_it() {
    let mut cluster = Cluster::fake(&[]);
    let map = cluster.file("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n");
    cluster.windlass(&["apply", "-f", map.to_str().expect("a path")]).ok();
    let said = cluster.windlass(&["down"]).ok();
    assert!(said.contains("is down"), "{said}");
    cluster.ended();

    cluster.up();
    cluster.windlass(&["get", "cm", "kept"]).ok();
    cluster.windlass(&["down", "--purge"]).ok();
    cluster.ended();
    assert!(!cluster.data().exists());
    cluster.windlass(&["down", "--purge"]).ok();

    fs::create_dir(cluster.data()).expect("a folder");
    fs::write(cluster.data().join("thesis.txt"), "years of work").expect("a file");
    cluster.windlass(&["down", "--purge"]).failed(2);
    assert!(cluster.data().join("thesis.txt").exists());
}
