//! Creating, reading, changing and deleting objects.

use serde_json::json;
use windlass_kernel::{
    ErrorKind,
    api::{PatchType, Verb},
};

use crate::rig::{Rig, names, value};

fn map(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "data": {"k": "v"}})
}

#[test]
fn an_object_is_created_read_changed_and_deleted() {
    let rig = Rig::new();
    let made = rig.create("configmaps", map("a")).unwrap();
    assert_eq!((made["kind"].as_str(), made["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(made["metadata"]["creationTimestamp"], "1970-01-01T00:00:00Z");
    assert!(!made["metadata"]["uid"].as_str().unwrap().is_empty());
    assert_eq!(rig.get("configmaps", "a").unwrap(), made);
    assert!(rig.create("configmaps", map("a")).unwrap_err().is(ErrorKind::AlreadyExists));

    let mut changed = made.clone();
    changed["data"]["k"] = "w".into();
    let second = rig.update("configmaps", changed.clone()).unwrap();
    assert_ne!(second["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(second["metadata"]["uid"], made["metadata"]["uid"]);
    assert!(rig.update("configmaps", changed).unwrap_err().is(ErrorKind::Conflict));

    let gone = rig.delete("configmaps", "a").unwrap();
    assert_eq!(gone["status"], "Success");
    assert_eq!(gone["details"]["uid"], made["metadata"]["uid"]);
    assert_eq!(rig.get("configmaps", "a").unwrap_err().message(), "configmaps \"a\" not found");
}

#[test]
fn an_update_that_changes_nothing_writes_nothing() {
    let rig = Rig::new();
    let made = rig.create("configmaps", map("a")).unwrap();
    assert_eq!(rig.update("configmaps", made.clone()).unwrap(), made);
    let mut bare = map("a");
    bare["data"]["k"] = "v".into();
    assert_eq!(
        rig.update("configmaps", bare).unwrap()["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
}

#[test]
fn a_name_is_generated_until_it_is_free() {
    let rig = Rig::new();
    let made = rig.create("configmaps", json!({"metadata": {"generateName": "x-"}})).unwrap();
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
}

#[test]
fn patches_of_every_type_change_the_latest_state() {
    let rig = Rig::new();
    rig.create("configmaps", map("a")).unwrap();
    let patch = |kind, body| {
        let mut request = rig.request(Verb::Patch(kind), "configmaps").named("a").body(body);
        if kind == PatchType::Apply {
            request.options.field_manager = "me".into();
        }
        rig.call(request).map(value).unwrap()
    };
    let merged = patch(PatchType::Merge, json!({"data": {"m": "1"}}));
    assert_eq!(merged["data"], json!({"k": "v", "m": "1"}));
    let json = patch(PatchType::Json, json!([{"op": "remove", "path": "/data/m"}]));
    assert_eq!(json["data"], json!({"k": "v"}));
    let strategic = patch(PatchType::Strategic, json!({"metadata": {"labels": {"app": null, "x": "y"}}}));
    assert_eq!(strategic["metadata"]["labels"], json!({"x": "y"}));
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"z": "1"}});
    let applied = patch(PatchType::Apply, config);
    assert_eq!(applied["data"], json!({"k": "v", "z": "1"}));
    let managers: Vec<_> =
        applied["metadata"]["managedFields"].as_array().unwrap().iter().map(|m| m["manager"].clone()).collect();
    assert_eq!(managers, ["me", "rig"]);
}

#[test]
fn an_apply_creates_what_does_not_exist() {
    let rig = Rig::new();
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "data": {"z": "1"}});
    let mut request = rig.request(Verb::Patch(PatchType::Apply), "configmaps").named("n").body(config);
    request.options.field_manager = "me".into();
    let response = rig.call(request.clone()).unwrap();
    assert_eq!(response.code, 201);
    let made = value(response);
    let again = rig.call(request).unwrap();
    assert_eq!(again.code, 200);
    assert_eq!(value(again), made);
}

#[test]
fn a_dry_run_changes_nothing() {
    let rig = Rig::new();
    let mut request = rig.request(Verb::Create, "configmaps").body(map("a"));
    request.options.dry_run = true;
    assert_eq!(value(rig.call(request).unwrap())["metadata"]["name"], "a");
    assert!(rig.get("configmaps", "a").unwrap_err().is(ErrorKind::NotFound));
}

#[test]
fn an_object_with_finalizers_waits_until_they_are_gone() {
    let rig = Rig::new();
    let mut object = map("a");
    object["metadata"]["finalizers"] = json!(["example.com/f"]);
    rig.create("configmaps", object).unwrap();
    let mut pending = rig.delete("configmaps", "a").unwrap();
    assert_eq!(pending["metadata"]["deletionTimestamp"], "1970-01-01T00:00:00Z");
    pending["metadata"]["finalizers"] = json!([]);
    rig.update("configmaps", pending).unwrap();
    assert!(rig.get("configmaps", "a").unwrap_err().is(ErrorKind::NotFound));
}

#[test]
fn pages_show_one_state() {
    let rig = Rig::new();
    for name in ["a", "b", "c", "d", "e"] {
        rig.create("configmaps", map(name)).unwrap();
    }
    let first = rig.list("configmaps", |request| request.options.limit = 2).unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first.remaining, Some(3));
    rig.delete("configmaps", "c").unwrap();
    let token = first.continue_token.clone();
    let second = rig.list("configmaps", |request| {
        request.options.limit = 2;
        request.options.continue_token = token;
    });
    let second = second.unwrap();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second.revision, first.revision);
    let token = second.continue_token;
    let third = rig.list("configmaps", |request| request.options.continue_token = token).unwrap();
    assert_eq!((names(&third), third.continue_token.as_str()), (vec!["e".to_owned()], ""));
}

#[test]
fn selectors_select() {
    let rig = Rig::new();
    for name in ["a", "b", "c"] {
        rig.create("configmaps", map(name)).unwrap();
    }
    let labelled = rig.list("configmaps", |request| request.options.label_selector = "app in (a, c)".into()).unwrap();
    assert_eq!(names(&labelled), ["a", "c"]);
    let named = rig.list("configmaps", |request| request.options.field_selector = "metadata.name!=a".into()).unwrap();
    assert_eq!(names(&named), ["b", "c"]);
    let mut paged = rig.list("configmaps", |request| {
        request.options.label_selector = "app!=a".into();
        request.options.limit = 1;
    });
    let page = paged.as_mut().unwrap();
    assert_eq!((names(page), page.remaining), (vec!["b".to_owned()], None));
    let odd = rig.list("configmaps", |request| request.options.field_selector = "spec.x=y".into());
    let only = "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    assert_eq!(odd.unwrap_err().message(), only);
    let odd = rig.list("pods", |request| request.options.field_selector = "spec.x=y".into());
    assert_eq!(odd.unwrap_err().message(), "field label not supported: spec.x");
}

#[test]
fn a_collection_is_deleted_by_selector() {
    let rig = Rig::new();
    for name in ["a", "b", "c"] {
        rig.create("configmaps", map(name)).unwrap();
    }
    let mut request = rig.request(Verb::DeleteCollection, "configmaps");
    request.options.label_selector = "app!=b".into();
    rig.call(request).unwrap();
    assert_eq!(names(&rig.list("configmaps", |_| ()).unwrap()), ["b"]);
}

#[test]
fn an_apply_does_not_take_what_another_manager_set_unless_forced() {
    let rig = Rig::new();
    rig.create("configmaps", map("a")).unwrap();
    let apply = |force: bool| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "mine"}});
        let mut request = rig.request(Verb::Patch(PatchType::Apply), "configmaps").named("a").body(config);
        request.options.field_manager = "me".into();
        request.options.force = force;
        rig.call(request)
    };
    let conflict = apply(false).unwrap_err();
    assert!(conflict.is(ErrorKind::Conflict));
    assert_eq!(conflict.message(), "Apply failed with 1 conflict: conflict with \"rig\" using v1: .data.k");
    assert_eq!(conflict.details().unwrap().causes[0].reason, "FieldManagerConflict");
    assert_eq!(value(apply(true).unwrap())["data"]["k"], "mine");
}

#[test]
fn an_update_that_loses_a_race_is_made_again_unless_it_names_a_version() {
    let rig = Rig::new();
    rig.create("configmaps", map("a")).unwrap();
    // Unconditional: whatever was written meanwhile is replaced.
    let mut first = map("a");
    first["data"]["k"] = "1".into();
    let mut second = map("a");
    second["data"]["k"] = "2".into();
    let call = |object: serde_json::Value| rig.request(Verb::Update, "configmaps").named("a").body(object);
    let both = futures::future::join(
        windlass_kernel::Api::call(&*rig.server, call(first)),
        windlass_kernel::Api::call(&*rig.server, call(second)),
    );
    let (first, second) = crate::rig::wait(both);
    assert!(first.is_ok() && second.is_ok());
}

#[test]
fn what_an_apply_leaves_out_stays_where_an_updater_owns_it() {
    let rig = Rig::new();
    let apply = |data: serde_json::Value| {
        let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        if !data.is_null() {
            config["data"] = data;
        }
        let mut request = rig.request(Verb::Patch(PatchType::Apply), "configmaps").named("a").body(config);
        request.options.field_manager = "me".into();
        rig.call(request).map(value)
    };
    apply(json!({"mine": "1"})).unwrap();
    let other =
        rig.request(Verb::Patch(PatchType::Merge), "configmaps").named("a").body(json!({"data": {"theirs": "1"}}));
    rig.call(other).unwrap();
    assert_eq!(apply(serde_json::Value::Null).unwrap()["data"], json!({"theirs": "1"}));
}

#[test]
fn an_apply_that_names_a_uid_creates_nothing() {
    let rig = Rig::new();
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}});
    let mut request = rig.request(Verb::Patch(PatchType::Apply), "configmaps").named("a").body(config);
    request.options.field_manager = "me".into();
    assert!(rig.call(request).unwrap_err().is(ErrorKind::Conflict));
    assert!(rig.get("configmaps", "a").unwrap_err().is(ErrorKind::NotFound));
}

#[test]
fn a_pod_is_told_what_a_limit_range_filled_in() {
    let rig = Rig::new();
    rig.create("serviceaccounts", json!({"metadata": {"name": "default"}})).unwrap();
    let limits =
        json!([{"type": "Container", "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1", "memory": "1Mi"}}]);
    rig.create("limitranges", json!({"metadata": {"name": "l"}, "spec": {"limits": limits}})).unwrap();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}, {"name": "d", "image": "i"},
    ]}});
    let made = rig.create("pods", pod).unwrap();
    let text = "LimitRanger plugin set: memory request for container c; cpu, memory request for container d; \
                cpu limit for container d";
    assert_eq!(made["metadata"]["annotations"]["kubernetes.io/limit-ranger"], text);
}
