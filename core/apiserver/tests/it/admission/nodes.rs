//! What nodes may read and write: the authorizer of nodes and the restriction of their writes, over TLS.

use serde_json::{Value, json};

use crate::rim::{self, Answer, Rim};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A request of the node `n1`.
async fn as_node(rim: &Rim, request: &str) -> Answer {
    let (line, rest) = request.split_once('\n').unwrap_or((request, ""));
    let who = "Impersonate-User: system:node:n1\nImpersonate-Group: system:nodes";
    let rest = if rest.is_empty() { String::new() } else { format!("\n{rest}") };
    rim.send(&format!("{line}\n{who}{rest}")).await
}

async fn make(rim: &Rim, path: &str, object: &Value) {
    let made = rim.send(&format!("POST {path}\n\n{object}")).await;
    assert_eq!(made.code, 201, "{made:?}");
}

/// A cluster with nodes and a pod on each.
async fn start() -> Rim {
    let rim = rim::start().await;
    for account in ["default", "robot"] {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}});
        make(&rim, "/api/v1/namespaces/default/serviceaccounts", &account).await;
    }
    for name in ["mine", "other", "volume"] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
        make(&rim, "/api/v1/namespaces/default/secrets", &secret).await;
    }
    for (name, node, secret) in [("a", "n1", "mine"), ("b", "n2", "other")] {
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
        make(&rim, "/api/v1/nodes", &object).await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": node,
            "serviceAccountName": if node == "n1" { "robot" } else { "default" },
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "s", "secret": {"secretName": secret}},
                {"name": "v", "persistentVolumeClaim": {"claimName": format!("claim-{name}")}}]}});
        make(&rim, PODS, &pod).await;
    }
    rim
}

#[track_caller]
fn refused(answer: &Answer, why: &str) {
    let said = answer.json();
    assert_eq!(answer.code, 403, "{said}");
    assert!(said["message"].as_str().unwrap().contains(why), "{said}");
}

#[tokio::test]
async fn a_node_reads_what_its_pods_use_and_nothing_else() {
    let rim = start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(as_node(&rim, &format!("GET {secrets}/mine")).await.code, 200);
    refused(
        &as_node(&rim, &format!("GET {secrets}/other")).await,
        "no relationship found between node 'n1' and this object",
    );
    refused(&as_node(&rim, &format!("GET {secrets}")).await, "No Object name found");
    assert_eq!(as_node(&rim, &format!("GET {secrets}?fieldSelector=metadata.name%3Dmine")).await.code, 200);
    refused(&as_node(&rim, &format!("DELETE {secrets}/mine")).await, "can only read resources of this type");
    assert_eq!(as_node(&rim, "GET /api/v1/namespaces/default/configmaps/kube-root-ca.crt").await.code, 404);

    assert_eq!(as_node(&rim, "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.code, 200);
    let all = as_node(&rim, "GET /api/v1/pods").await;
    refused(&all, "can only list/watch pods with spec.nodeName field selector");
    assert_eq!(as_node(&rim, &format!("GET {PODS}/a")).await.code, 200);
    refused(&as_node(&rim, &format!("GET {PODS}/b")).await, "no relationship found");
    assert_eq!(as_node(&rim, "GET /api/v1/nodes/n1").await.code, 200);
    refused(&as_node(&rim, "GET /api/v1/nodes/n2").await, "node 'n1' cannot read 'n2', only its own Node object");
    assert_eq!(as_node(&rim, "GET /api/v1/services").await.code, 200);

    // When the pod is gone, so is the way to its secret.
    assert_eq!(rim.send(&format!("DELETE {PODS}/a?gracePeriodSeconds=0")).await.code, 200);
    refused(&as_node(&rim, &format!("GET {secrets}/mine")).await, "no relationship found");
}

#[tokio::test]
async fn a_node_reads_the_secrets_of_volumes_by_their_claims() {
    let rim = start().await;
    let volume = |name: &str, claim: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": claim},
            "csi": {"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"namespace": "default", "name": "volume"}}}})
    };
    let secret = "GET /api/v1/namespaces/default/secrets/volume";
    make(&rim, "/api/v1/persistentvolumes", &volume("v2", "claim-b")).await;
    refused(&as_node(&rim, secret).await, "no relationship found");
    refused(&as_node(&rim, "GET /api/v1/persistentvolumes/v2").await, "no relationship found");
    make(&rim, "/api/v1/persistentvolumes", &volume("v1", "claim-a")).await;
    assert_eq!(as_node(&rim, secret).await.code, 200);
    assert_eq!(as_node(&rim, "GET /api/v1/persistentvolumes/v1").await.code, 200);
}

#[tokio::test]
async fn a_node_gets_tokens_of_the_pods_on_it() {
    let rim = start().await;
    let of = async |account: &str, pod: &str| {
        let uid = rim.send(&format!("GET {PODS}/{pod}")).await.json()["metadata"]["uid"].clone();
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}});
        as_node(&rim, &format!("POST /api/v1/namespaces/default/serviceaccounts/{account}/token\n\n{request}")).await
    };
    assert_eq!(of("robot", "a").await.code, 201);
    refused(&of("default", "b").await, "no relationship found");
    refused(&of("robot", "b").await, "node requested token bound to a pod scheduled on a different node");
    let unbound = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let said =
        as_node(&rim, &format!("POST /api/v1/namespaces/default/serviceaccounts/robot/token\n\n{unbound}")).await;
    refused(&said, "node requested token not bound to a pod");
}

#[tokio::test]
async fn a_node_writes_itself_and_its_pods() {
    let rim = start().await;
    let merge =
        |path: &str, body: &Value| format!("PATCH {path}\nContent-Type: application/merge-patch+json\n\n{body}");
    let status = json!({"status": {"phase": "Running"}});
    assert_eq!(as_node(&rim, &merge(&format!("{PODS}/a/status"), &status)).await.code, 200);
    let other = as_node(&rim, &merge(&format!("{PODS}/b/status"), &status)).await;
    refused(&other, "node \"n1\" can only update pod status for pods with spec.nodeName set to itself");
    let labels = |name: &str| json!({"metadata": {"labels": {name: "x"}}});
    assert_eq!(as_node(&rim, &merge("/api/v1/nodes/n1", &labels("example.com/a"))).await.code, 200);
    let restricted = as_node(&rim, &merge("/api/v1/nodes/n1", &labels("node-restriction.kubernetes.io/a"))).await;
    refused(&restricted, "is not allowed to modify labels: node-restriction.kubernetes.io/a");
    let other = as_node(&rim, &merge("/api/v1/nodes/n2", &labels("example.com/a"))).await;
    refused(&other, "node \"n1\" is not allowed to modify node \"n2\"");
    let untainted = as_node(&rim, &merge("/api/v1/nodes/n1", &json!({"spec": {"taints": []}}))).await;
    refused(&untainted, "node \"n1\" is not allowed to modify taints");
    refused(
        &as_node(&rim, &format!("DELETE {PODS}/b")).await,
        "node \"n1\" can only delete pods with spec.nodeName set to itself",
    );
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
    refused(&as_node(&rim, &format!("POST {PODS}\n\n{pod}")).await, "can only create mirror pods");
    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    assert_eq!(as_node(&rim, &format!("POST {leases}\n\n{}", lease("n1"))).await.code, 201);
    let other = as_node(&rim, &format!("POST {leases}\n\n{}", lease("n2"))).await;
    refused(&other, "can only access node lease with the same name as the requesting node");
    assert_eq!(as_node(&rim, &format!("DELETE {PODS}/a?gracePeriodSeconds=0")).await.code, 200);
}
