//! What each kind adds to the one generic path: defaults, preparation, validation, selectable fields.
//!
//! Everything is a pure function over JSON trees; storage, admission and allocation of addresses are elsewhere.

mod apps;
mod autoscaler;
mod cluster;
pub mod core;
mod device;
mod diff;
mod edit;
pub mod errors;
pub mod field;
mod ip;
mod lease;
pub mod meta;
mod network;
pub mod pod;
mod policy;
mod prepare;
mod rbac;
pub mod scale;
mod storage;
pub(crate) mod warnings;

use serde_json::Value;

pub(crate) use self::cluster::certificates::{date_conditions, validate_approval};
pub use self::errors::Errors;
pub use self::field::{Field, same};
pub use self::meta::NameRule;

/// What a kind adds to the generic path.
#[derive(Debug)]
pub struct Kind {
    /// The form of its objects' names.
    pub name: NameRule,
    /// Fills in what was left out.
    pub default: fn(&mut Value),
    /// Clears what a creator may not set, and starts counting generations.
    pub prepare_create: fn(&mut Value),
    /// Keeps what an update may not change (new, old), and counts changes of the spec.
    pub prepare_update: fn(&mut Value, &Value),
    /// Keeps everything but the status on a write to `/status` (new, old).
    pub prepare_status: fn(&mut Value, &Value),
    /// Checks a new object, or an update against what was; metadata is checked by [`Kind::check`].
    pub validate: fn(&Value, Option<&Value>, &mut Errors),
    /// Checks a write to `/status` (new, old).
    pub validate_status: fn(&Value, &Value, &mut Errors),
    /// The values of the selectable fields beyond `metadata.name` and `metadata.namespace`.
    pub fields: fn(&Value) -> Vec<(&'static str, String)>,
    /// Which fields those are.
    pub field_names: &'static [&'static str],
    /// Whether it has a `/status` sub-resource.
    pub has_status: bool,
    /// Whether an update without a resource version is taken.
    pub unconditional_update: bool,
    /// Whether an update of what does not exist creates it.
    pub create_on_update: bool,
    /// Whether deletion waits for a grace period.
    pub graceful: bool,
}

/// What a kind of which nothing is known adds: nothing. Custom resources are of this kind.
pub static GENERIC: Kind = BASE;

const BASE: Kind = Kind {
    name: NameRule::Subdomain,
    default: prepare::nothing,
    prepare_create: prepare::nothing,
    prepare_update: prepare::nothing_new,
    prepare_status: prepare::only_status,
    validate: |_, _, _| (),
    validate_status: |_, _, _| (),
    fields: |_| Vec::new(),
    field_names: &[],
    has_status: false,
    unconditional_update: true,
    create_on_update: false,
    graceful: false,
};

/// A kind with a status and a generation.
const WITH_STATUS: Kind = Kind {
    prepare_create: prepare::clear_status_and_count,
    prepare_update: prepare::keep_status_and_count,
    has_status: true,
    ..BASE
};

/// A built-in kind of which no more is known than that its status, if it has one, is written apart.
pub static BUILT_IN: Kind = Kind {
    prepare_create: |new| {
        edit::remove(new, "status");
    },
    prepare_update: |new, old| {
        if old.get("status").is_some() || new.get("status").is_some() {
            prepare::keep_status(new, old);
        }
    },
    ..BASE
};

/// A custom resource of a version without the status sub-resource.
pub static CUSTOM: Kind = Kind {
    prepare_create: prepare::count,
    prepare_update: prepare::count_any_change,
    unconditional_update: false,
    ..BASE
};

/// A custom resource of a version with the status sub-resource.
pub static CUSTOM_WITH_STATUS: Kind = Kind {
    prepare_create: |new| {
        edit::remove(new, "status");
        prepare::count(new);
    },
    prepare_update: |new, old| {
        prepare::keep_status(new, old);
        prepare::count_any_change(new, old);
    },
    prepare_status: prepare::only_status_without_metadata,
    has_status: true,
    unconditional_update: false,
    ..BASE
};

impl Kind {
    /// Checks a new object whole; `namespaced` is the resource's scope, where the caller knows it.
    pub fn check_create(&self, new: &Value, namespaced: Option<bool>, errors: &mut Errors) {
        meta::created(&meta::of(new), self.name, namespaced, errors);
        (self.validate)(new, None, errors);
    }

    /// Checks an update whole; `namespaced` as in [`Kind::check_create`].
    ///
    /// As upstream, the metadata is looked at for every kind and then by the kind itself: what is wrong with it is one
    /// sentence and two causes.
    pub fn check_update(&self, new: &Value, old: &Value, namespaced: Option<bool>, errors: &mut Errors) {
        common(new, old, namespaced, errors);
        meta::updated(&meta::of(new), &meta::of(old), errors);
        (self.validate)(new, Some(old), errors);
    }

    /// Checks a write to `/status` whole; `namespaced` as in [`Kind::check_create`].
    pub fn check_status(&self, new: &Value, old: &Value, namespaced: Option<bool>, errors: &mut Errors) {
        common(new, old, namespaced, errors);
        meta::updated(&meta::of(new), &meta::of(old), errors);
        (self.validate_status)(new, old, errors);
    }

    /// Whether a field selector may name the field.
    #[must_use]
    pub fn selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "metadata.namespace") || self.field_names.contains(&field)
    }
}

/// What is checked of the metadata of an update, whatever the kind (`rest.validateCommonFields`).
fn common(new: &Value, old: &Value, namespaced: Option<bool>, errors: &mut Errors) {
    meta::created(&meta::of(new), NameRule::PathSegment, namespaced, errors);
    meta::updated(&meta::of(new), &meta::of(old), errors);
}

/// The quality of service of a pod: `Guaranteed`, `Burstable` or `BestEffort`.
pub(crate) fn pod_class(pod: &Value) -> &'static str {
    pod::qos::class(pod)
}

/// What the kind adds; [`GENERIC`] for one of which nothing is known.
#[must_use]
pub fn of(group: &str, kind: &str) -> &'static Kind {
    match group {
        "" => of_core(kind),
        "apps" | "batch" | "autoscaling" | "policy" => of_workloads(kind),
        _ => of_cluster(group, kind),
    }
}

fn of_core(kind: &str) -> &'static Kind {
    match kind {
        "Pod" => &pod::POD,
        "PodTemplate" => &pod::TEMPLATE,
        "Service" => &core::service::SERVICE,
        "Endpoints" => &core::endpoints::ENDPOINTS,
        "ConfigMap" => &core::config::CONFIG_MAP,
        "Secret" => &core::config::SECRET,
        "ServiceAccount" => &core::config::SERVICE_ACCOUNT,
        "Namespace" => &core::namespace::NAMESPACE,
        "Node" => &core::node::NODE,
        "Event" => &core::event::CORE,
        "ResourceQuota" => &core::quota::QUOTA,
        "LimitRange" => &core::quota::LIMITS,
        "PersistentVolume" => &core::volume::VOLUME,
        "PersistentVolumeClaim" => &core::volume::CLAIM,
        "ReplicationController" => &apps::replicas::CONTROLLER,
        _ => &BUILT_IN,
    }
}

fn of_workloads(kind: &str) -> &'static Kind {
    match kind {
        "ReplicaSet" => &apps::replicas::SET,
        "Deployment" => &apps::deployment::DEPLOYMENT,
        "StatefulSet" => &apps::statefulset::STATEFUL_SET,
        "DaemonSet" => &apps::daemonset::DAEMON_SET,
        "ControllerRevision" => &apps::revision::REVISION,
        "Job" => &apps::job::JOB,
        "CronJob" => &apps::job::CRON_JOB,
        "HorizontalPodAutoscaler" => &autoscaler::AUTOSCALER,
        "PodDisruptionBudget" => &policy::BUDGET,
        _ => &BUILT_IN,
    }
}

fn of_cluster(group: &str, kind: &str) -> &'static Kind {
    match (group, kind) {
        ("discovery.k8s.io", "EndpointSlice") => &core::endpoints::SLICE,
        ("events.k8s.io", "Event") => &core::event::EVENTS,
        ("coordination.k8s.io", "Lease") => &lease::LEASE,
        ("rbac.authorization.k8s.io", "Role") => &rbac::ROLE,
        ("rbac.authorization.k8s.io", "ClusterRole") => &rbac::CLUSTER_ROLE,
        ("rbac.authorization.k8s.io", "RoleBinding") => &rbac::BINDING,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => &rbac::CLUSTER_BINDING,
        ("scheduling.k8s.io", "PriorityClass") => &policy::PRIORITY,
        ("storage.k8s.io", "StorageClass") => &storage::CLASS,
        ("storage.k8s.io", "CSIDriver") => &storage::DRIVER,
        ("storage.k8s.io", "VolumeAttachment") => &storage::ATTACHMENT,
        ("storage.k8s.io", "CSINode") => &storage::NODE,
        ("storage.k8s.io", "CSIStorageCapacity") => &storage::CAPACITY,
        ("storage.k8s.io", "VolumeAttributesClass") => &storage::ATTRIBUTES,
        ("networking.k8s.io", "Ingress") => &network::INGRESS,
        ("networking.k8s.io", "IngressClass") => &network::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => &network::POLICY,
        ("networking.k8s.io", "IPAddress") => &network::ADDRESS,
        ("networking.k8s.io", "ServiceCIDR") => &network::SERVICE_CIDR,
        ("node.k8s.io", "RuntimeClass") => &cluster::runtime::RUNTIME,
        ("certificates.k8s.io", "CertificateSigningRequest") => &cluster::certificates::SIGNING,
        ("certificates.k8s.io", "ClusterTrustBundle") => &cluster::certificates::BUNDLE,
        ("certificates.k8s.io", "PodCertificateRequest") => &cluster::certificates::POD_REQUEST,
        ("resource.k8s.io", "ResourceClaim") => &device::CLAIM,
        ("resource.k8s.io", "ResourceClaimTemplate") => &device::TEMPLATE,
        ("resource.k8s.io", "DeviceClass") => &device::CLASS,
        ("resource.k8s.io", "ResourceSlice") => &device::SLICE,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => &cluster::admission::VALIDATING,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => &cluster::admission::MUTATING,
        ("admissionregistration.k8s.io", kind) if kind.ends_with("Policy") => &cluster::admission::POLICY,
        ("admissionregistration.k8s.io", _) => &cluster::admission::BINDING,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => &cluster::flow::SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => &cluster::flow::LEVEL,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => &cluster::definition::DEFINITION,
        ("apiregistration.k8s.io", "APIService") => &cluster::extensions::API_SERVICE,
        (
            "storage.k8s.io"
            | "resource.k8s.io"
            | "certificates.k8s.io"
            | "coordination.k8s.io"
            | "scheduling.k8s.io"
            | "internal.apiserver.k8s.io"
            | "storagemigration.k8s.io",
            _,
        ) => &BUILT_IN,
        _ => &GENERIC,
    }
}

#[cfg(test)]
mod tests;
