//! Server-side apply, and who owns which field after every kind of write.

mod lists;

use futures::FutureExt;
use serde_json::{Value, json};

use super::{
    Answer, Check,
    answer::{causes, says},
    objects::map,
    world::{APPLY, MERGE, World, body},
};

const AREA: &str = "apply";
const PAGE: &str = "https://kubernetes.io/docs/reference/using-api/server-side-apply/";
const CONFLICTS: &str = "https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts";
const MERGING: &str = "https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "an_apply_creates_or_changes_and_is_owned", PAGE, |w| owned(w).boxed()),
    Check::new(AREA, "an_apply_of_what_another_owns_is_a_conflict", CONFLICTS, |w| conflict(w).boxed()),
    Check::new(AREA, "a_field_of_the_same_value_is_shared", CONFLICTS, |w| shared(w).boxed()),
    Check::new(
        AREA,
        "what_is_applied_no_more_is_removed_unless_another_owns_it",
        "https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management",
        |w| removed(w).boxed(),
    ),
    Check::new(AREA, "lists_with_keys_merge_by_item", MERGING, |w| lists::keyed(w).boxed()),
    Check::new(AREA, "sets_merge_by_value_and_atomics_have_one_owner", MERGING, |w| lists::sets(w).boxed()),
    Check::new(
        AREA,
        "sub_resources_have_owners_of_their_own",
        "https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers",
        |w| subresources(w).boxed(),
    ),
    Check::new(
        AREA,
        "whoever_writes_owns_what_it_changed",
        "https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers",
        |w| updates(w).boxed(),
    ),
    Check::new(
        AREA,
        "owners_can_be_forgotten",
        "https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields",
        |w| forgotten(w).boxed(),
    ),
    Check::new(
        AREA,
        "what_kubectl_applied_before_goes_over_to_its_apply",
        "https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply",
        |w| upgrade(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_request_to_apply_is_validated",
        "https://kubernetes.io/docs/reference/kubernetes-api/common-parameters/common-parameters/#fieldManager",
        |w| validated(w).boxed(),
    ),
    Check::new(AREA, "an_apply_that_changes_nothing_is_no_revision", PAGE, |w| nothing(w).boxed()),
];

/// Applies as a manager.
pub(super) async fn apply(w: &World, target: &str, manager: &str, config: &Value) -> Answer {
    w.patch(&format!("{target}?fieldManager={manager}"), APPLY, config).await
}

/// A ConfigMap with this data, to be applied.
fn config(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// The entry of a manager.
pub(super) fn entry(object: &Value, manager: &str) -> Value {
    let mut managed = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    managed.find(|entry| entry["manager"] == manager).cloned().unwrap_or_default()
}

pub(super) fn managers(object: &Value) -> Vec<String> {
    let managed = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut names: Vec<_> = managed
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("manager"), text("operation"), text("subresource")).trim().to_owned()
        })
        .collect();
    names.sort();
    names
}

async fn owned(w: World) {
    let target = w.at("configmaps", "a");
    let made = apply(&w, &target, "one", &config("a", &json!({"k": "v"}))).await.with(201);
    let own = entry(&made, "one");
    assert_eq!((&own["operation"], &own["apiVersion"]), (&json!("Apply"), &json!("v1")));
    assert_eq!((&own["fieldsType"], &own["fieldsV1"]), (&json!("FieldsV1"), &json!({"f:data": {"f:k": {}}})));
    assert!(own["time"].is_string(), "{own}");
    let changed = apply(&w, &target, "one", &config("a", &json!({"k": "w", "l": "x"}))).await.ok();
    assert_eq!(changed["data"], json!({"k": "w", "l": "x"}));
    assert_eq!(entry(&changed, "one")["fieldsV1"], json!({"f:data": {"f:k": {}, "f:l": {}}}));
    // YAML is what the media type is named for.
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels:\n    a: b\ndata:\n  k: y\n";
    let target_ = format!("{target}?fieldManager=one");
    let applied = w.send("PATCH", &target_, &[("content-type", APPLY)], yaml.into()).await.ok();
    assert_eq!(applied["data"], json!({"k": "y"}));
    assert_eq!(entry(&applied, "one")["fieldsV1"]["f:metadata"], json!({"f:labels": {"f:a": {}}}));
}

async fn conflict(w: World) {
    let target = w.at("configmaps", "a");
    apply(&w, &target, "one", &config("a", &json!({"k": "1", "l": "1"}))).await.with(201);
    let status = apply(&w, &target, "two", &config("a", &json!({"k": "2"}))).await.refused(409, "Conflict");
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"one\": .data.k");
    assert_eq!(causes(&status), [(".data.k", "FieldManagerConflict")]);
    assert_eq!(status["details"]["causes"][0]["message"], "conflict with \"one\"");
    let both = apply(&w, &target, "two", &config("a", &json!({"k": "2", "l": "2"}))).await.refused(409, "Conflict");
    assert_eq!(causes(&both).len(), 2);
    let forced =
        w.patch(&format!("{target}?force=true&fieldManager=two"), APPLY, &config("a", &json!({"k": "2"}))).await.ok();
    assert_eq!(forced["data"], json!({"k": "2", "l": "1"}));
    assert_eq!(entry(&forced, "one")["fieldsV1"], json!({"f:data": {"f:l": {}}}), "who loses a field owns it no more");
    assert_eq!(entry(&forced, "two")["fieldsV1"], json!({"f:data": {"f:k": {}}}));
    // An update takes without asking.
    let updated = w.patch(&format!("{target}?fieldManager=three"), MERGE, &json!({"data": {"l": "3"}})).await.ok();
    assert_eq!(managers(&updated), ["three Update", "two Apply"]);
    let status = apply(&w, &target, "one", &config("a", &json!({"l": "1"}))).await.refused(409, "Conflict");
    says(&status, &["conflict with \"three\" using v1", ".data.l"]);
}

async fn shared(w: World) {
    let target = w.at("configmaps", "a");
    apply(&w, &target, "one", &config("a", &json!({"k": "1", "l": "1"}))).await.with(201);
    let shared = apply(&w, &target, "two", &config("a", &json!({"k": "1"}))).await.ok();
    assert_eq!(managers(&shared), ["one Apply", "two Apply"]);
    let left = apply(&w, &target, "one", &config("a", &json!({"l": "1"}))).await.ok();
    assert_eq!(left["data"], json!({"k": "1", "l": "1"}), "what another owns too stays");
    assert_eq!(entry(&left, "one")["fieldsV1"], json!({"f:data": {"f:l": {}}}));
    // Two who own a field conflict both.
    apply(&w, &target, "one", &config("a", &json!({"k": "1", "l": "1"}))).await.ok();
    apply(&w, &target, "three", &config("a", &json!({"k": "3"}))).await.refused(409, "Conflict");
    apply(&w, &target, "one", &config("a", &json!({"k": "3"}))).await.refused(409, "Conflict");
}

async fn removed(w: World) {
    let target = w.at("configmaps", "a");
    apply(&w, &target, "one", &config("a", &json!({"k": "1", "l": "1"}))).await.with(201);
    w.patch(&format!("{target}?fieldManager=other"), MERGE, &json!({"data": {"m": "1"}})).await.ok();
    let after = apply(&w, &target, "one", &config("a", &json!({"k": "1"}))).await.ok();
    assert_eq!(after["data"], json!({"k": "1", "m": "1"}));
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let after = apply(&w, &target, "one", &empty).await.ok();
    assert_eq!(after["data"], json!({"m": "1"}));
    assert!(!managers(&after).contains(&"one Apply".into()), "who owns nothing is not listed: {:?}", managers(&after));
    // An owned map that empties stays or goes, but its keys are gone.
    w.patch(&format!("{target}?fieldManager=other"), MERGE, &json!({"data": {"m": null}})).await.ok();
    let end = w.get(&target).await.ok();
    assert!(end.get("data").is_none_or(|data| data == &json!({})), "{end}");
}

fn deployment(spec: &Value) -> Value {
    let mut whole = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "paused": true, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    for (field, value) in spec.as_object().into_iter().flatten() {
        whole["spec"][field] = value.clone();
    }
    whole
}

async fn subresources(w: World) {
    let target = w.at("apps/v1/deployments", "d");
    apply(&w, &target, "one", &deployment(&json!({"replicas": 0}))).await.with(201);
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "status": {"conditions": [{"type": "Tried", "status": "True"}]}});
    let after = apply(&w, &format!("{target}/status"), "two", &status).await.ok();
    let own = entry(&after, "two");
    assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("status")));
    assert!(own["fieldsV1"]["f:status"].is_object() && own["fieldsV1"].get("f:spec").is_none(), "{own}");
    assert_eq!(after["spec"]["replicas"], 0);
    // Whoever scales owns the number of replicas, under the name that it has in the object.
    let scaled =
        w.patch(&format!("{target}/scale?fieldManager=three"), MERGE, &json!({"spec": {"replicas": 1}})).await.ok();
    assert_eq!(scaled["kind"], "Scale");
    let after = w.get(&target).await.ok();
    let own = entry(&after, "three");
    assert_eq!((&own["subresource"], &own["fieldsV1"]), (&json!("scale"), &json!({"f:spec": {"f:replicas": {}}})));
    let refused = apply(&w, &target, "one", &deployment(&json!({"replicas": 0}))).await.refused(409, "Conflict");
    assert_eq!(causes(&refused), [(".spec.replicas", "FieldManagerConflict")]);
    says(&refused, &["conflict with \"three\" with subresource \"scale\" using apps/v1"]);
    apply(&w, &target, "one", &deployment(&json!({}))).await.ok();
    assert_eq!(w.get(&target).await.ok()["spec"]["replicas"], 1);
}

async fn updates(w: World) {
    let target = w.at("configmaps", "a");
    let made =
        w.send("POST", &w.path("configmaps"), &[("user-agent", "maker/v1 (x)")], body(&map("a"))).await.with(201);
    assert_eq!(managers(&made), ["maker Update"], "without a manager the user agent is one, up to the first slash");
    let patched = w.patch(&format!("{target}?fieldManager=two"), MERGE, &json!({"data": {"k": "w"}})).await.ok();
    assert_eq!(entry(&patched, "two")["fieldsV1"], json!({"f:data": {"f:k": {}}}));
    assert!(entry(&patched, "maker")["fieldsV1"]["f:data"].get("f:k").is_none());
    let mut replaced = patched.clone();
    replaced["data"] = json!({"k": "w", "l": "x"});
    let replaced = w.replace(&format!("{target}?fieldManager=three"), &replaced).await.ok();
    assert_eq!(entry(&replaced, "three")["fieldsV1"], json!({"f:data": {"f:l": {}}}));
    assert_eq!(entry(&replaced, "two")["fieldsV1"], json!({"f:data": {"f:k": {}}}));
    let again = w.patch(&format!("{target}?fieldManager=four"), MERGE, &json!({"data": {"k": "w"}})).await.ok();
    assert_eq!(entry(&again, "four"), Value::Null, "who changes nothing owns nothing");
}

async fn forgotten(w: World) {
    let target = w.at("configmaps", "a");
    apply(&w, &target, "one", &config("a", &json!({"k": "1"}))).await.with(201);
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let after = w.patch(&target, MERGE, &reset).await.ok();
    assert!(after["metadata"].get("managedFields").is_none(), "{}", after["metadata"]);
    // What nobody is known to own belongs to the time before the first apply.
    let after = apply(&w, &target, "two", &config("a", &json!({"l": "1"}))).await.ok();
    assert_eq!(managers(&after), ["before-first-apply Update", "two Apply"]);
    let status = apply(&w, &target, "two", &config("a", &json!({"k": "2"}))).await.refused(409, "Conflict");
    says(&status, &["conflict with \"before-first-apply\" using v1", ".data.k"]);
}

async fn upgrade(w: World) {
    let target = w.at("configmaps", "a");
    let mut object = map("a");
    object["data"] = json!({"k": "1", "l": "1"});
    let last = object.to_string();
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    w.create(&format!("{}?fieldManager=kubectl-client-side-apply", w.path("configmaps")), &object).await.with(201);
    // By another manager those fields would be a conflict.
    apply(&w, &target, "stranger", &config("a", &json!({"k": "2"}))).await.refused(409, "Conflict");
    let after = apply(&w, &target, "kubectl", &config("a", &json!({"k": "2"}))).await.ok();
    assert_eq!(after["data"]["k"], "2");
    let annotation = after["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str();
    let annotation: Value =
        serde_json::from_str(annotation.unwrap_or_default()).expect("what was applied last, as JSON");
    assert_eq!(annotation["data"], json!({"k": "2"}), "the annotation follows");
}

async fn validated(w: World) {
    let target = w.at("configmaps", "a");
    let fine = config("a", &json!({"k": "1"}));
    let status = w.patch(&target, APPLY, &fine).await.refused(422, "Invalid");
    says(&status, &["PatchOptions.meta.k8s.io \"\" is invalid", "fieldManager", "is required for apply patch"]);
    let long = "m".repeat(129);
    apply(&w, &target, &long, &fine).await.refused(422, "Invalid");
    let forced = w.patch(&format!("{target}?force=true"), MERGE, &json!({})).await.refused(422, "Invalid");
    says(&forced, &["may not be specified for non-apply patch"]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut object = fine.clone();
        change(&mut object);
        object
    };
    let managed = with(&|object| {
        object["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Apply",
        "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}])
    });
    let status = apply(&w, &target, "one", &managed).await.refused(400, "BadRequest");
    says(&status, &["metadata.managedFields must be nil"]);
    for wrong in [
        with(&|object| object["apiVersion"] = "v2".into()),
        with(&|object| object["metadata"]["name"] = "b".into()),
        with(&|object| object["metadata"]["namespace"] = "default".into()),
    ] {
        let answer = apply(&w, &target, "one", &wrong).await;
        answer.refused(400, "BadRequest");
    }
    // What names a uid is about an object that is there.
    let known = with(&|object| object["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into());
    apply(&w, &target, "one", &known).await.refused(409, "Conflict");
    w.get(&target).await.refused(404, "NotFound");
    let dry = apply(&w, &target, "one&dryRun=All", &fine).await.with(201);
    assert_eq!(managers(&dry), ["one Apply"]);
    w.get(&target).await.refused(404, "NotFound");
}

async fn nothing(w: World) {
    let target = w.at("configmaps", "a");
    let fine = config("a", &json!({"k": "1"}));
    let made = apply(&w, &target, "one", &fine).await.with(201);
    let again = apply(&w, &target, "one", &fine).await.ok();
    assert_eq!(again, made, "an apply of the same, resource version and times included");
}
