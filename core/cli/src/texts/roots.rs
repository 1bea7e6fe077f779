//! The kinds that the schemas are read from, by package. Types inside them are found through them.

use k8s_openapi::{
    api, apiextensions_apiserver::pkg::apis::apiextensions, apimachinery::pkg::apis::meta,
    kube_aggregator::pkg::apis::apiregistration,
};
use schemars::{JsonSchema, SchemaGenerator};

type Root = fn(&mut SchemaGenerator);

/// The kinds of a package, such as `io.k8s.api.apps.v1`.
pub(super) fn of(package: &str) -> &'static [Root] {
    ROOTS.iter().find(|(name, _)| *name == package).map_or(&[], |(_, roots)| roots)
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>();
}

const ROOTS: &[(&str, &[Root])] = &[
    (
        "io.k8s.api.admissionregistration.v1",
        &[
            add::<api::admissionregistration::v1::MutatingAdmissionPolicy>,
            add::<api::admissionregistration::v1::MutatingAdmissionPolicyBinding>,
            add::<api::admissionregistration::v1::MutatingWebhookConfiguration>,
            add::<api::admissionregistration::v1::ValidatingAdmissionPolicy>,
            add::<api::admissionregistration::v1::ValidatingAdmissionPolicyBinding>,
            add::<api::admissionregistration::v1::ValidatingWebhookConfiguration>,
        ],
    ),
    (
        "io.k8s.api.apps.v1",
        &[
            add::<api::apps::v1::ControllerRevision>,
            add::<api::apps::v1::DaemonSet>,
            add::<api::apps::v1::Deployment>,
            add::<api::apps::v1::ReplicaSet>,
            add::<api::apps::v1::StatefulSet>,
        ],
    ),
    (
        "io.k8s.api.authentication.v1",
        &[
            add::<api::authentication::v1::SelfSubjectReview>,
            add::<api::authentication::v1::TokenRequest>,
            add::<api::authentication::v1::TokenReview>,
        ],
    ),
    (
        "io.k8s.api.authorization.v1",
        &[
            add::<api::authorization::v1::LocalSubjectAccessReview>,
            add::<api::authorization::v1::SelfSubjectAccessReview>,
            add::<api::authorization::v1::SelfSubjectRulesReview>,
            add::<api::authorization::v1::SubjectAccessReview>,
        ],
    ),
    (
        "io.k8s.api.autoscaling.v1",
        &[add::<api::autoscaling::v1::HorizontalPodAutoscaler>, add::<api::autoscaling::v1::Scale>],
    ),
    ("io.k8s.api.autoscaling.v2", &[add::<api::autoscaling::v2::HorizontalPodAutoscaler>]),
    ("io.k8s.api.batch.v1", &[add::<api::batch::v1::CronJob>, add::<api::batch::v1::Job>]),
    ("io.k8s.api.certificates.v1", &[add::<api::certificates::v1::CertificateSigningRequest>]),
    ("io.k8s.api.coordination.v1", &[add::<api::coordination::v1::Lease>]),
    (
        "io.k8s.api.core.v1",
        &[
            add::<api::core::v1::Binding>,
            add::<api::core::v1::ComponentStatus>,
            add::<api::core::v1::ConfigMap>,
            add::<api::core::v1::Endpoints>,
            add::<api::core::v1::Event>,
            add::<api::core::v1::LimitRange>,
            add::<api::core::v1::Namespace>,
            add::<api::core::v1::Node>,
            add::<api::core::v1::PersistentVolume>,
            add::<api::core::v1::PersistentVolumeClaim>,
            add::<api::core::v1::Pod>,
            add::<api::core::v1::PodTemplate>,
            add::<api::core::v1::ReplicationController>,
            add::<api::core::v1::ResourceQuota>,
            add::<api::core::v1::Secret>,
            add::<api::core::v1::Service>,
            add::<api::core::v1::ServiceAccount>,
        ],
    ),
    ("io.k8s.api.discovery.v1", &[add::<api::discovery::v1::EndpointSlice>]),
    ("io.k8s.api.events.v1", &[add::<api::events::v1::Event>]),
    (
        "io.k8s.api.flowcontrol.v1",
        &[add::<api::flowcontrol::v1::FlowSchema>, add::<api::flowcontrol::v1::PriorityLevelConfiguration>],
    ),
    (
        "io.k8s.api.networking.v1",
        &[
            add::<api::networking::v1::IPAddress>,
            add::<api::networking::v1::Ingress>,
            add::<api::networking::v1::IngressClass>,
            add::<api::networking::v1::NetworkPolicy>,
            add::<api::networking::v1::ServiceCIDR>,
        ],
    ),
    ("io.k8s.api.node.v1", &[add::<api::node::v1::RuntimeClass>]),
    ("io.k8s.api.policy.v1", &[add::<api::policy::v1::Eviction>, add::<api::policy::v1::PodDisruptionBudget>]),
    (
        "io.k8s.api.rbac.v1",
        &[
            add::<api::rbac::v1::ClusterRole>,
            add::<api::rbac::v1::ClusterRoleBinding>,
            add::<api::rbac::v1::Role>,
            add::<api::rbac::v1::RoleBinding>,
        ],
    ),
    (
        "io.k8s.api.resource.v1",
        &[
            add::<api::resource::v1::DeviceClass>,
            add::<api::resource::v1::ResourceClaim>,
            add::<api::resource::v1::ResourceClaimTemplate>,
            add::<api::resource::v1::ResourceSlice>,
        ],
    ),
    ("io.k8s.api.scheduling.v1", &[add::<api::scheduling::v1::PriorityClass>]),
    (
        "io.k8s.api.storage.v1",
        &[
            add::<api::storage::v1::CSIDriver>,
            add::<api::storage::v1::CSINode>,
            add::<api::storage::v1::CSIStorageCapacity>,
            add::<api::storage::v1::StorageClass>,
            add::<api::storage::v1::VolumeAttachment>,
            add::<api::storage::v1::VolumeAttributesClass>,
        ],
    ),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", &[add::<apiextensions::v1::CustomResourceDefinition>]),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1",
        &[
            add::<meta::v1::APIGroup>,
            add::<meta::v1::APIGroupList>,
            add::<meta::v1::APIResourceList>,
            add::<meta::v1::APIVersions>,
            add::<meta::v1::DeleteOptions>,
            add::<meta::v1::ListMeta>,
            add::<meta::v1::ObjectMeta>,
            add::<meta::v1::Patch>,
            add::<meta::v1::Status>,
            add::<meta::v1::WatchEvent<()>>,
        ],
    ),
    ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", &[add::<apiregistration::v1::APIService>]),
];
