//! Kinds whose objects are in namespaces. Nothing of what is made here is acted on by nodes.

use super::Kind;

const fn kind(name: &'static str, clause: &'static str, resource: &'static str, fields: &'static str) -> Kind {
    Kind { name, clause, resource, namespaced: true, fields, change: "", status: "" }
}

pub(super) const KINDS: &[Kind] = &[
    Kind {
        change: r#"{"data": {"k": "w"}}"#,
        ..kind(
            "config_maps_live",
            "Conformance: ConfigMap lifecycle",
            "configmaps",
            r#"{"data": {"k": "v"}, "binaryData": {"b": "AAE="}}"#,
        )
    },
    Kind {
        change: r#"{"data": {"k": "dw=="}}"#,
        ..kind(
            "secrets_live",
            "Conformance: Secret patching",
            "secrets",
            r#"{"data": {"k": "dg=="}, "type": "Opaque"}"#,
        )
    },
    Kind {
        change: r#"{"automountServiceAccountToken": false}"#,
        ..kind("service_accounts_live", "Conformance: ServiceAccount lifecycle test", "serviceaccounts", "{}")
    },
    Kind {
        change: r#"{"spec": {"activeDeadlineSeconds": 600}}"#,
        status: r#"{"conditions": [{"type": "example.com/Tried", "status": "True"}]}"#,
        ..kind(
            "pods_live",
            "Conformance: Pods, completes the lifecycle of a Pod and the PodStatus",
            "pods",
            r#"{"spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]}}"#,
        )
    },
    Kind {
        change: r#"{"template": {"spec": {"restartPolicy": "Never"}}}"#,
        ..kind(
            "pod_templates_live",
            "Conformance: PodTemplate lifecycle; PodTemplate, replace",
            "podtemplates",
            r#"{"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"minReadySeconds": 3}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True"}]}"#,
        ..kind(
            "replication_controllers_live",
            "Conformance: Replication Controller, lifecycle",
            "replicationcontrollers",
            r#"{"spec": {"replicas": 0, "selector": {"a": "$NAME"}, "template": {"metadata": {"labels": {"a": "$NAME"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"sessionAffinity": "ClientIP"}}"#,
        status: r#"{"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}"#,
        ..kind(
            "services_live",
            "Conformance: Service, complete ServiceStatus lifecycle; Service, deletes a collection of services",
            "services",
            r#"{"spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"a": "b"}}}"#,
        )
    },
    kind(
        "endpoints_live",
        "Conformance: Endpoint resource lifecycle",
        "endpoints",
        r#"{"subsets": [{"addresses": [{"ip": "203.0.113.1"}], "ports": [{"port": 80}]}]}"#,
    ),
    Kind {
        change: r#"{"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}}"#,
        ..kind(
            "limit_ranges_live",
            "Conformance: LimitRange, list, patch and delete a LimitRange by collection",
            "limitranges",
            r#"{"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"hard": {"pods": "7"}}}"#,
        status: r#"{"hard": {"pods": "7"}}"#,
        ..kind(
            "resource_quotas_live",
            "Conformance: ResourceQuota, manage lifecycle of a ResourceQuota; ResourceQuota, apply changes to a ResourceQuota status",
            "resourcequotas",
            r#"{"spec": {"hard": {"pods": "5"}}}"#,
        )
    },
    Kind {
        change: r#"{"reason": "Another"}"#,
        ..kind(
            "events_live",
            "Conformance: Event, manage lifecycle of an Event; Event, delete a collection",
            "events",
            r#"{"involvedObject": {"kind": "Pod", "namespace": "$NAMESPACE", "name": "p"}, "reason": "Because", "message": "m",
                "type": "Normal", "source": {"component": "c"}}"#,
        )
    },
    Kind {
        change: r#"{"note": "changed"}"#,
        ..kind(
            "events_of_the_new_group_live",
            "Conformance: New Event resource lifecycle, testing a single event",
            "events.k8s.io/v1/events",
            r#"{"eventTime": "2026-01-02T03:04:05.678901Z", "reportingController": "example.com/c", "reportingInstance": "i",
                "action": "Do", "reason": "Because", "type": "Normal", "note": "n",
                "regarding": {"kind": "Pod", "namespace": "$NAMESPACE", "name": "p"}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"accessModes": ["ReadWriteOnce"]}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True"}]}"#,
        ..kind(
            "claims_live",
            "Conformance: PersistentVolumes(Claims), lifecycle; apply changes to a pv/pvc status",
            "persistentvolumeclaims",
            r#"{"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "nobody", "resources": {"requests": {"storage": "1Gi"}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"minReadySeconds": 3}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True"}]}"#,
        ..kind(
            "deployments_live",
            "Conformance: Deployment, completes the lifecycle of a Deployment; Deployment, status sub-resource",
            "apps/v1/deployments",
            r#"{"spec": {"replicas": 0, "paused": true, "selector": {"matchLabels": {"a": "$NAME"}}, "template": {
                "metadata": {"labels": {"a": "$NAME"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"minReadySeconds": 3}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True"}]}"#,
        ..kind(
            "replica_sets_live",
            "Conformance: ReplicaSet, list and delete a collection of ReplicaSets; Replica Set, status sub-resource",
            "apps/v1/replicasets",
            r#"{"spec": {"replicas": 0, "selector": {"matchLabels": {"a": "$NAME"}}, "template": {
                "metadata": {"labels": {"a": "$NAME"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"minReadySeconds": 3}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True"}]}"#,
        ..kind(
            "stateful_sets_live",
            "Conformance: StatefulSet, list, patch and delete a collection of StatefulSets; StatefulSet, status sub-resource",
            "apps/v1/statefulsets",
            r#"{"spec": {"replicas": 0, "serviceName": "s", "selector": {"matchLabels": {"a": "$NAME"}}, "template": {
                "metadata": {"labels": {"a": "$NAME"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"minReadySeconds": 3}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True"}]}"#,
        ..kind(
            "daemon_sets_live",
            "Conformance: DaemonSet, list and delete a collection of DaemonSets; DaemonSet, status sub-resource",
            "apps/v1/daemonsets",
            r#"{"spec": {"selector": {"matchLabels": {"a": "$NAME"}}, "template": {"metadata": {"labels": {"a": "$NAME"}},
                "spec": {"nodeSelector": {"example.com/nowhere": "x"}, "containers": [{"name": "c", "image": "i"}]}}}}"#,
        )
    },
    Kind {
        change: r#"{"revision": 2}"#,
        ..kind(
            "controller_revisions_live",
            "Conformance: ControllerRevision, resource lifecycle",
            "apps/v1/controllerrevisions",
            r#"{"data": {"any": "thing"}, "revision": 1}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"backoffLimit": 3}}"#,
        status: r#"{"conditions": [{"type": "Tried", "status": "True"}]}"#,
        ..kind(
            "jobs_live",
            "Conformance: Jobs, manage lifecycle; Jobs, apply changes to status",
            "batch/v1/jobs",
            r#"{"spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"schedule": "1 2 3 4 *"}}"#,
        status: r#"{"lastScheduleTime": "2026-01-02T03:04:05Z"}"#,
        ..kind(
            "cron_jobs_live",
            "Conformance: CronJob API Operations",
            "batch/v1/cronjobs",
            r#"{"spec": {"schedule": "0 0 29 2 *", "suspend": true, "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"maxReplicas": 7}}"#,
        status: r#"{"currentReplicas": 1, "desiredReplicas": 1}"#,
        ..kind(
            "autoscalers_live",
            "https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/",
            "autoscaling/v2/horizontalpodautoscalers",
            r#"{"spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"maxUnavailable": 2}}"#,
        status: r#"{"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}"#,
        ..kind(
            "disruption_budgets_live",
            "Conformance: 'PodDisruptionBudget: create, update, patch, and delete object'; update and patch status",
            "policy/v1/poddisruptionbudgets",
            r#"{"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "$NAME"}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"leaseDurationSeconds": 20}}"#,
        ..kind(
            "leases_live",
            "Conformance: lease API should be available",
            "coordination.k8s.io/v1/leases",
            r#"{"spec": {"holderIdentity": "h", "leaseDurationSeconds": 10, "renewTime": "2026-01-02T03:04:05.678901Z"}}"#,
        )
    },
    Kind {
        change: r#"{"endpoints": [{"addresses": ["203.0.113.2"]}]}"#,
        ..kind(
            "endpoint_slices_live",
            "Conformance: EndpointSlice API",
            "discovery.k8s.io/v1/endpointslices",
            r#"{"addressType": "IPv4", "endpoints": [{"addresses": ["203.0.113.1"]}], "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"defaultBackend": {"service": {"name": "t", "port": {"number": 81}}}}}"#,
        status: r#"{"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}"#,
        ..kind(
            "ingresses_live",
            "Conformance: Ingress API",
            "networking.k8s.io/v1/ingresses",
            r#"{"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}}"#,
        )
    },
    Kind {
        change: r#"{"spec": {"policyTypes": ["Ingress", "Egress"]}}"#,
        ..kind(
            "network_policies_live",
            "https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/",
            "networking.k8s.io/v1/networkpolicies",
            r#"{"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "ingress": [{"from": [{"podSelector": {}}]}]}}"#,
        )
    },
    Kind {
        change: r#"{"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]}"#,
        ..kind(
            "roles_live",
            "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#role-example",
            "rbac.authorization.k8s.io/v1/roles",
            r#"{"rules": []}"#,
        )
    },
    Kind {
        change: r#"{"subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "t"}]}"#,
        ..kind(
            "role_bindings_live",
            "https://kubernetes.io/docs/reference/access-authn-authz/rbac/#rolebinding-example",
            "rbac.authorization.k8s.io/v1/rolebindings",
            r#"{"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none"}, "subjects": []}"#,
        )
    },
    Kind {
        change: r#"{"capacity": "2Gi"}"#,
        ..kind(
            "storage_capacities_live",
            "Conformance: CSIStorageCapacity API",
            "storage.k8s.io/v1/csistoragecapacities",
            r#"{"storageClassName": "none", "nodeTopology": {"matchLabels": {"a": "b"}}, "capacity": "1Gi"}"#,
        )
    },
    Kind {
        status: r#"{"allocation": {}}"#,
        ..kind(
            "resource_claims_live",
            "Conformance: CRUD operations for resourceclaims",
            "resource.k8s.io/v1/resourceclaims",
            r#"{"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "example.com"}}]}}}"#,
        )
    },
    kind(
        "resource_claim_templates_live",
        "Conformance: CRUD operations for resourceclaimtemplates",
        "resource.k8s.io/v1/resourceclaimtemplates",
        r#"{"spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "example.com"}}]}}}}"#,
    ),
];
