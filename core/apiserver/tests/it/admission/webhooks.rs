//! Webhooks that are called over TLS on this machine.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use windlass_apiserver::http::tls::Authority;

use crate::{
    hook::{self, Hook, Reply},
    rim::{self, Answer, Loopback, Rim, Setup},
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn says(review: &Value, response: &Value) -> Reply {
    let mut response = response.clone();
    response["uid"] = review["request"]["uid"].clone();
    Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}))
}

fn patches(review: &Value, patch: &Value) -> Reply {
    let packed = STANDARD.encode(patch.to_string());
    says(review, &json!({"allowed": true, "patchType": "JSONPatch", "patch": packed}))
}

/// What the webhooks of these tests do, by their path.
fn behaviour(path: &str, review: &Value) -> Reply {
    let object = &review["request"]["object"];
    match path {
        "/allow" => {
            says(review, &json!({"allowed": true, "warnings": ["mind the gap"], "auditAnnotations": {"a": "b"}}))
        }
        "/deny" => says(
            review,
            &json!({"allowed": false, "status": {"message": "not so", "code": 403, "reason": "Forbidden"}}),
        ),
        "/first" if object["data"]["first"].is_null() => {
            patches(review, &json!([{"op": "add", "path": "/data/first", "value": "1"}]))
        }
        "/second" if object["data"]["second"].is_null() => {
            patches(review, &json!([{"op": "add", "path": "/data/second", "value": "2"}]))
        }
        "/container" => {
            patches(review, &json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "b", "image": "b"}}]))
        }
        "/rename" => patches(review, &json!([{"op": "replace", "path": "/metadata/name", "value": "other"}])),
        "/garbage" => Reply::Bytes(b"<html>".to_vec()),
        "/flood" => Reply::Bytes(vec![b' '; 10 << 20]),
        "/stranger" => {
            let mut review = review.clone();
            review["request"]["uid"] = "x".into();
            says(&review, &json!({"allowed": true}))
        }
        "/redirect" => Reply::Elsewhere("https://localhost:1/allow".into()),
        "/hang" => Reply::Hang,
        _ => says(review, &json!({"allowed": true})),
    }
}

async fn start() -> (Rim, Hook) {
    let rim = rim::start_dialling(Arc::new(Loopback)).await;
    let hook = hook::listen(&rim, behaviour).await;
    (rim, hook)
}

/// A webhook that sees writes of config maps.
fn webhook(name: &str, client: &Value) -> Value {
    json!({"name": name, "clientConfig": client, "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]})
}

async fn register(rim: &Rim, kind: &str, name: &str, webhooks: &Value) -> Answer {
    let configuration = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "webhooks": webhooks});
    let path = format!("/apis/admissionregistration.k8s.io/v1/{}s", kind.to_lowercase());
    rim.send(&format!("POST {path}\n\n{configuration}")).await
}

async fn mutating(rim: &Rim, name: &str, webhooks: &Value) {
    let made = register(rim, "MutatingWebhookConfiguration", name, webhooks).await;
    assert_eq!(made.code, 201, "{made:?}");
}

async fn validating(rim: &Rim, name: &str, webhooks: &Value) {
    let made = register(rim, "ValidatingWebhookConfiguration", name, webhooks).await;
    assert_eq!(made.code, 201, "{made:?}");
}

fn map(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"own": "0"}})
}

async fn create(rim: &Rim, object: &Value) -> Answer {
    rim.send(&format!("POST {MAPS}\n\n{object}")).await
}

#[track_caller]
fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_validating_webhook_is_asked_with_everything_it_may_want_to_know() {
    let (rim, hook) = start().await;
    validating(&rim, "v", &json!([webhook("a.example.com", &hook.client("/allow"))])).await;
    let made = create(&rim, &map("m", &json!({}))).await;
    assert_eq!((made.code, made.header("warning")), (201, "299 - \"mind the gap\""));
    let (path, review) = hook.take().remove(0);
    assert_eq!(path, "/allow?timeout=10s");
    let request = &review["request"];
    assert_eq!(request["operation"], "CREATE");
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&request["name"], &request["namespace"]), (&json!("m"), &json!("default")));
    assert_eq!(request["userInfo"]["username"], "admin");
    assert_eq!((&request["dryRun"], &request["oldObject"]), (&json!(false), &Value::Null));
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!(request["object"]["metadata"]["name"], "m");
    assert!(request["object"]["metadata"]["managedFields"].is_array(), "{request}");

    let patch = format!(
        "PATCH {MAPS}/m?dryRun=All\nContent-Type: application/merge-patch+json\n\n{{\"data\":{{\"a\":\"b\"}}}}"
    );
    assert_eq!(rim.send(&patch).await.code, 200);
    let (_, review) = hook.take().remove(0);
    let request = &review["request"];
    assert_eq!((&request["operation"], &request["dryRun"]), (&json!("UPDATE"), &json!(true)));
    assert_eq!((&request["oldObject"]["data"]["a"], &request["object"]["data"]["a"]), (&Value::Null, &json!("b")));
    assert_eq!(request["options"]["kind"], "PatchOptions");
}

#[tokio::test]
async fn a_refusal_is_answered_with_the_words_and_the_code_of_the_webhook() {
    let (rim, hook) = start().await;
    validating(&rim, "v", &json!([webhook("deny.example.com", &hook.client("/deny"))])).await;
    let refused = create(&rim, &map("m", &json!({}))).await;
    assert_eq!(refused.code, 403);
    assert_eq!(message(&refused), "admission webhook \"deny.example.com\" denied the request: not so");
    assert_eq!(refused.json()["reason"], "Forbidden");

    // The configuration itself can always be taken away.
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    assert_eq!(rim.send(&format!("DELETE {path}/v")).await.code, 200);
    assert_eq!(create(&rim, &map("m", &json!({}))).await.code, 201);
}

#[tokio::test]
async fn deletions_are_asked_about_each_by_itself() {
    let (rim, hook) = start().await;
    for name in ["a", "b"] {
        assert_eq!(create(&rim, &map(name, &json!({"x": "y"}))).await.code, 201);
    }
    validating(&rim, "v", &json!([webhook("a.example.com", &hook.client("/"))])).await;
    assert_eq!(rim.send(&format!("DELETE {MAPS}?labelSelector=x%3Dy")).await.code, 200);
    let seen: Vec<(Value, Value, Value)> = hook
        .take()
        .into_iter()
        .map(|(_, review)| {
            let request = &review["request"];
            (request["operation"].clone(), request["oldObject"]["metadata"]["name"].clone(), request["object"].clone())
        })
        .collect();
    assert_eq!(seen, [(json!("DELETE"), json!("a"), Value::Null), (json!("DELETE"), json!("b"), Value::Null)]);
}

#[tokio::test]
async fn webhooks_mutate_in_order_and_earlier_ones_are_asked_again_if_they_want() {
    let (rim, hook) = start().await;
    let mut first = webhook("first.example.com", &hook.client("/first"));
    first["reinvocationPolicy"] = "IfNeeded".into();
    // By name of the configuration, not by age.
    mutating(&rim, "b", &json!([webhook("second.example.com", &hook.client("/second"))])).await;
    mutating(&rim, "a", &json!([first])).await;
    let made = create(&rim, &map("m", &json!({}))).await;
    assert_eq!(made.json()["data"], json!({"first": "1", "own": "0", "second": "2"}));
    let paths: Vec<String> = hook.take().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/first?timeout=10s", "/second?timeout=10s", "/first?timeout=10s"]);
    // What they add belongs to nobody.
    let owners = made.json()["metadata"]["managedFields"].to_string();
    assert!(!owners.contains("f:first"), "{owners}");
}

#[tokio::test]
async fn what_a_webhook_adds_gets_its_defaults_and_must_be_valid() {
    let (rim, hook) = start().await;
    let mut own = webhook("pods.example.com", &hook.client("/container"));
    own["rules"][0]["resources"] = json!(["pods"]);
    own["rules"][0]["operations"] = json!(["CREATE"]);
    mutating(&rim, "m", &json!([own])).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    assert_eq!(rim.send(&format!("POST /api/v1/namespaces/default/serviceaccounts\n\n{account}")).await.code, 201);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let made = rim.send(&format!("POST /api/v1/namespaces/default/pods\n\n{pod}")).await;
    assert_eq!(made.json()["spec"]["containers"][1]["imagePullPolicy"], "Always", "{made:?}");
    // The plugins ran again for it.
    assert_eq!(made.json()["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
    let twice = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "q"},
        "spec": {"containers": [{"name": "b", "image": "a"}]}});
    let refused = rim.send(&format!("POST /api/v1/namespaces/default/pods\n\n{twice}")).await;
    assert_eq!(refused.code, 422);
    assert!(message(&refused).contains("spec.containers[1].name: Duplicate value: \"b\""), "{refused:?}");
}

#[tokio::test]
async fn selectors_and_conditions_decide_who_is_asked() {
    let (rim, hook) = start().await;
    let mut own = webhook("deny.example.com", &hook.client("/deny"));
    own["objectSelector"] = json!({"matchLabels": {"strict": "yes"}});
    own["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
    own["matchConditions"] = json!([
        {"name": "not-mine", "expression": "request.userInfo.username != 'nobody' && !(object.metadata.name.startsWith('free'))"},
        {"name": "may", "expression": "authorizer.group('').resource('configmaps').namespace('default').check('delete').allowed()"},
        {"name": "asks", "expression": "authorizer.requestResource.check('create').allowed() && oldObject == null"}]);
    validating(&rim, "v", &json!([own])).await;
    let strict = json!({"strict": "yes"});
    assert_eq!(create(&rim, &map("a", &json!({}))).await.code, 201);
    assert_eq!(create(&rim, &map("free", &strict)).await.code, 201);
    assert_eq!(create(&rim, &map("b", &strict)).await.code, 403);
    let elsewhere = rim.send(&format!("POST /api/v1/namespaces/kube-public/configmaps\n\n{}", map("b", &strict))).await;
    assert_eq!(elsewhere.code, 201, "{elsewhere:?}");
}

#[tokio::test]
async fn a_condition_that_fails_follows_the_failure_policy() {
    let (rim, hook) = start().await;
    let mut own = webhook("deny.example.com", &hook.client("/deny"));
    own["matchConditions"] = json!([{"name": "broken", "expression": "object.data.missing == 'x'"}]);
    validating(&rim, "v", &json!([own])).await;
    let refused = create(&rim, &map("a", &json!({}))).await;
    assert_eq!(refused.code, 403);
    assert!(message(&refused).contains("expression 'object.data.missing == 'x'' resulted in error: "), "{refused:?}");
    own["failurePolicy"] = "Ignore".into();
    own["name"] = "other.example.com".into();
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    assert_eq!(rim.send(&format!("DELETE {path}/v")).await.code, 200);
    validating(&rim, "w", &json!([own])).await;
    assert_eq!(create(&rim, &map("a", &json!({}))).await.code, 201);
    assert!(hook.take().is_empty());
}

#[tokio::test]
async fn a_configuration_with_a_condition_that_cannot_be_compiled_is_refused() {
    let (rim, hook) = start().await;
    for (expression, why) in
        [("object.data ==", "compilation failed: ERROR"), ("params.x == 1", "undeclared reference to 'params'")]
    {
        let mut own = webhook("a.example.com", &hook.client("/"));
        own["matchConditions"] = json!([{"name": "x", "expression": expression}]);
        let refused = register(&rim, "ValidatingWebhookConfiguration", "v", &json!([own])).await;
        assert_eq!(refused.code, 422);
        assert!(message(&refused).contains("webhooks[0].matchConditions[0].expression: Invalid value"), "{refused:?}");
        assert!(message(&refused).contains(why), "{refused:?}");
    }
    let mut beta = webhook("a.example.com", &hook.client("/"));
    beta["admissionReviewVersions"] = json!(["v1beta1"]);
    let refused = register(&rim, "ValidatingWebhookConfiguration", "v", &json!([beta])).await;
    assert!(message(&refused).contains("does not speak AdmissionReview v1beta1"), "{refused:?}");
}

#[tokio::test]
async fn webhooks_that_lie_flood_or_redirect_fail_as_their_policy_says() {
    let (rim, hook) = start().await;
    for (path, why) in [
        ("/garbage", "is no JSON"),
        ("/flood", "cannot read the answer: length limit exceeded"),
        ("/stranger", "received invalid webhook response: expected response.uid="),
        ("/redirect", "the server answered 302 Found"),
    ] {
        let name = path.trim_start_matches('/');
        let mut own = webhook(&format!("{name}.example.com"), &hook.client(path));
        validating(&rim, "v", &json!([own])).await;
        let refused = create(&rim, &map(name, &json!({}))).await;
        assert_eq!(refused.code, 500, "{path}");
        let begins = format!("Internal error occurred: failed calling webhook \"{name}.example.com\": ");
        assert!(message(&refused).starts_with(&begins) && message(&refused).contains(why), "{refused:?}");
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
        assert_eq!(rim.send(&format!("DELETE {path}")).await.code, 200);
        own["failurePolicy"] = "Ignore".into();
        validating(&rim, "v", &json!([own])).await;
        assert_eq!(create(&rim, &map(name, &json!({}))).await.code, 201);
        assert_eq!(rim.send(&format!("DELETE {path}")).await.code, 200);
    }
}

#[tokio::test]
async fn a_webhook_that_hangs_is_given_up_after_its_time() {
    let (rim, hook) = start().await;
    let mut own = webhook("slow.example.com", &hook.client("/hang"));
    own["timeoutSeconds"] = 1.into();
    validating(&rim, "v", &json!([own])).await;
    let refused = create(&rim, &map("m", &json!({}))).await;
    let why = format!(
        "Internal error occurred: failed calling webhook \"slow.example.com\": failed to call webhook: \
         Post \"https://localhost:{}/hang?timeout=1s\": context deadline exceeded",
        hook.port()
    );
    assert_eq!((refused.code, message(&refused)), (500, why));
}

#[tokio::test]
async fn a_webhook_cannot_make_another_object_of_it() {
    let (rim, hook) = start().await;
    mutating(&rim, "m", &json!([webhook("rename.example.com", &hook.client("/rename"))])).await;
    let refused = create(&rim, &map("m", &json!({}))).await;
    assert_eq!(refused.code, 500);
    assert!(message(&refused).contains("admission may not change metadata.name"), "{refused:?}");
}

#[tokio::test]
async fn a_webhook_is_reached_by_its_service() {
    let (rim, hook) = start().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"ports": [{"port": 443, "targetPort": hook.port()}]}});
    assert_eq!(rim.send(&format!("POST /api/v1/namespaces/default/services\n\n{service}")).await.code, 201);
    let client =
        json!({"service": {"namespace": "default", "name": "hook", "path": "/deny"}, "caBundle": hook.authority()});
    validating(&rim, "v", &json!([webhook("deny.example.com", &client)])).await;
    let lost = create(&rim, &map("m", &json!({}))).await;
    assert!(message(&lost).contains("no endpoints available for service \"hook\""), "{lost:?}");
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "hook", "labels": {"kubernetes.io/service-name": "hook"}},
        "ports": [{"name": "", "port": hook.port(), "protocol": "TCP"}], "endpoints": [{"addresses": ["10.1.2.3"]}]});
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(rim.send(&format!("POST {path}\n\n{slice}")).await.code, 201);
    let refused = create(&rim, &map("m", &json!({}))).await;
    assert_eq!(message(&refused), "admission webhook \"deny.example.com\" denied the request: not so");
}

#[tokio::test]
async fn another_version_of_a_resource_is_shown_as_the_rule_names_it() {
    let (rim, hook) = start().await;
    let mut own = webhook("hpa.example.com", &hook.client("/"));
    own["rules"] = json!([{"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v2"],
        "resources": ["horizontalpodautoscalers"]}]);
    validating(&rim, "v", &json!([own])).await;
    let hpa = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    assert_eq!(rim.send(&format!("POST {path}\n\n{hpa}")).await.code, 201);
    let (_, review) = hook.take().remove(0);
    let request = &review["request"];
    assert_eq!((&request["kind"]["version"], &request["requestKind"]["version"]), (&json!("v2"), &json!("v1")));
    assert_eq!(request["object"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
}

#[tokio::test]
async fn the_scale_of_a_workload_is_judged_as_a_scale() {
    let (rim, hook) = start().await;
    let mut own = webhook("scale.example.com", &hook.client("/"));
    own["rules"] =
        json!([{"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["*/scale"]}]);
    own["matchConditions"] = json!([{"name": "grows", "expression": "object.spec.replicas > oldObject.spec.replicas"}]);
    validating(&rim, "v", &json!([own])).await;
    let labels = json!({"a": "b"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "c"}]}}}});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(rim.send(&format!("POST {path}\n\n{deployment}")).await.code, 201);
    for replicas in [1, 5] {
        let patch = format!(
            "PATCH {path}/d/scale\nContent-Type: application/merge-patch+json\n\n{{\"spec\":{{\"replicas\":{replicas}}}}}"
        );
        assert_eq!(rim.send(&patch).await.code, 200);
    }
    let seen = hook.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let request = &seen[0].1["request"];
    assert_eq!((&request["kind"]["kind"], &request["subResource"]), (&json!("Scale"), &json!("scale")));
    assert_eq!(request["object"]["spec"]["replicas"], 5);
}

#[tokio::test]
async fn calls_share_a_connection_and_are_counted() {
    let (rim, hook) = start().await;
    validating(&rim, "v", &json!([webhook("a.example.com", &hook.client("/allow"))])).await;
    for name in ["one", "two", "three"] {
        assert_eq!(create(&rim, &map(name, &json!({}))).await.code, 201);
    }
    assert_eq!((hook.take().len(), hook.connections()), (3, 1));
    // Another bundle is another trust, and another connection.
    validating(&rim, "w", &json!([webhook("b.example.com", &hook.client("/deny"))])).await;
    assert_eq!(create(&rim, &map("four", &json!({}))).await.code, 403);
    let text = String::from_utf8(rim.send("GET /metrics").await.body.to_vec()).unwrap();
    let has = |line: &str| assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    has("apiserver_admission_webhook_request_total{code=\"200\",name=\"a.example.com\",operation=\"CREATE\",\
         rejected=\"false\",type=\"validating\"} 4");
    has("apiserver_admission_webhook_request_total{code=\"403\",name=\"b.example.com\",operation=\"CREATE\",\
         rejected=\"true\",type=\"validating\"} 1");
    has("apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"b.example.com\",\
         operation=\"CREATE\",rejection_code=\"403\",type=\"validating\"} 1");
    has("apiserver_admission_webhook_admission_duration_seconds_count{name=\"a.example.com\",\
         operation=\"CREATE\",rejected=\"false\",type=\"validating\"} 4");
}

#[tokio::test]
async fn a_webhook_without_a_bundle_is_trusted_by_the_certificates_of_the_machine() {
    let machine = Authority::generate("machine-ca", rim::now()).unwrap();
    let trusted = format!("# a collection\n{}", machine.pem().certificate);
    let setup = Setup { dial: Arc::new(Loopback), trusted: &trusted, ..Setup::default() };
    let rim = rim::assemble(setup).await;
    let known = hook::listen_as(&machine, &rim, behaviour).await;
    let stranger = hook::listen(&rim, behaviour).await;
    validating(&rim, "v", &json!([webhook("a.example.com", &known.client_without_bundle("/allow"))])).await;
    assert_eq!(create(&rim, &map("one", &json!({}))).await.code, 201);
    validating(&rim, "w", &json!([webhook("b.example.com", &stranger.client_without_bundle("/allow"))])).await;
    let refused = create(&rim, &map("two", &json!({}))).await;
    assert_eq!(refused.code, 500);
    assert!(message(&refused).contains("failed to verify certificate"), "{refused:?}");
    assert_eq!((known.take().len(), stranger.take().len()), (2, 0));
}

#[tokio::test]
async fn questions_that_are_never_stored_are_seen_by_webhooks_too() {
    let (rim, hook) = start().await;
    let mut asks = webhook("a.example.com", &hook.client("/deny"));
    asks["rules"] = json!([{"operations": ["CREATE"], "apiGroups": ["authorization.k8s.io"], "apiVersions": ["v1"],
        "resources": ["subjectaccessreviews"]}]);
    validating(&rim, "v", &json!([asks])).await;
    let review = |kind: &str, spec: Value| {
        let object = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        format!("POST /apis/authorization.k8s.io/v1/{}s\n\n{object}", kind.to_lowercase())
    };
    let attributes = json!({"verb": "get", "resource": "pods"});
    let refused =
        rim.send(&review("SubjectAccessReview", json!({"user": "alice", "resourceAttributes": attributes}))).await;
    assert_eq!(refused.code, 403, "{refused:?}");
    let (_, asked) = hook.take().remove(0);
    assert_eq!(asked["request"]["kind"]["kind"], "SubjectAccessReview");
    assert_eq!(asked["request"]["object"]["spec"]["user"], "alice");
    let own = rim.send(&review("SelfSubjectAccessReview", json!({"resourceAttributes": attributes}))).await;
    assert_eq!((own.code, &own.json()["status"]["allowed"]), (201, &json!(true)));
    assert!(hook.take().is_empty());
}
