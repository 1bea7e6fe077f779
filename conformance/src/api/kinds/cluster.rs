//! Kinds whose objects are in the cluster. Their names and labels tell one run from another.

use super::Kind;

const fn kind(name: &'static str, clause: &'static str, resource: &'static str, fields: &'static str) -> Kind {
    Kind { name, clause, resource, namespaced: false, fields, change: "", status: "" }
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        change: r#"{"spec": {"unschedulable": true}}"#,
        status: r#"{"conditions": [{"type": "example.com/Tried", "status": "True"}]}"#,
        ..kind("nodes_live", "Conformance: Node, resource lifecycle", "nodes", r#"{"spec": {"unschedulable": true}}"#)
    },
    Kind {
        change: r#"{"spec": {"persistentVolumeReclaimPolicy": "Delete"}}"#,
        status: r#"{"message": "tried", "reason": "Tried"}"#,
        ..kind(
            "volumes_live",
            "Conformance: PersistentVolumes(Claims), lifecycle",
            "persistentvolumes",
            r#"{"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "nobody",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/none"},
                "claimRef": {"namespace": "none", "name": "none", "uid": "none"}}}"#,
        )
    },
    Kind {
        change: r#"{"rules": [{"nonResourceURLs": ["/none"], "verbs": ["get"]}]}"#,
        ..kind(
            "cluster_roles_live",
            "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#role-and-clusterrole",
            "rbac.authorization.k8s.io/v1/clusterroles",
            r#"{"rules": []}"#,
        )
    },
    Kind {
        change: r#"{"subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "t"}]}"#,
        ..kind(
            "cluster_role_bindings_live",
            "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#rolebinding-and-clusterrolebinding",
            "rbac.authorization.k8s.io/v1/clusterrolebindings",
            r#"{"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "none"}, "subjects": []}"#,
        )
    },
    Kind {
        change: r#"{"allowVolumeExpansion": true}"#,
        ..kind(
            "storage_classes_live",
            "Conformance: StorageClass, lifecycle",
            "storage.k8s.io/v1/storageclasses",
            r#"{"provisioner": "example.com/none", "reclaimPolicy": "Retain"}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"requiresRepublish": true}}"#,
        ..kind(
            "csi_drivers_live",
            "Conformance: CSIDriver, lifecycle",
            "storage.k8s.io/v1/csidrivers",
            r#"{"spec": {"attachRequired": false}}"#,
        )
    },
    kind(
        "csi_nodes_live",
        "Conformance: CSINode, lifecycle",
        "storage.k8s.io/v1/csinodes",
        r#"{"spec": {"drivers": []}}"#,
    ),
    Kind {
        status: r#"{"attached": false, "detachError": {"message": "tried"}}"#,
        ..kind(
            "volume_attachments_live",
            "Conformance: VolumeAttachment, lifecycle; VolumeAttachment, apply changes to a volumeattachment status",
            "storage.k8s.io/v1/volumeattachments",
            r#"{"spec": {"attacher": "example.com", "nodeName": "none", "source": {"persistentVolumeName": "none"}}}"#,
        )
    },
    kind(
        "volume_attributes_classes_live",
        "Conformance: VolumeAttributesClass, lifecycle",
        "storage.k8s.io/v1/volumeattributesclasses",
        r#"{"driverName": "example.com", "parameters": {"iops": "1"}}"#,
    ),
    Kind {
        change: r#"{"description": "changed"}"#,
        ..kind(
            "priority_classes_live",
            "Conformance: Scheduler, Verify PriorityClass endpoints",
            "scheduling.k8s.io/v1/priorityclasses",
            r#"{"value": 7, "description": "d"}"#,
        )
    },
    Kind {
        change: r#"{"scheduling": {"nodeSelector": {"a": "b"}}}"#,
        ..kind(
            "runtime_classes_live",
            "Conformance: RuntimeClass API",
            "node.k8s.io/v1/runtimeclasses",
            r#"{"handler": "none"}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"parameters": {"kind": "Parameters", "name": "p", "apiGroup": "example.com", "scope": "Cluster"}}}"#,
        ..kind(
            "ingress_classes_live",
            "Conformance: IngressClass API",
            "networking.k8s.io/v1/ingressclasses",
            r#"{"spec": {"controller": "example.com/none"}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"matchingPrecedence": 9999}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True", "reason": "Tried", "message": "m"}]}"#,
        ..kind(
            "flow_schemas_live",
            "Conformance: Priority and Fairness FlowSchema API",
            "flowcontrol.apiserver.k8s.io/v1/flowschemas",
            r#"{"spec": {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
                "distinguisherMethod": {"type": "ByUser"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "example"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"limited": {"nominalConcurrencyShares": 4}}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True", "reason": "Tried", "message": "m"}]}"#,
        ..kind(
            "priority_levels_live",
            "Conformance: Priority and Fairness PriorityLevelConfiguration API",
            "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
            r#"{"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}}"#,
        )
    },
    Kind {
        status: r#"{"conditions": [{"type": "Failed", "status": "True", "reason": "Tried"}]}"#,
        ..kind(
            "certificate_requests_live",
            "Conformance: CertificateSigningRequest API",
            "certificates.k8s.io/v1/certificatesigningrequests",
            // A request that openssl made: CN=example, an elliptic key.
            concat!(
                r#"{"spec": {"signerName": "example.com/none", "expirationSeconds": 3600, "usages": ["client auth", "digital signature"], "request": ""#,
                include_str!("request.txt"),
                r#""}}"#
            ),
        )
    },
    Kind {
        change: r#"{"webhooks": [{"name": "a.example.com", "clientConfig": {"url": "https://example.com/x"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1, "failurePolicy": "Ignore",
            "objectSelector": {"matchLabels": {"example.com/never": "x"}}}]}"#,
        ..kind(
            "validating_webhooks_live",
            "Conformance: Admission webhook, list validating webhooks",
            "admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            r#"{"webhooks": []}"#,
        )
    },
    Kind {
        change: r#"{"webhooks": [{"name": "a.example.com", "clientConfig": {"url": "https://example.com/x"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1, "failurePolicy": "Ignore",
            "objectSelector": {"matchLabels": {"example.com/never": "x"}}}]}"#,
        ..kind(
            "mutating_webhooks_live",
            "Conformance: Admission webhook, list mutating webhooks",
            "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            r#"{"webhooks": []}"#,
        )
    },
    Kind {
        status: r#"{"conditions": [{"type": "Tried", "status": "True", "reason": "Tried", "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}"#,
        ..kind(
            "validating_policies_live",
            "Conformance: ValidatingAdmissionPolicy API",
            "admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            r#"{"spec": {"failurePolicy": "Ignore", "matchConstraints": {"resourceRules": [{"apiGroups": ["example.com"],
                "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}]}, "validations": [{"expression": "true"}]}}"#,
        )
    },
    kind(
        "validating_policy_bindings_live",
        "Conformance: ValidatingadmissionPolicyBinding API",
        "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        r#"{"spec": {"policyName": "$NAME", "validationActions": ["Deny"]}}"#,
    ),
    kind(
        "mutating_policies_live",
        "Conformance: MutatingAdmissionPolicy API",
        "admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
        r#"{"spec": {"failurePolicy": "Ignore", "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [{
            "apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}]},
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]}}"#,
    ),
    kind(
        "mutating_policy_bindings_live",
        "Conformance: MutatingAdmissionPolicyBinding API",
        "admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
        r#"{"spec": {"policyName": "$NAME"}}"#,
    ),
    kind(
        "device_classes_live",
        "Conformance: CRUD operations for deviceclasses",
        "resource.k8s.io/v1/deviceclasses",
        r#"{"spec": {}}"#,
    ),
    kind(
        "resource_slices_live",
        "Conformance: CRUD operations for resoureslices",
        "resource.k8s.io/v1/resourceslices",
        r#"{"spec": {"driver": "example.com", "nodeName": "$NAME", "pool": {"name": "$NAME", "resourceSliceCount": 1, "generation": 1}}}"#,
    ),
];
