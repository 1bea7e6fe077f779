//! Pod security by the labels of namespaces.

use serde_json::{Value, json};
use windlass_apiserver::AdmissionConfiguration;
use windlass_kernel::{
    Error,
    api::{PatchType, Response, Verb},
};

use crate::rig::{HandClock, Rig, wait};

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
const WARN: &str = "pod-security.kubernetes.io/warn";

fn rig(labels: &Value) -> Rig {
    let rig = Rig::new();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    rig.create("serviceaccounts", account).unwrap();
    label(&rig, labels).unwrap();
    rig
}

fn label(rig: &Rig, labels: &Value) -> Result<Response, Error> {
    let patch = rig.request(Verb::Patch(PatchType::Merge), "namespaces").named("default");
    rig.call(patch.body(json!({"metadata": {"labels": labels}})))
}

fn pod(name: &str, context: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "securityContext": context}]}})
}

fn hardened() -> Value {
    json!({"allowPrivilegeEscalation": false, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"}})
}

#[test]
fn a_pod_below_the_level_is_refused() {
    let rig = rig(&json!({ENFORCE: "restricted"}));
    let refused = rig.create("pods", pod("p", &json!({}))).unwrap_err();
    assert_eq!(refused.to_status()["code"], 403);
    assert_eq!(
        refused.message(),
        "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": \
         allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    rig.create("pods", pod("p", &hardened())).unwrap();
}

#[test]
fn warnings_are_told_for_pods_and_for_what_makes_them() {
    let rig = rig(&json!({WARN: "baseline", "pod-security.kubernetes.io/warn-version": "v1.30"}));
    let context = json!({"privileged": true});
    let said = "would violate PodSecurity \"baseline:v1.30\": privileged (container \"c\" must not set securityContext.privileged=true)";
    let made = rig.call(rig.request(Verb::Create, "pods").body(pod("p", &context))).unwrap();
    assert_eq!(made.warnings, [said]);
    let labels = json!({"a": "b"});
    let job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "j"}, "spec": {"schedule": "* * * * *",
        "jobTemplate": {"spec": {"template": {"metadata": {"labels": labels},
            "spec": {"restartPolicy": "Never", "containers": pod("p", &context)["spec"]["containers"]}}}}}});
    let made = rig.call(rig.request(Verb::Create, "batch/v1/cronjobs").body(job)).unwrap();
    assert_eq!(made.warnings, [said]);
}

#[test]
fn a_change_of_the_level_tells_which_pods_it_would_refuse() {
    let rig = rig(&json!({}));
    for name in ["b", "a"] {
        rig.create("pods", pod(name, &json!({"privileged": true}))).unwrap();
    }
    rig.create("pods", pod("good", &hardened())).unwrap();
    let response = label(&rig, &json!({ENFORCE: "baseline"})).unwrap();
    assert_eq!(
        response.warnings,
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 1 other pod): privileged",
        ]
    );
    assert!(label(&rig, &json!({"x": "y"})).unwrap().warnings.is_empty());
    // What runs already may be written as long as nothing of it gets worse.
    let mut running = rig.get("pods", "a").unwrap();
    running["spec"]["containers"][0]["image"] = "other".into();
    rig.update("pods", running).unwrap();
}

#[test]
fn labels_must_name_levels_and_versions() {
    let rig = rig(&json!({}));
    let refused = label(&rig, &json!({ENFORCE: "none"})).unwrap_err();
    assert_eq!(refused.to_status()["code"], 422);
    assert_eq!(
        refused.message(),
        "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"none\": \
         must be one of privileged, baseline, restricted"
    );
    let refused = label(&rig, &json!({"pod-security.kubernetes.io/enforce-version": "1.30"})).unwrap_err();
    assert!(refused.message().contains("must be \"latest\" or \"v1.x\""), "{}", refused.message());
}

#[test]
fn a_configuration_has_defaults_for_namespaces_and_exempts_some() {
    let configuration = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": {
            "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
            "defaults": {"enforce": "baseline", "enforce-version": "latest"},
            "exemptions": {"namespaces": ["kube-system"], "runtimeClasses": ["sandboxed"]}}}]});
    let clock = HandClock::default();
    let builder =
        crate::rig::builder(&clock).admission_configuration(AdmissionConfiguration::read(&configuration).unwrap());
    let rig = Rig::over(&clock, wait(builder.start()).unwrap());
    let class = json!({"metadata": {"name": "sandboxed"}, "handler": "h"});
    rig.create("node.k8s.io/v1/runtimeclasses", class).unwrap();
    let pod = |name: &str, class: Option<&str>| {
        let mut pod = json!({"metadata": {"name": name}, "spec": {"hostNetwork": true,
            "containers": [{"name": "c", "image": "i"}]}});
        class.into_iter().for_each(|class| pod["spec"]["runtimeClassName"] = class.into());
        pod
    };
    for namespace in ["default", "kube-system"] {
        let account = rig.request(Verb::Create, "serviceaccounts").in_namespace(namespace);
        rig.call(account.body(json!({"metadata": {"name": "default"}}))).unwrap();
    }
    let refused = rig.create("pods", pod("a", None)).unwrap_err();
    assert!(refused.message().contains("violates PodSecurity \"baseline:latest\": host namespaces"), "{refused}");
    rig.create("pods", pod("b", Some("sandboxed"))).unwrap();
    let system = rig.request(Verb::Create, "pods").in_namespace("kube-system").body(pod("c", None));
    rig.call(system).unwrap();
    // A namespace that says something else is asked itself.
    let mut namespace = rig.get("namespaces", "default").unwrap();
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged".into();
    rig.update("namespaces", namespace).unwrap();
    rig.create("pods", pod("d", None)).unwrap();
}
