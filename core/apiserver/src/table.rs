//! Objects as rows, the way `kubectl get` shows them (`meta.k8s.io/v1` Table).

mod cluster;
mod custom;
mod duration;
mod network;
mod pod;
mod setup;
mod storage;
mod text;
mod workloads;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::{
    custom::Columns,
    duration::{age, human},
};
use crate::kinds::field::lookup;

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// The JSON type of its cells.
    pub r#type: &'static str,
    /// What the cells mean: `name` marks the object's name.
    pub format: &'static str,
    /// 0 is always shown; 1 only in wide output.
    pub priority: i32,
}

impl Column {
    const fn new(name: &'static str, r#type: &'static str) -> Self {
        Self { name, r#type, format: "", priority: 0 }
    }

    const fn wide(name: &'static str, r#type: &'static str) -> Self {
        Self { name, r#type, format: "", priority: 1 }
    }
}

const NAME: Column = Column { name: "Name", r#type: "string", format: "name", priority: 0 };
const AGE: Column = Column::new("Age", "string");

/// How much of each object a table carries along with its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The metadata, as `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// The cells of one object.
type Cells = fn(&Value, Timestamp) -> Vec<Value>;

/// The columns of a kind.
#[must_use]
pub fn columns(group: &str, kind: &str) -> &'static [Column] {
    shape(group, kind).0
}

/// The cells of an object, one for each of its kind's columns.
#[must_use]
pub fn cells(group: &str, kind: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    shape(group, kind).1(object, now)
}

/// How the objects of a kind look; unknown kinds have a name and an age.
fn shape(group: &str, kind: &str) -> (&'static [Column], Cells) {
    match group {
        "" => core_shape(kind),
        "apps" | "batch" | "policy" | "autoscaling" => workload_shape(kind),
        "discovery.k8s.io" | "networking.k8s.io" => network_shape(kind),
        "storage.k8s.io" | "resource.k8s.io" => storage_shape(kind),
        _ => cluster_shape(group, kind),
    }
}

fn core_shape(kind: &str) -> (&'static [Column], Cells) {
    match kind {
        "Pod" => (pod::COLUMNS, pod::cells),
        "PodTemplate" => (workloads::TEMPLATE, workloads::template),
        "ReplicationController" => (workloads::REPLICAS, workloads::replicas),
        "Service" => (network::SERVICE, network::service),
        "Endpoints" => (network::ENDPOINTS, network::endpoints),
        "Node" => (cluster::NODE, cluster::node),
        "Namespace" => (cluster::NAMESPACE, cluster::namespace),
        "Event" => (cluster::EVENT, cluster::event),
        "Secret" => (cluster::SECRET, cluster::secret),
        "ConfigMap" => (cluster::CONFIG, cluster::config),
        "ServiceAccount" => (cluster::ACCOUNT, cluster::account),
        "ResourceQuota" => (cluster::QUOTA, cluster::quota),
        "ComponentStatus" => (cluster::COMPONENT, cluster::component),
        "PersistentVolume" => (storage::VOLUME, storage::volume),
        "PersistentVolumeClaim" => (storage::CLAIM, storage::claim),
        _ => (cluster::CREATED, cluster::created),
    }
}

fn workload_shape(kind: &str) -> (&'static [Column], Cells) {
    match kind {
        "ReplicaSet" => (workloads::REPLICAS, workloads::replicas),
        "Deployment" => (workloads::DEPLOYMENT, workloads::deployment),
        "StatefulSet" => (workloads::STATEFUL, workloads::stateful),
        "DaemonSet" => (workloads::DAEMON, workloads::daemon),
        "ControllerRevision" => (workloads::REVISION, workloads::revision),
        "Job" => (workloads::JOB, workloads::job),
        "CronJob" => (workloads::CRON, workloads::cron),
        "PodDisruptionBudget" => (workloads::BUDGET, workloads::budget),
        "HorizontalPodAutoscaler" => (workloads::AUTOSCALER, workloads::autoscaler),
        "Scale" => (workloads::SCALE, workloads::scale),
        _ => (cluster::CREATED, cluster::created),
    }
}

fn network_shape(kind: &str) -> (&'static [Column], Cells) {
    match kind {
        "EndpointSlice" => (network::SLICE, network::slice),
        "Ingress" => (network::INGRESS, network::ingress),
        "IngressClass" => (network::INGRESS_CLASS, network::ingress_class),
        "NetworkPolicy" => (network::POLICY, network::policy),
        "ServiceCIDR" => (network::SERVICE_CIDR, network::service_cidr),
        "IPAddress" => (network::IP, network::ip),
        _ => (cluster::CREATED, cluster::created),
    }
}

fn storage_shape(kind: &str) -> (&'static [Column], Cells) {
    match kind {
        "StorageClass" => (storage::CLASS, storage::class),
        "VolumeAttachment" => (storage::ATTACHMENT, storage::attachment),
        "VolumeAttributesClass" => (storage::ATTRIBUTES, storage::attributes),
        "CSINode" => (storage::CSI_NODE, storage::csi_node),
        "CSIDriver" => (storage::CSI_DRIVER, storage::csi_driver),
        "CSIStorageCapacity" => (storage::CAPACITY, storage::capacity),
        "ResourceClaim" => (storage::DEVICE_CLAIM, storage::device_claim),
        "ResourceSlice" => (storage::DEVICES, storage::devices),
        "ResourceClaimTemplate" | "DeviceClass" => (cluster::AGED, cluster::aged),
        _ => (cluster::CREATED, cluster::created),
    }
}

fn cluster_shape(group: &str, kind: &str) -> (&'static [Column], Cells) {
    match (group, kind) {
        ("events.k8s.io", "Event") => (cluster::EVENT, cluster::event),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => (cluster::BINDING, cluster::binding),
        ("rbac.authorization.k8s.io", _) | ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            (cluster::CREATED, cluster::created)
        }
        ("coordination.k8s.io", "Lease") => (cluster::LEASE, cluster::lease),
        ("coordination.k8s.io", "LeaseCandidate") => (cluster::CANDIDATE, cluster::candidate),
        ("certificates.k8s.io", "CertificateSigningRequest") => (cluster::SIGNING, cluster::signing),
        ("certificates.k8s.io", "ClusterTrustBundle") => (storage::TRUST, storage::trust),
        ("scheduling.k8s.io", "PriorityClass") => (cluster::PRIORITY, cluster::priority),
        ("node.k8s.io", "RuntimeClass") => (cluster::RUNTIME, cluster::runtime),
        ("apiregistration.k8s.io", "APIService") => (setup::API_SERVICE, setup::api_service),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => (setup::FLOW, setup::flow),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => (setup::LEVEL, setup::level),
        ("admissionregistration.k8s.io", kind) => match kind {
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => (setup::WEBHOOKS, setup::webhooks),
            "ValidatingAdmissionPolicy" => (setup::VALIDATIONS, setup::validations),
            "MutatingAdmissionPolicy" => (setup::MUTATIONS, setup::mutations),
            _ => (setup::POLICY_BINDING, setup::policy_binding),
        },
        _ => (cluster::AGED, cluster::aged),
    }
}

/// Whose columns a table has.
#[derive(Clone, Debug)]
pub enum Look {
    /// Those of a built-in kind.
    BuiltIn {
        /// The group; empty for core.
        group: String,
        /// The kind.
        kind: String,
    },
    /// Those that a definition lists.
    Custom(Arc<Columns>),
}

impl Look {
    /// The cells of an object.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match self {
            Self::BuiltIn { group, kind } => cells(group, kind, object, now),
            Self::Custom(columns) => columns.cells(object, now),
        }
    }

    /// A row: an object's cells and as much of the object as was asked for.
    #[must_use]
    pub fn row(&self, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
        let mut row = json!({"cells": self.cells(object, now)});
        match include {
            IncludeObject::None => row["object"] = Value::Null,
            IncludeObject::Metadata => {
                row["object"] = json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": lookup(object, "metadata"),
                });
            }
            IncludeObject::Object => row["object"] = object.clone(),
        }
        row
    }

    /// The column definitions as JSON.
    #[must_use]
    pub fn column_definitions(&self) -> Value {
        let definition = |c: &Column| json!({"name": c.name, "type": c.r#type, "format": c.format, "description": "", "priority": c.priority});
        match self {
            Self::BuiltIn { group, kind } => columns(group, kind).iter().map(definition).collect(),
            Self::Custom(columns) => columns.definitions(),
        }
    }

    /// A table of objects; `list_meta` is the `metadata` of the list they came in.
    #[must_use]
    pub fn table<'a>(
        &self,
        items: impl IntoIterator<Item = &'a Value>,
        list_meta: Value,
        include: IncludeObject,
        now: Timestamp,
    ) -> Value {
        let rows: Vec<Value> = items.into_iter().map(|item| self.row(item, include, now)).collect();
        let mut table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1"});
        table["metadata"] = list_meta;
        table["columnDefinitions"] = self.column_definitions();
        table["rows"] = rows.into();
        table
    }
}

#[cfg(test)]
mod tests;
