//! Objects from creation to deletion: what the server sets, what it refuses, and every way to delete.

mod deletion;
mod ownership;
mod updates;

use futures::FutureExt;
use serde_json::{Value, json};

use super::{
    Check,
    answer::{says, version},
    world::World,
};

const AREA: &str = "objects";
const CONVENTIONS: &str = "Kubernetes API conventions, Metadata";
const NAMES: &str = "https://kubernetes.io/docs/concepts/overview/working-with-objects/names/";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "a_created_object_has_what_only_the_server_sets", CONVENTIONS, |w| created(w).boxed()),
    Check::new(AREA, "a_name_is_taken_once_in_a_namespace", CONVENTIONS, |w| taken(w).boxed()),
    Check::new(AREA, "names_follow_the_rules_of_their_kind", NAMES, |w| named(w).boxed()),
    Check::new(
        AREA,
        "a_generated_name_begins_as_asked_and_is_short_enough",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#generated-values",
        |w| generated(w).boxed(),
    ),
    Check::new(
        AREA,
        "an_object_is_what_its_url_says",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris",
        |w| url(w).boxed(),
    ),
    Check::new(
        AREA,
        "labels_annotations_finalizers_and_owners_are_validated",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set",
        |w| metadata(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_namespace_has_to_be_there",
        "https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespacelifecycle",
        |w| namespace(w).boxed(),
    ),
    Check::new(
        AREA,
        "what_a_resource_cannot_do_is_not_allowed",
        "RFC 9110, 15.5.6: 405 Method Not Allowed; 15.5.5: 404 Not Found",
        |w| methods(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_dry_run_answers_as_if_and_stores_nothing",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run",
        |w| dry_run(w).boxed(),
    ),
    Check::new(
        AREA,
        "an_update_of_an_old_state_is_a_conflict",
        "Kubernetes API conventions, Concurrency Control and Consistency",
        |w| updates::conflict(w).boxed(),
    ),
    Check::new(
        AREA,
        "an_update_without_a_version_is_unconditional_where_the_kind_allows",
        "Kubernetes API conventions, Concurrency Control and Consistency",
        |w| updates::unconditional(w).boxed(),
    ),
    Check::new(
        AREA,
        "an_update_that_changes_nothing_is_no_revision",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions",
        |w| updates::nothing(w).boxed(),
    ),
    Check::new(AREA, "an_update_does_not_touch_what_only_the_server_sets", CONVENTIONS, |w| updates::fixed(w).boxed()),
    Check::new(
        AREA,
        "the_generation_counts_changes_of_what_is_wanted",
        "https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ generation",
        |w| updates::generation(w).boxed(),
    ),
    Check::new(AREA, "spec_and_status_are_written_apart", "Kubernetes API conventions, Spec and Status", |w| {
        updates::status(w).boxed()
    }),
    Check::new(
        AREA,
        "an_update_creates_only_kinds_that_allow_it",
        "Conformance: Lease; https://kubernetes.io/docs/reference/using-api/api-concepts/",
        |w| updates::absent(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_deleted_object_is_gone_and_its_uid_is_told",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-deletion",
        |w| deletion::gone(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_deletion_keeps_its_preconditions",
        "https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/ preconditions",
        |w| deletion::preconditions(w).boxed(),
    ),
    Check::new(
        AREA,
        "finalizers_hold_an_object_until_the_last_is_removed",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/",
        |w| deletion::finalizers(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_pod_is_given_time_that_only_shrinks",
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
        |w| deletion::grace(w).boxed(),
    ),
    Check::new(AREA, "a_collection_is_deleted_by_selectors", "Conformance: PodTemplate, delete a collection", |w| {
        deletion::collection(w).boxed()
    }),
    Check::new(
        AREA,
        "options_of_a_deletion_are_validated",
        "https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/",
        |w| deletion::options(w).boxed(),
    ),
    Check::new(
        AREA,
        "dependents_go_with_their_owner_in_the_background",
        "https://kubernetes.io/docs/concepts/architecture/garbage-collection/#background-deletion",
        |w| ownership::background(w).boxed(),
    ),
    Check::new(
        AREA,
        "orphans_stay_and_lose_their_owner",
        "https://kubernetes.io/docs/concepts/architecture/garbage-collection/#orphaned-dependents",
        |w| ownership::orphans(w).boxed(),
    ),
    Check::new(
        AREA,
        "an_owner_waits_for_its_dependents_in_the_foreground",
        "https://kubernetes.io/docs/concepts/architecture/garbage-collection/#foreground-deletion",
        |w| ownership::foreground(w).boxed(),
    ),
];

pub(super) fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

async fn created(w: World) {
    let mut object = map("a");
    object["metadata"]["uid"] = "mine".into();
    object["metadata"]["creationTimestamp"] = "1999-01-01T00:00:00Z".into();
    object["metadata"]["deletionTimestamp"] = "1999-01-01T00:00:00Z".into();
    let made = w.create(&w.path("configmaps"), &object).await.with(201);
    let meta = &made["metadata"];
    let uid = meta["uid"].as_str().unwrap_or_default();
    assert!(uid.len() == 36 && uid != "mine", "the uid of {meta}");
    let at = meta["creationTimestamp"].as_str().unwrap_or_default();
    assert!(at.len() == 20 && at.ends_with('Z') && !at.starts_with("1999"), "the time of {meta}");
    assert!(meta.get("deletionTimestamp").is_none(), "a new object is not being deleted: {meta}");
    assert_eq!((&meta["namespace"], &made["data"]["k"]), (&json!(w.namespace), &json!("v")));
    assert_eq!((&made["apiVersion"], &made["kind"]), (&json!("v1"), &json!("ConfigMap")));
    let version: u64 = version(&made).parse().expect("resource versions are unsigned integers (KEP-5504)");
    assert!(version > 0);
    let read = w.get(&w.at("configmaps", "a")).await.ok();
    assert_eq!(read, made, "what is read is what was answered");
    let second = w.create(&w.path("configmaps"), &map("b")).await.with(201);
    assert_ne!(second["metadata"]["uid"], made["metadata"]["uid"]);
    assert!(super::answer::version(&second).parse::<u64>().is_ok_and(|later| later > version), "revisions rise");
}

async fn taken(w: World) {
    let other = w.name("other");
    w.later(format!("/api/v1/namespaces/{other}"));
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}});
    w.create("/api/v1/namespaces", &object).await.with(201);
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let status = w.create(&w.path("configmaps"), &map("a")).await.refused(409, "AlreadyExists");
    assert_eq!(status["message"], "configmaps \"a\" already exists");
    assert_eq!((&status["details"]["name"], &status["details"]["kind"]), (&json!("a"), &json!("configmaps")));
    w.create(&format!("/api/v1/namespaces/{other}/configmaps"), &map("a")).await.with(201);
    let status = w.get(&w.at("configmaps", "b")).await.refused(404, "NotFound");
    assert_eq!(status["message"], "configmaps \"b\" not found");
    assert_eq!((&status["details"]["name"], &status["details"]["kind"]), (&json!("b"), &json!("configmaps")));
    let status = w.get(&w.at("apps/v1/deployments", "b")).await.refused(404, "NotFound");
    assert_eq!(status["message"], "deployments.apps \"b\" not found");
    assert_eq!(status["details"]["group"], "apps");
}

async fn named(w: World) {
    let long = "a".repeat(254);
    for name in ["Upper", "under_score", "-dash", "dash-", "a..b", "a/b", "a%b", long.as_str()] {
        w.create(&w.path("configmaps"), &map(name)).await.invalid(&["metadata.name"]);
    }
    for name in ["a.b-c.1", &"a".repeat(253)] {
        w.create(&w.path("configmaps"), &map(name)).await.with(201);
    }
    let status = w.create(&w.path("configmaps"), &json!({"metadata": {}})).await.invalid(&["metadata.name"]);
    says(&status, &["name or generateName is required"]);
    // The names of Services and namespaces are labels: no dots.
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    w.create(&w.path("services"), &service("a.b")).await.invalid(&["metadata.name"]);
    let namespace = |name: &str| json!({"metadata": {"name": name}});
    w.create("/api/v1/namespaces", &namespace(&format!("{}.a", w.prefix()))).await.invalid(&["metadata.name"]);
    // Names of roles are path segments only.
    let role = json!({"metadata": {"name": "System:Role_1"}, "rules": []});
    w.create(&w.path("rbac.authorization.k8s.io/v1/roles"), &role).await.with(201);
}

async fn generated(w: World) {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let made = w.create(&w.path("configmaps"), &json!({"metadata": {"generateName": "gen-"}})).await.with(201);
        let name = made["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
        assert_eq!(made["metadata"]["generateName"], "gen-");
        assert!(seen.insert(name.clone()), "{name} was generated twice");
    }
    let long = json!({"metadata": {"generateName": "g".repeat(80)}});
    let made = w.create(&w.path("configmaps"), &long).await.with(201);
    let name = made["metadata"]["name"].as_str().unwrap_or_default();
    assert!(name.len() == 63 && name.starts_with(&"g".repeat(58)), "{name}");
    // A name goes before a prefix.
    let both = json!({"metadata": {"name": "both", "generateName": "gen-"}});
    assert_eq!(w.create(&w.path("configmaps"), &both).await.with(201)["metadata"]["name"], "both");
    let wrong = json!({"metadata": {"generateName": "Gen_"}});
    w.create(&w.path("configmaps"), &wrong).await.invalid(&["metadata.generateName"]);
}

async fn url(w: World) {
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let status = w.replace(&w.at("configmaps", "a"), &map("b")).await.refused(400, "BadRequest");
    says(&status, &["the name of the object (b) does not match the name on the URL (a)"]);
    let mut elsewhere = map("c");
    elsewhere["metadata"]["namespace"] = "default".into();
    let status = w.create(&w.path("configmaps"), &elsewhere).await.refused(400, "BadRequest");
    says(&status, &["the namespace of the provided object does not match the namespace sent on the request"]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "d"}});
    let status = w.create(&w.path("configmaps"), &secret).await.refused(400, "BadRequest");
    says(&status, &["Secret in version \"v1\" cannot be handled as a ConfigMap"]);
    let other = json!({"apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": {"name": "d"}});
    w.create(&w.path("configmaps"), &other).await.refused(400, "BadRequest");
    // What is not said is taken from the path.
    let made = w.create(&w.path("configmaps"), &json!({"metadata": {"name": "e"}})).await.with(201);
    assert_eq!((&made["kind"], &made["metadata"]["namespace"]), (&json!("ConfigMap"), &json!(w.namespace)));
}

async fn metadata(w: World) {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut object = map("x");
        change(&mut object["metadata"]);
        object
    };
    let label = "l".repeat(64);
    let owner = |controller: bool| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": controller});
    let cases: [(&str, Value); 10] = [
        ("metadata.labels", with(&|m| m["labels"] = json!({"a b": "v"}))),
        ("metadata.labels", with(&|m| m["labels"] = json!({"a": "no spaces"}))),
        ("metadata.labels", with(&|m| m["labels"] = json!({"a": label}))),
        ("metadata.labels", with(&|m| m["labels"] = json!({"UPPER.com/a": "v"}))),
        ("metadata.annotations", with(&|m| m["annotations"] = json!({"a b": "v"}))),
        ("metadata.annotations", with(&|m| m["annotations"] = json!({"a": "v".repeat(256 * 1024)}))),
        ("metadata.finalizers[0]", with(&|m| m["finalizers"] = json!(["plain"]))),
        ("metadata.ownerReferences", with(&|m| m["ownerReferences"] = json!([owner(true), owner(true)]))),
        (
            "metadata.ownerReferences",
            with(&|m| {
                m["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": ""}]);
            }),
        ),
        (
            "metadata.ownerReferences",
            with(&|m| {
                m["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "", "name": "o", "uid": "u"}]);
            }),
        ),
    ];
    for (field, object) in &cases {
        let status = w.create(&w.path("configmaps"), object).await.refused(422, "Invalid");
        let causes = super::answer::causes(&status);
        assert!(causes.iter().any(|(own, _)| own.starts_with(field)), "no cause has the field {field}: {status}");
    }
    let fine = with(&|m| {
        m["labels"] = json!({"example.com/A_b.c": "V_1.x-y", "empty": ""});
        m["annotations"] = json!({"example.com/any": "{}\n"});
        m["finalizers"] = json!([]);
        m["ownerReferences"] = json!([owner(true), owner(false)]);
    });
    // Two references to one owner are a warning only.
    w.create(&format!("{}?dryRun=All", w.path("configmaps")), &fine).await.with(201);
}

async fn namespace(w: World) {
    let absent = w.name("absent");
    let status = w.create(&format!("/api/v1/namespaces/{absent}/configmaps"), &map("a")).await;
    let status = status.refused(404, "NotFound");
    assert_eq!(status["message"], format!("namespaces \"{absent}\" not found"));
    let list = w.get(&format!("/api/v1/namespaces/{absent}/configmaps")).await.ok();
    assert_eq!(list["items"], json!([]), "a list of what cannot be is empty");
    // One that is going takes nothing more.
    let going = w.name("going");
    let target = format!("/api/v1/namespaces/{going}");
    w.create("/api/v1/namespaces", &json!({"metadata": {"name": going}})).await.with(201);
    let mut held = map("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    w.create(&format!("{target}/configmaps"), &held).await.with(201);
    let deleted = w.delete(&target).await.ok();
    assert_eq!((&deleted["kind"], &deleted["status"]["phase"]), (&json!("Namespace"), &json!("Terminating")));
    let status = w.create(&format!("{target}/configmaps"), &map("late")).await.refused(403, "Forbidden");
    says(&status, &["because it is being terminated"]);
    let causes = super::answer::causes(&status);
    assert!(
        causes.iter().any(|(field, reason)| *field == "metadata.namespace" && *reason == "NamespaceTerminating"),
        "{status}"
    );
    w.patch(&format!("{target}/configmaps/held"), super::world::MERGE, &json!({"metadata": {"finalizers": null}}))
        .await
        .coded(200);
    w.until("the namespace is gone", &target, |answer| answer.code == 404).await;
}

async fn methods(w: World) {
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    for (method, target) in [
        ("POST", w.at("configmaps", "a")),
        ("PUT", w.path("configmaps")),
        ("PATCH", w.path("configmaps")),
        ("DELETE", w.at("pods", "a") + "/log"),
        ("DELETE", "/apis/authorization.k8s.io/v1/subjectaccessreviews".into()),
    ] {
        let answer =
            w.send(method, &target, &[("content-type", "application/json")], super::world::body(&map("a"))).await;
        answer.refused(405, "MethodNotAllowed");
    }
    for target in
        ["/api/v1/nonsense", "/apis/apps/v1/nonsense", "/apis/nonsense.example.com/v1/things", "/apis/apps/v0"]
    {
        w.get(target).await.coded(404);
    }
    w.get(&(w.at("configmaps", "a") + "/nonsense")).await.coded(404);
}

async fn dry_run(w: World) {
    let collection = w.path("configmaps");
    let dry = |target: &str| format!("{target}?dryRun=All");
    let made = w.create(&dry(&collection), &map("a")).await.with(201);
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string(), "{made}");
    let target = w.at("configmaps", "a");
    w.get(&target).await.refused(404, "NotFound");
    let generated = w.create(&dry(&collection), &json!({"metadata": {"generateName": "g-"}})).await.with(201);
    assert_eq!(generated["metadata"]["name"].as_str().map(str::len), Some(7));
    let kept = w.create(&collection, &map("a")).await.with(201);
    w.create(&dry(&collection), &map("a")).await.refused(409, "AlreadyExists");
    w.create(&dry(&collection), &map("Wrong")).await.refused(422, "Invalid");
    let mut changed = kept.clone();
    changed["data"]["k"] = "dry".into();
    assert_eq!(w.replace(&dry(&target), &changed).await.ok()["data"]["k"], "dry");
    let patch = json!({"data": {"k": "dry"}});
    assert_eq!(w.patch(&dry(&target), super::world::MERGE, &patch).await.ok()["data"]["k"], "dry");
    w.delete(&dry(&target)).await.coded(200);
    w.delete_with(&target, &json!({"dryRun": ["All"]})).await.coded(200);
    w.delete(&dry(&collection)).await.coded(200);
    assert_eq!(w.get(&target).await.ok(), kept, "a dry run changed what is stored");
    let status = w.create(&format!("{collection}?dryRun=Some"), &map("b")).await.refused(422, "Invalid");
    says(&status, &["dryRun"]);
    w.delete_with(&target, &json!({"dryRun": ["Some"]})).await.refused(422, "Invalid");
}
