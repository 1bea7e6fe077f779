//! Admission policies in CEL.
//!
//! Servers learn of policies a moment later, so each check first waits until its policy is obeyed.

mod mutating;
mod validating;

use futures::FutureExt;
use serde_json::{Value, json};

use super::{Check, world::World};

const AREA: &str = "policies";
const VALIDATING_PAGE: &str = "https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/";
const MUTATING_PAGE: &str = "https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/";

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        AREA,
        "a_policy_judges_a_deployment",
        "Conformance: ValidatingAdmissionPolicy, should validate against a Deployment",
        |w| validating::judged(w).boxed(),
    ),
    Check::new(
        AREA,
        "expressions_refer_to_variables",
        "Conformance: ValidatingAdmissionPolicy, should allow expressions to refer variables",
        |w| validating::variables(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_policy_refuses_with_its_message_and_reason",
        "https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#message-expression",
        |w| validating::messages(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_policy_takes_parameters",
        "https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#parameter-resources",
        |w| validating::parameters(w).boxed(),
    ),
    Check::new(
        AREA,
        "conditions_choose_what_is_judged",
        "https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#matching-requests-matchconditions",
        |w| validating::conditions(w).boxed(),
    ),
    Check::new(
        AREA,
        "an_error_follows_the_failure_policy",
        "https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#failure-policy",
        |w| validating::failing(w).boxed(),
    ),
    Check::new(AREA, "a_policy_that_warns_lets_pass", VALIDATING_PAGE, |w| validating::warned(w).boxed()),
    Check::new(AREA, "a_policy_sees_the_request_its_namespace_and_who_may", VALIDATING_PAGE, |w| {
        validating::surroundings(w).boxed()
    }),
    Check::new(AREA, "deletions_and_updates_are_judged_by_what_was", VALIDATING_PAGE, |w| {
        validating::before(w).boxed()
    }),
    Check::new(
        AREA,
        "types_are_checked_and_told_in_the_status",
        "https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking",
        |w| validating::typed(w).boxed(),
    ),
    Check::new(AREA, "a_policy_is_validated", VALIDATING_PAGE, |w| validating::validated(w).boxed()),
    Check::new(
        AREA,
        "a_policy_without_a_binding_does_nothing",
        "KEP-3488: CEL for Admission Control, Policy Definitions and Bindings",
        |w| validating::unbound(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_policy_changes_a_deployment",
        "Conformance: MutatingAdmissionPolicy, should mutate a Deployment",
        |w| mutating::applied(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_policy_adds_annotations",
        "Conformance: MutatingAdmissionPolicy, should mutate a Deployment with annotations",
        |w| mutating::annotated(w).boxed(),
    ),
    Check::new(AREA, "a_policy_merges_lists_by_their_keys", MUTATING_PAGE, |w| mutating::merged(w).boxed()),
    Check::new(AREA, "a_policy_mutates_with_variables_and_parameters", MUTATING_PAGE, |w| {
        mutating::parameters(w).boxed()
    }),
    Check::new(AREA, "what_a_policy_changes_is_judged", MUTATING_PAGE, |w| mutating::judged(w).boxed()),
    Check::new(AREA, "a_mutating_policy_is_validated", MUTATING_PAGE, |w| mutating::validated(w).boxed()),
];

/// Policies or bindings of one kind.
#[derive(Clone, Copy)]
enum Family {
    Validating,
    Mutating,
}

impl Family {
    fn policies(self) -> &'static str {
        match self {
            Self::Validating => "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            Self::Mutating => "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
        }
    }

    fn bindings(self) -> &'static str {
        match self {
            Self::Validating => "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
            Self::Mutating => "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
        }
    }

    /// Writes a policy; returns where it is.
    async fn policy(self, w: &World, name: &str, spec: &Value) -> String {
        let name = w.name(name);
        let target = format!("{}/{name}", self.policies());
        w.later(&target);
        w.create(self.policies(), &json!({"metadata": {"name": name}, "spec": spec})).await.with(201);
        target
    }

    /// Binds a policy to the check's namespace.
    async fn bind(self, w: &World, policy: &str, more: &Value) {
        let name = w.name(policy);
        let mut spec = more.clone();
        spec["policyName"] = name.clone().into();
        spec["matchResources"]["namespaceSelector"] =
            json!({"matchLabels": {"kubernetes.io/metadata.name": w.namespace}});
        w.later(format!("{}/{name}", self.bindings()));
        w.create(self.bindings(), &json!({"metadata": {"name": name}, "spec": spec})).await.with(201);
    }
}

fn about(group: &str, resource: &str) -> Value {
    let rule = json!({"operations": ["CREATE", "UPDATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]});
    json!({"resourceRules": [rule]})
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]}}}})
}
