//! The kinds that the schemas are read from. Types inside them are found through them.

use k8s_openapi::{
    api, apiextensions_apiserver::pkg::apis::apiextensions, apimachinery::pkg::apis::meta,
    kube_aggregator::pkg::apis::apiregistration,
};
use schemars::{JsonSchema, SchemaGenerator};

/// Adds the schemas of every kind that a server may serve.
pub(super) fn add_all(generator: &mut SchemaGenerator) {
    for add in ROOTS {
        add(generator);
    }
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    // What refers to the schema is of no interest.
    let _ = generator.subschema_for::<T>();
}

const ROOTS: &[fn(&mut SchemaGenerator)] = &[
    add::<api::admissionregistration::v1::MutatingAdmissionPolicy>,
    add::<api::admissionregistration::v1::MutatingAdmissionPolicyBinding>,
    add::<api::admissionregistration::v1::MutatingWebhookConfiguration>,
    add::<api::admissionregistration::v1::ValidatingAdmissionPolicy>,
    add::<api::admissionregistration::v1::ValidatingAdmissionPolicyBinding>,
    add::<api::admissionregistration::v1::ValidatingWebhookConfiguration>,
    add::<api::apps::v1::ControllerRevision>,
    add::<api::apps::v1::DaemonSet>,
    add::<api::apps::v1::Deployment>,
    add::<api::apps::v1::ReplicaSet>,
    add::<api::apps::v1::StatefulSet>,
    add::<api::authentication::v1::SelfSubjectReview>,
    add::<api::authentication::v1::TokenRequest>,
    add::<api::authentication::v1::TokenReview>,
    add::<api::authorization::v1::LocalSubjectAccessReview>,
    add::<api::authorization::v1::SelfSubjectAccessReview>,
    add::<api::authorization::v1::SelfSubjectRulesReview>,
    add::<api::authorization::v1::SubjectAccessReview>,
    add::<api::autoscaling::v1::HorizontalPodAutoscaler>,
    add::<api::autoscaling::v1::Scale>,
    add::<api::autoscaling::v2::HorizontalPodAutoscaler>,
    add::<api::batch::v1::CronJob>,
    add::<api::batch::v1::Job>,
    add::<api::certificates::v1::CertificateSigningRequest>,
    add::<api::coordination::v1::Lease>,
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
    add::<api::discovery::v1::EndpointSlice>,
    add::<api::events::v1::Event>,
    add::<api::flowcontrol::v1::FlowSchema>,
    add::<api::flowcontrol::v1::PriorityLevelConfiguration>,
    add::<api::networking::v1::IPAddress>,
    add::<api::networking::v1::Ingress>,
    add::<api::networking::v1::IngressClass>,
    add::<api::networking::v1::NetworkPolicy>,
    add::<api::networking::v1::ServiceCIDR>,
    add::<api::node::v1::RuntimeClass>,
    add::<api::policy::v1::Eviction>,
    add::<api::policy::v1::PodDisruptionBudget>,
    add::<api::rbac::v1::ClusterRole>,
    add::<api::rbac::v1::ClusterRoleBinding>,
    add::<api::rbac::v1::Role>,
    add::<api::rbac::v1::RoleBinding>,
    add::<api::resource::v1::DeviceClass>,
    add::<api::resource::v1::ResourceClaim>,
    add::<api::resource::v1::ResourceClaimTemplate>,
    add::<api::resource::v1::ResourceSlice>,
    add::<api::scheduling::v1::PriorityClass>,
    add::<api::storage::v1::CSIDriver>,
    add::<api::storage::v1::CSINode>,
    add::<api::storage::v1::CSIStorageCapacity>,
    add::<api::storage::v1::StorageClass>,
    add::<api::storage::v1::VolumeAttachment>,
    add::<api::storage::v1::VolumeAttributesClass>,
    add::<apiextensions::v1::CustomResourceDefinition>,
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
    add::<apiregistration::v1::APIService>,
];
