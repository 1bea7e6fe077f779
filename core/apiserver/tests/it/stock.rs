//! What a stock kube-scheduler and kube-controller-manager ask of a server, as they ask it: over HTTP/2, in protobuf, each under its
//! own identity and with no more rights than upstream's default roles give it. The programs themselves are not run here.

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use windlass_api::protobuf;

use crate::rim::{self, Answer, Rim};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// What typed clients of client-go accept.
const TYPED: &str = "application/vnd.kubernetes.protobuf,application/json";
/// What its metadata clients accept: the garbage collector and the quota controller follow everything that way.
const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A program, by whom it is to the server.
struct Program<'r> {
    rim: &'r Rim,
    user: &'static str,
}

impl Program<'_> {
    async fn send(&self, head: &str, accept: &str, body: (&str, Bytes)) -> hyper::Response<hyper::body::Incoming> {
        let (method, path) = head.split_once(' ').unwrap();
        let request = hyper::Request::builder().method(method).uri(format!("https://localhost{path}"));
        let request = request.header("impersonate-user", self.user).header("accept", accept);
        let request = request.header("impersonate-group", "system:authenticated").header("content-type", body.0);
        let io = self.rim.connect(true, b"h2").await;
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::runtime::Handle::current().spawn(connection);
        sender.send_request(request.body(Full::new(body.1)).unwrap()).await.unwrap()
    }

    /// A typed request: the object goes out in protobuf and comes back so.
    #[track_caller]
    fn typed(&self, head: &str, object: &Value, code: u16) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        let kind = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let body = match protobuf::message_of(kind.0, kind.1) {
            Some(message) => protobuf::encode(object, message).unwrap().into(),
            None => Bytes::new(),
        };
        let head = head.to_owned();
        async move {
            let answer = rim::read(self.send(&head, TYPED, (PROTOBUF, body)).await).await;
            assert_eq!(answer.code, code, "{place}: {head}: {}", shown(&answer));
            assert_eq!(answer.header("content-type"), PROTOBUF, "{place}: {head}");
            protobuf::decode(&answer.body).unwrap()
        }
    }

    async fn get(&self, path: &str, code: u16) -> Value {
        self.typed(&format!("GET {path}"), &Value::Null, code).await
    }

    /// Follows a collection as a reflector does since client-go 0.35; the events until those of the beginning end.
    async fn reflect(&self, path: &str, accept: &str) -> Vec<(String, Value)> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let query = "allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=480&watch=true";
        let answer = self.send(&format!("GET {path}{separator}{query}"), accept, (PROTOBUF, Bytes::new())).await;
        let kind = answer.headers().get("content-type").cloned();
        assert_eq!(answer.status(), 200, "{path} as {}", self.user);
        assert_eq!(kind.unwrap(), "application/vnd.kubernetes.protobuf;stream=watch", "{path}");
        let (mut body, mut buffer, mut seen) = (answer.into_body(), Vec::new(), Vec::new());
        loop {
            while let Some(event) = frame(&mut buffer) {
                let ends = event.1["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true";
                if ends {
                    return seen;
                }
                seen.push(event);
            }
            let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
            buffer.extend_from_slice(&chunk);
        }
    }
}

fn shown(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// The next event of a watch's bytes: a length, a type and an enveloped object.
fn frame(buffer: &mut Vec<u8>) -> Option<(String, Value)> {
    let length = usize::try_from(u32::from_be_bytes(buffer.get(..4)?.try_into().unwrap())).unwrap();
    let event = Bytes::copy_from_slice(buffer.get(4..4 + length)?);
    buffer.drain(..4 + length);
    let (kind, rest) = field(event, 1);
    let (extension, _) = field(rest, 2);
    let (raw, _) = field(extension, 1);
    Some((String::from_utf8(kind.to_vec()).unwrap(), protobuf::decode(&raw).unwrap()))
}

/// A field of bytes at the start of a message, and what follows it.
fn field(mut message: Bytes, number: u8) -> (Bytes, Bytes) {
    assert_eq!(message.get_u8(), number << 3 | 2);
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = message.get_u8();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    (message.split_to(length), message)
}

fn lease(name: &str, holder: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 0,
            "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z"}})
}

/// Leader election: the lease is missed, made, read and renewed.
async fn elected(program: &Program<'_>, name: &str) {
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let missing = program.get(&format!("{leases}/{name}"), 404).await;
    assert_eq!((&missing["kind"], &missing["reason"]), (&json!("Status"), &json!("NotFound")));
    program.typed(&format!("POST {leases}"), &lease(name, "a_1"), 201).await;
    let mut held = program.get(&format!("{leases}/{name}"), 200).await;
    held["spec"]["renewTime"] = "2026-01-02T03:04:07.000000Z".into();
    let renewed = program.typed(&format!("PUT {leases}/{name}"), &held, 200).await;
    assert_eq!(renewed["spec"]["renewTime"], "2026-01-02T03:04:07.000000Z");
    // Another candidate whose state is older loses.
    held["spec"]["holderIdentity"] = "b_2".into();
    let late = program.typed(&format!("PUT {leases}/{name}"), &held, 409).await;
    assert_eq!(late["reason"], "Conflict");
}

async fn prepare(rim: &Rim) {
    for (path, object) in [
        ("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})),
        ("/api/v1/nodes", json!({"metadata": {"name": "n1"}})),
        (
            "/api/v1/namespaces/default/pods",
            json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}),
        ),
    ] {
        assert_eq!(rim.send(&format!("POST {path}\n\n{object}")).await.code, 201, "{path}");
    }
}

#[tokio::test]
async fn a_stock_scheduler_is_answered() {
    let rim = rim::start().await;
    prepare(&rim).await;
    let scheduler = Program { rim: &rim, user: "system:kube-scheduler" };
    elected(&scheduler, "kube-scheduler").await;
    // Its informers.
    let waiting = "status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
    let pods = scheduler.reflect(&format!("/api/v1/pods?fieldSelector={waiting}"), TYPED).await;
    assert_eq!((pods[0].0.as_str(), &pods[0].1["metadata"]["name"]), ("ADDED", &json!("p")));
    assert_eq!(scheduler.reflect("/api/v1/nodes", TYPED).await.len(), 1);
    for path in [
        "/api/v1/namespaces",
        "/api/v1/services",
        "/api/v1/replicationcontrollers",
        "/api/v1/persistentvolumes",
        "/api/v1/persistentvolumeclaims",
        "/apis/apps/v1/replicasets",
        "/apis/apps/v1/statefulsets",
        "/apis/policy/v1/poddisruptionbudgets",
        "/apis/storage.k8s.io/v1/storageclasses",
        "/apis/storage.k8s.io/v1/csinodes",
        "/apis/storage.k8s.io/v1/csidrivers",
        "/apis/storage.k8s.io/v1/csistoragecapacities",
        "/apis/storage.k8s.io/v1/volumeattachments",
        "/apis/resource.k8s.io/v1/resourceclaims",
        "/apis/resource.k8s.io/v1/resourceslices",
        "/apis/resource.k8s.io/v1/deviceclasses",
    ] {
        scheduler.reflect(path, TYPED).await;
    }
    // Clients before 0.35 list from memory and watch from there.
    let list = scheduler.get("/api/v1/nodes?limit=500&resourceVersion=0", 200).await;
    assert_eq!((&list["kind"], list["items"].as_array().map(Vec::len)), (&json!("NodeList"), Some(1)));
    let settings =
        "/api/v1/namespaces/kube-system/configmaps?fieldSelector=metadata.name%3Dextension-apiserver-authentication";
    scheduler.reflect(settings, TYPED).await;
    // Who asks it for metrics is looked up at the server.
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nonsense"}});
    let told = scheduler.typed("POST /apis/authentication.k8s.io/v1/tokenreviews", &review, 201).await;
    assert!(told["status"]["authenticated"] != true, "{told}");

    // A pod that does not fit: its condition, and an event.
    let why = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available", "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:05Z"}]}});
    let patch = ("application/strategic-merge-patch+json", Bytes::from(why.to_string()));
    let answer = rim::read(scheduler.send("PATCH /api/v1/namespaces/default/pods/p/status", TYPED, patch).await).await;
    assert_eq!(answer.code, 200, "{}", shown(&answer));
    let patched = protobuf::decode(&answer.body).unwrap();
    assert_eq!(patched["status"]["conditions"][0]["reason"], "Unschedulable");
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "p.1", "namespace": "default"},
        "eventTime": "2026-01-02T03:04:05.000000Z", "type": "Warning", "reason": "FailedScheduling", "action": "Scheduling",
        "note": "0/1 nodes are available", "reportingController": "default-scheduler", "reportingInstance": "default-scheduler-a",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p", "apiVersion": "v1"}});
    scheduler.typed("POST /apis/events.k8s.io/v1/namespaces/default/events", &event, 201).await;
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}});
    let patch = ("application/strategic-merge-patch+json", Bytes::from(series.to_string()));
    let path = "PATCH /apis/events.k8s.io/v1/namespaces/default/events/p.1";
    assert_eq!(rim::read(scheduler.send(path, TYPED, patch).await).await.code, 200);

    // A pod that fits is bound, once.
    let uid = patched["metadata"]["uid"].clone();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p", "namespace": "default", "uid": uid},
        "target": {"kind": "Node", "name": "n1"}});
    let bind = "POST /api/v1/namespaces/default/pods/p/binding";
    let done = scheduler.typed(bind, &binding, 201).await;
    assert_eq!((&done["kind"], &done["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(scheduler.typed(bind, &binding, 409).await["reason"], "Conflict");
    assert_eq!(scheduler.get("/api/v1/namespaces/default/pods/p", 200).await["spec"]["nodeName"], "n1");
    // A victim of preemption goes with a body of options in protobuf.
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
    let gone = scheduler.typed("DELETE /api/v1/namespaces/default/pods/p", &options, 200).await;
    assert_eq!(gone["metadata"]["name"], "p");
    // It may do no more than that.
    scheduler.get("/api/v1/namespaces/default/secrets", 403).await;
}

#[tokio::test]
async fn a_stock_controller_manager_is_answered() {
    let rim = rim::start().await;
    prepare(&rim).await;
    let manager = Program { rim: &rim, user: "system:kube-controller-manager" };
    elected(&manager, "kube-controller-manager").await;
    // Each controller gets an account of its own, and a token for it.
    let accounts = "/api/v1/namespaces/kube-system/serviceaccounts";
    manager.get(&format!("{accounts}/deployment-controller"), 404).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployment-controller", "namespace": "kube-system"}});
    manager.typed(&format!("POST {accounts}"), &account, 201).await;
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let token = manager.typed(&format!("POST {accounts}/deployment-controller/token"), &request, 201).await;
    assert!(token["status"]["token"].as_str().is_some_and(|token| token.split('.').count() == 3), "{token}");
    // The garbage collector finds out what there is and follows all of it, metadata alone.
    let found = rim::read(
        manager
            .send(
                "GET /apis",
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                (PROTOBUF, Bytes::new()),
            )
            .await,
    )
    .await;
    assert_eq!((found.code, found.json()["kind"].clone()), (200, json!("APIGroupDiscoveryList")));
    for path in ["/api/v1/pods", "/apis/apps/v1/replicasets", "/apis/apps/v1/deployments", "/apis/batch/v1/jobs"] {
        for (_, object) in manager.reflect(path, METADATA).await {
            assert_eq!((&object["kind"], &object["spec"]), (&json!("PartialObjectMetadata"), &Value::Null), "{path}");
        }
    }

    let deployments = Program { rim: &rim, user: "system:serviceaccount:kube-system:deployment-controller" };
    let labels = json!({"app": "x"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let wanted = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}});
    let made = rim.send(&format!("POST /apis/apps/v1/namespaces/default/deployments\n\n{wanted}")).await.json();
    let seen = deployments.reflect("/apis/apps/v1/deployments", TYPED).await;
    assert_eq!(seen[0].1["metadata"]["name"], "d");
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": made["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "d-1", "namespace": "default", "labels": labels, "ownerReferences": [owner]},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}});
    deployments.typed("POST /apis/apps/v1/namespaces/default/replicasets", &set, 201).await;
    let mut counted = seen[0].1.clone();
    counted["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "message": "m",
            "lastUpdateTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    let written = deployments.typed("PUT /apis/apps/v1/namespaces/default/deployments/d/status", &counted, 200).await;
    assert_eq!(written["status"]["conditions"][0]["reason"], "NewReplicaSetCreated");

    let sets = Program { rim: &rim, user: "system:serviceaccount:kube-system:replicaset-controller" };
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "d-1-", "namespace": "default", "labels": labels}, "spec": template["spec"]});
    let born = sets.typed("POST /api/v1/namespaces/default/pods", &pod, 201).await;
    assert!(born["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("d-1-")), "{born}");
    let slices = Program { rim: &rim, user: "system:serviceaccount:kube-system:endpointslice-controller" };
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"generateName": "s-", "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}},
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": true}}], "ports": [{"name": "", "port": 80, "protocol": "TCP"}]});
    slices.typed("POST /apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &slice, 201).await;

    // A namespace is emptied and let go.
    let namespace = json!({"metadata": {"name": "going"}});
    assert_eq!(rim.send(&format!("POST /api/v1/namespaces\n\n{namespace}")).await.code, 201);
    assert_eq!(rim.send("DELETE /api/v1/namespaces/going").await.code, 200);
    let namespaces = Program { rim: &rim, user: "system:serviceaccount:kube-system:namespace-controller" };
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    namespaces.typed("DELETE /api/v1/namespaces/going/configmaps", &options, 200).await;
    let mut going = namespaces.get("/api/v1/namespaces/going", 200).await;
    going["spec"]["finalizers"] = json!([]);
    namespaces.typed("PUT /api/v1/namespaces/going/finalize", &going, 200).await;
    namespaces.get("/api/v1/namespaces/going", 404).await;
    // A heartbeat that does not come: the node's condition and its taint.
    let nodes = Program { rim: &rim, user: "system:serviceaccount:kube-system:node-controller" };
    let mut node = nodes.get("/api/v1/nodes/n1", 200).await;
    node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "m",
        "lastHeartbeatTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-02T03:04:05Z"}]);
    nodes.typed("PUT /api/v1/nodes/n1/status", &node, 200).await;
    let taint = json!({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-02T03:04:05Z"}]}});
    let patch = ("application/strategic-merge-patch+json", Bytes::from(taint.to_string()));
    assert_eq!(rim::read(nodes.send("PATCH /api/v1/nodes/n1", TYPED, patch).await).await.code, 200);
}
