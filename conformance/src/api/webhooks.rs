//! Admission and conversion webhooks, which this program serves itself.
//!
//! Servers learn of configurations a moment later, so each check first waits until its webhook is called.

mod configurations;
mod custom;
mod mutating;
mod validating;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::FutureExt;
use serde_json::{Value, json};

use super::{Check, hooks::Hook, objects::map, world::World};

const AREA: &str = "webhooks";
const PAGE: &str = "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/";
const REQUEST: &str =
    "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request";
const RESPONSE: &str =
    "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#response";

const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "a_webhook_refuses_with_its_own_words", "Conformance: Admission webhook, deny create", |w| {
        validating::refused(w).boxed()
    })
    .called(),
    Check::new(AREA, "a_webhook_is_told_what_is_asked_and_by_whom", REQUEST, |w| validating::told(w).boxed()).called(),
    Check::new(AREA, "a_webhook_warns_whoever_asks", RESPONSE, |w| validating::warned(w).boxed()).called(),
    Check::new(AREA, "a_webhook_refuses_attaching", "Conformance: Admission webhook, deny attach", |w| {
        validating::attaching(w).boxed()
    })
    .called(),
    Check::new(
        AREA,
        "objects_are_chosen_by_their_labels_and_scope",
        "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-objectselector",
        |w| validating::selected(w).boxed(),
    )
    .called(),
    Check::new(AREA, "a_webhook_is_given_its_time", "Conformance: Admission webhook, honor timeout", |w| {
        validating::late(w).boxed()
    })
    .called(),
    Check::new(AREA, "an_answer_to_another_question_is_none", RESPONSE, |w| validating::lies(w).boxed()).called(),
    Check::new(
        AREA,
        "a_webhook_that_cannot_be_called_fails_closed",
        "Conformance: Admission webhook, fail closed",
        |w| validating::closed(w).boxed(),
    ),
    Check::new(AREA, "webhooks_mutate_in_order", "Conformance: Admission webhook, ordered mutation", |w| {
        mutating::ordered(w).boxed()
    })
    .called(),
    Check::new(
        AREA,
        "a_webhook_sees_what_later_ones_changed",
        "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#reinvocation-policy",
        |w| mutating::again(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "what_a_webhook_adds_gets_its_defaults",
        "Conformance: Admission webhook, mutation with defaulting",
        |w| mutating::defaulted(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "conditions_choose_what_is_mutated",
        "Conformance: Mutating Admission webhook, mutating webhook excluding object with specific name",
        |w| mutating::excluded(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "configurations_are_no_business_of_webhooks",
        "Conformance: Admission webhook, admission control not allowed on webhook configuration objects",
        |w| mutating::own(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "a_collection_of_validating_webhooks_works_and_goes_together",
        "Conformance: Admission webhook, list validating webhooks",
        |w| configurations::validating(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "a_collection_of_mutating_webhooks_works_and_goes_together",
        "Conformance: Admission webhook, list mutating webhooks",
        |w| configurations::mutating(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "a_changed_configuration_asks_as_it_says_now",
        "Conformance: Admission webhook, update validating webhook; Admission webhook, update mutating webhook",
        |w| configurations::changed(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "conditions_are_stored_and_changed",
        "Conformance: Validating Admission webhook, create and update validating webhook configuration with matchConditions",
        |w| configurations::conditions(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_condition_that_does_not_compile_is_refused",
        "Conformance: Mutating Admission webhook, reject mutating webhook configurations with invalid matchConditions",
        |w| configurations::uncompiled(w).boxed(),
    ),
    Check::new(AREA, "a_configuration_is_validated", PAGE, |w| configurations::validated(w).boxed()),
    Check::new(AREA, "configurations_are_discovered", "Conformance: Admission webhook, discovery document", |w| {
        configurations::discovered(w).boxed()
    }),
    Check::new(
        AREA,
        "custom_objects_are_refused",
        "Conformance: Admission webhook, deny custom resource create and delete",
        |w| custom::refused(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "definitions_are_refused",
        "Conformance: Admission webhook, deny custom resource definition",
        |w| custom::definitions(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "custom_objects_are_mutated_and_pruned",
        "Conformance: Admission webhook, mutate custom resource with pruning",
        |w| custom::pruned(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "custom_objects_are_mutated_in_the_version_of_the_rule",
        "Conformance: Admission webhook, mutate custom resource with different stored version",
        |w| custom::stored_otherwise(w).boxed(),
    )
    .called(),
    Check::new(
        AREA,
        "custom_objects_are_converted_by_a_webhook",
        "Conformance: Custom Resource Definition Conversion Webhook, conversion custom resource; convert mixed version list",
        |w| custom::converted(w).boxed(),
    )
    .called(),
];

/// An answer to a review.
fn says(review: &Value, response: Value) -> Option<Value> {
    let mut answer = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"});
    answer["response"] = response;
    answer["response"]["uid"] = review["request"]["uid"].clone();
    Some(answer)
}

fn allows(review: &Value) -> Option<Value> {
    says(review, json!({"allowed": true}))
}

fn denies(review: &Value, why: &str) -> Option<Value> {
    says(review, json!({"allowed": false, "status": {"message": why, "code": 403, "reason": "Forbidden"}}))
}

fn patches(review: &Value, patch: &Value) -> Option<Value> {
    let packed = STANDARD.encode(patch.to_string());
    says(review, json!({"allowed": true, "patchType": "JSONPatch", "patch": packed}))
}

/// A webhook that is called about config maps of the check's namespace.
fn webhook(w: &World, hook: &Hook) -> Value {
    json!({"name": format!("{}.example.com", hook.name), "clientConfig": hook.client, "admissionReviewVersions": ["v1"],
        "sideEffects": "None", "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": w.namespace}},
        "rules": [rule("", "v1", "configmaps")]})
}

fn rule(group: &str, version: &str, resource: &str) -> Value {
    json!({"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]})
}

/// Registers webhooks as a configuration of the check's own; returns where it is.
async fn register(w: &World, configurations: &str, name: &str, webhooks: &Value) -> String {
    let name = w.name(name);
    let target = format!("{configurations}/{name}");
    w.later(&target);
    let object = json!({"metadata": {"name": name, "labels": {"run": w.prefix()}}, "webhooks": webhooks});
    w.create(configurations, &object).await.with(201);
    target
}

/// Waits until writes of config maps reach the webhook.
async fn called(w: &World, hook: &Hook) {
    let attempt = format!("{}?dryRun=All", w.path("configmaps"));
    w.eventually("the webhook is called", || async {
        w.create(&attempt, &map("marker")).await;
        hook.take().iter().any(|request| request["object"]["metadata"]["name"] == "marker")
    })
    .await;
}

/// Waits until they do not reach it any more.
async fn not_called(w: &World, hook: &Hook) {
    let attempt = format!("{}?dryRun=All", w.path("configmaps"));
    w.eventually("the webhook is not called", || async {
        w.create(&attempt, &map("marker")).await;
        hook.take().is_empty()
    })
    .await;
}
