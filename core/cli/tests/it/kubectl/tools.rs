//! What people do with kubectl beyond creating and looking: editors, pruning, certificates, tokens, debugging.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::{
    Test,
    cluster::{Cluster, until_so},
};

pub(crate) const TESTS: &[Test] = &[
    ("kubectl_explains_in_words", explains_in_words),
    ("kubectl_edits_replaces_and_prunes", edits_replaces_and_prunes),
    ("kubectl_runs_waits_and_debugs", runs_waits_and_debugs),
    ("kubectl_describes_what_is_there", describes_what_is_there),
    ("kubectl_approves_certificates_and_makes_tokens", approves_certificates_and_makes_tokens),
    ("kubectl_builds_kustomizations", builds_kustomizations),
];

fn explains_in_words() {
    let cluster = Cluster::fake(&[]);
    let strategy = cluster.kubectl(&["explain", "deployment.spec.strategy"]).ok();
    for part in [
        "GROUP:      apps",
        "FIELD: strategy <DeploymentStrategy>",
        "replace existing pods",
        "Rolling update config params",
    ] {
        assert!(strategy.contains(part), "{part} in {strategy}");
    }
    // The same from the other document, which is protobuf.
    let older = cluster.kubectl(&["explain", "deployment.spec.strategy", "--output=plaintext-openapiv2"]).ok();
    assert!(older.contains("replace existing pods") && older.contains("rollingUpdate"), "{older}");
    let pods = cluster.kubectl(&["explain", "pods", "--api-version=v1"]).ok();
    assert!(pods.contains("Pod is a collection of containers"), "{pods}");
    let whole = cluster.kubectl(&["explain", "pod", "--recursive"]).ok();
    assert!(whole.contains("topologySpreadConstraints") && whole.contains("tolerationSeconds"), "{whole}");
}

fn edits_replaces_and_prunes() {
    let cluster = Cluster::fake(&[]);
    let map = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{part: one}}}}\ndata: {{a: \"1\"}}\n"
        )
    };
    let both = cluster.file("both.yaml", &format!("{}---\n{}", map("one"), map("two")));
    let one = cluster.file("one.yaml", &map("one"));
    let (both, one) = (both.to_str().expect("a path"), one.to_str().expect("a path"));
    cluster.kubectl(&["apply", "-f", both]).ok();

    let editor = cluster.file("editor", "#!/bin/sh\nsed -i 's/a: \"1\"/a: \"2\"/' \"$1\"\n");
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).expect("a program");
    let data = ["get", "cm", "one", "-o", "jsonpath={.data.a}"];
    let edited = cluster.kubectl_as(&["edit", "cm", "one"], &[("KUBE_EDITOR", editor.to_str().expect("a path"))]);
    assert_eq!((edited.ok().as_str(), cluster.kubectl(&data).ok().as_str()), ("configmap/one edited\n", "2"));

    let pruned = cluster.kubectl(&["apply", "--prune", "-l", "part=one", "-f", one]).ok();
    assert!(pruned.contains("configmap/one configured") && pruned.contains("configmap/two pruned"), "{pruned}");
    let uid = ["get", "cm", "one", "-o", "jsonpath={.metadata.uid}"];
    let before = cluster.kubectl(&uid).ok();
    cluster.kubectl(&["replace", "-f", one]).ok();
    assert_eq!(cluster.kubectl(&uid).ok(), before);
    cluster.kubectl(&["replace", "--force", "-f", one]).ok();
    assert_ne!(cluster.kubectl(&uid).ok(), before);
}

fn runs_waits_and_debugs() {
    let cluster = Cluster::fake(&[]);
    cluster.kubectl(&["run", "p", "--image=i:1", "--port=80", "--expose", "--env=A=b"]).ok();
    cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/p", "--timeout=60s"]).ok();
    assert_eq!(cluster.kubectl(&["get", "svc", "p", "-o", "jsonpath={.spec.ports[0].port}"]).ok(), "80");
    cluster.kubectl(&["debug", "p", "--image=busybox", "-c", "d", "--attach=false", "--profile=general"]).ok();
    let ephemeral = ["get", "pod", "p", "-o", "jsonpath={.spec.ephemeralContainers[0].image}"];
    assert_eq!(cluster.kubectl(&ephemeral).ok(), "busybox");
    cluster.kubectl(&["debug", "p", "--copy-to=copy", "--image=busybox", "--attach=false", "--profile=general"]).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/copy", "--timeout=60s"]).ok();
    cluster.kubectl(&["debug", "node/node-1", "--image=busybox", "--attach=false", "--profile=general"]).ok();
    assert!(cluster.kubectl(&["get", "pods", "-o", "name"]).ok().contains("pod/node-debugger-node-1-"));

    cluster.kubectl(&["create", "deployment", "d", "--image=i:1"]).ok();
    cluster.kubectl(&["autoscale", "deployment", "d", "--min=1", "--max=5", "--cpu-percent=50"]).ok();
    assert!(cluster.kubectl(&["get", "hpa", "d"]).ok().contains("<unknown>/50%"));
    let uses = ["fake.windlass.dev/cpu=250m", "fake.windlass.dev/memory=64Mi"];
    cluster.kubectl(&["annotate", "pod", "p", uses[0], uses[1]]).ok();
    until_so("the pod uses what its script says", || {
        let pods = cluster.kubectl(&["top", "pods"]).ok();
        pods.lines().any(|line| line.split_whitespace().eq(["p", "250m", "64Mi"]))
    });
    let nodes = cluster.kubectl(&["top", "nodes"]).ok();
    assert!(nodes.lines().any(|line| line.starts_with("node-1 ") && line.contains(" 250m ")), "{nodes}");
}

fn describes_what_is_there() {
    let cluster = Cluster::fake(&[]);
    cluster.kubectl(&["create", "deployment", "d", "--image=i:1", "--port=80"]).ok();
    cluster.kubectl(&["rollout", "status", "deployment/d", "--timeout=60s"]).ok();
    cluster.kubectl(&["expose", "deployment", "d"]).ok();
    until_so("the service has an endpoint", || {
        let said = cluster.kubectl(&["describe", "service", "d"]).ok();
        said.lines().any(|line| line.starts_with("Endpoints:") && line.ends_with(":80"))
    });
    for (what, part) in [
        ("deployment/d", "Scaled up replica set d-"),
        ("rs", "Created pod: d-"),
        ("pods", "Successfully assigned default/d-"),
        ("node/node-1", "Non-terminated Pods:          (1 in total)"),
        ("namespace/default", "Status:       Active"),
        ("serviceaccount/default", "Mountable secrets"),
    ] {
        let said = cluster.kubectl(&["describe", what]).ok();
        assert!(said.contains(part), "{part} in {said}");
    }
    let events = cluster.kubectl(&["events", "--for=deployment/d"]).ok();
    assert!(events.contains("ScalingReplicaSet"), "{events}");
    assert!(cluster.kubectl(&["events", "--types=Warning"]).ok().is_empty());
    let info = cluster.kubectl(&["cluster-info"]).ok();
    assert!(info.contains("control plane") && info.contains("https://127.0.0.1:"), "{info}");
    let dump = cluster.kubectl(&["cluster-info", "dump"]).ok();
    assert!(dump.contains("\"kind\": \"NodeList\"") && dump.contains("\"kind\": \"PodList\""), "{dump}");
    assert!(cluster.kubectl(&["api-versions"]).ok().contains("\nautoscaling/v2\n"));
}

/// A request for the certificate of `jane` in `devs`, made with openssl.
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHZMIGAAgEAMB4xDTALBgNVBAMMBGphbmUxDTALBgNVBAoMBGRldnMwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAQKdLchM9GclVrx60/6wcXmbdpsOBwyPay85PDZ
tnAvk1EjL7VGXBigCfETszwS60jdQk9eB/xv+mgSawyvwEDzoAAwCgYIKoZIzj0E
AwIDSAAwRQIge0imBIRCeIIKb+4tRxDLH0nPS0bEvD56SNRvYXmKBAoCIQDlFuw/
TaMSC6a2EFlp7g4nxWV9qvKP7l9ywRbH6uDnRQ==
-----END CERTIFICATE REQUEST-----
";

fn approves_certificates_and_makes_tokens() {
    use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
    let cluster = Cluster::fake(&[]);
    let csr = format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: jane}}\nspec:\n  \
         request: {}\n  signerName: kubernetes.io/kube-apiserver-client\n  usages: [client auth]\n",
        STANDARD.encode(REQUEST)
    );
    cluster.kubectl_with(&["apply", "-f", "-"], &csr).ok();
    assert!(cluster.kubectl(&["get", "csr"]).ok().contains("Pending"));
    cluster.kubectl(&["certificate", "approve", "jane"]).ok();
    assert!(cluster.kubectl(&["get", "csr"]).ok().contains("Approved"));
    assert!(cluster.kubectl(&["describe", "csr", "jane"]).ok().contains("Common Name:    jane"));
    assert!(cluster.kubectl(&["certificate", "deny", "jane"]).failed(1).contains("is already Approved"));

    until_so("the account is there", || cluster.kubectl(&["get", "serviceaccount", "default"]).code == Some(0));
    let token = cluster.kubectl(&["create", "token", "default", "--duration=10m", "--audience=x"]).ok();
    let claims = token.trim().split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: serde_json::Value = serde_json::from_slice(&claims.expect("claims")).expect("JSON");
    assert_eq!(claims["aud"], serde_json::json!(["x"]));
    let own = cluster.kubectl(&["create", "token", "default"]).ok();
    let whoami = cluster.kubectl(&["auth", "whoami", "--token", own.trim(), "--kubeconfig", bare(&cluster).as_str()]);
    assert!(whoami.ok().contains("system:serviceaccount:default:default"));
}

/// A kubeconfig without a user.
fn bare(cluster: &Cluster) -> String {
    let text = fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let without: String =
        text.lines().filter(|line| !line.contains("client-")).map(|line| format!("{line}\n")).collect();
    cluster.file("bare", &without).to_str().expect("a path").to_owned()
}

fn builds_kustomizations() {
    let cluster = Cluster::fake(&[]);
    let file = cluster.file("kustomization.yaml", "resources: [map.yaml]\nnamePrefix: x-\n");
    cluster.file("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n");
    let folder = file.parent().and_then(Path::to_str).expect("a folder");
    assert_eq!(cluster.kubectl(&["apply", "-k", folder]).ok(), "configmap/x-m created\n");
    cluster.kubectl(&["delete", "-k", folder]).ok();
}
