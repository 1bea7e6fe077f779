//! Rows as people see them, one line each.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

#[track_caller]
fn check(group: &str, kind: &str, object: Value, expect: &str) {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
    let mut object = object;
    object["metadata"]["name"] = "x".into();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:57:00Z".into();
    let cells = cells(group, kind, &object, now);
    assert_eq!(cells.len(), columns(group, kind).len());
    let shown: Vec<String> =
        cells.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), ToOwned::to_owned)).collect();
    assert_eq!(shown.join(" | "), expect);
}

#[test]
fn services_show_addresses_and_ports() {
    check(
        "",
        "Service",
        json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "selector": {"a": "b"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
        "x | NodePort | 10.0.0.1 | <none> | 80:30080/TCP,53/UDP | 3m | a=b",
    );
    check(
        "",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}),
        "x | LoadBalancer | 10.0.0.1 | <pending> | <none> | 3m | <none>",
    );
}

#[test]
fn workloads_show_how_far_they_are() {
    let template = json!({"spec": {"containers": [{"name": "c", "image": "i:1"}, {"name": "d", "image": "j:2"}]}});
    check(
        "apps",
        "Deployment",
        json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}),
        "x | 2/3 | 3 | 2 | 3m | c,d | i:1,j:2 | a=b",
    );
    check(
        "batch",
        "Job",
        json!({"spec": {"completions": 1, "template": template, "selector": {"matchLabels": {"a": "b"}}},
            "status": {"succeeded": 1, "startTime": "2026-01-01T00:58:00Z", "completionTime": "2026-01-01T00:58:09Z",
                "conditions": [{"type": "Complete", "status": "True"}]}}),
        "x | Complete | 1/1 | 9s | 3m | c,d | i:1,j:2 | a=b",
    );
}

#[test]
fn nodes_show_roles_and_whether_they_take_pods() {
    check(
        "",
        "Node",
        json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
                "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}]}}),
        "x | Ready,SchedulingDisabled | control-plane | 3m | v1.36.0 | 10.1.1.1 | <none> | <unknown> | <unknown> | <unknown>",
    );
}

#[test]
fn endpoints_show_the_first_three() {
    check(
        "",
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}], "ports": [{"port": 80}, {"port": 81}]}]}),
        "x | 1.1.1.1:80,1.1.1.2:80,1.1.1.1:81 + 1 more... | 3m",
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": []}),
        "x | IPv4 | 80 | <unset> | 3m",
    );
}

#[test]
fn events_show_when_and_about_what() {
    check(
        "",
        "Event",
        json!({"type": "Warning", "reason": "Failed", "message": "no \n", "involvedObject": {"kind": "Pod", "name": "p"},
            "source": {"component": "kubelet", "host": "n"}, "count": 4, "firstTimestamp": "2026-01-01T00:50:00Z",
            "lastTimestamp": "2026-01-01T00:59:55Z"}),
        "5s | Warning | Failed | pod/p |  | kubelet, n | no | 10m | 4 | x",
    );
}

#[test]
fn quotas_and_claims_show_amounts() {
    check(
        "",
        "ResourceQuota",
        json!({"status": {"hard": {"pods": "4", "limits.cpu": "2"}, "used": {"pods": "1", "limits.cpu": "1"}}}),
        "x | pods: 1/4 | limits.cpu: 1/2 | 3m",
    );
    check(
        "",
        "PersistentVolumeClaim",
        json!({"spec": {"volumeName": "v", "storageClassName": "s", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}),
        "x | Bound | v | 1Gi | RWO | s | <unset> | 3m | Filesystem",
    );
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    let now = Timestamp::UNIX_EPOCH;
    for (group, kind) in [
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "IPAddress"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
        ("resource.k8s.io", "ResourceSlice"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("apiregistration.k8s.io", "APIService"),
        ("apps", "DaemonSet"),
        ("apps", "StatefulSet"),
        ("apps", "ControllerRevision"),
        ("batch", "CronJob"),
        ("policy", "PodDisruptionBudget"),
        ("", "PersistentVolume"),
        ("", "PodTemplate"),
        ("", "ComponentStatus"),
        ("example.com", "Thing"),
    ] {
        assert_eq!(cells(group, kind, &json!({}), now).len(), columns(group, kind).len(), "{group} {kind}");
    }
}

#[test]
fn a_table_carries_metadata_unless_told_otherwise() {
    let object = json!({"metadata": {"name": "x"}, "data": {"a": "b"}});
    let look = Look::BuiltIn { group: String::new(), kind: "ConfigMap".into() };
    let meta = json!({"resourceVersion": "5"});
    let table = look.table([&object], meta, IncludeObject::Metadata, Timestamp::UNIX_EPOCH);
    assert_eq!(table["metadata"], json!({"resourceVersion": "5"}));
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"][0]["cells"], json!(["x", 1, "<unknown>"]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"]["metadata"], json!({"name": "x"}));
}
