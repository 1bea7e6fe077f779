//! Patches of three types, as their RFCs and Kubernetes' own strategic merge say.

mod strategic;

use futures::FutureExt;
use serde_json::json;

use super::{
    Check,
    answer::{says, version},
    objects::map,
    world::{JSON, MERGE, PATCH, STRATEGIC, World},
};

const AREA: &str = "patch";
const MERGED: &str = "RFC 7396: JSON Merge Patch";
const STRATEGIC_PAGE: &str =
    "https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ strategic merge patch";
const DIRECTIVES: &str = "github.com/kubernetes/community, sig-api-machinery/strategic-merge-patch.md";

pub(super) const CHECKS: &[Check] = &[
    Check::new(AREA, "every_operation_of_a_json_patch_works", "RFC 6902: JSON Patch, 4", |w| operations(w).boxed()),
    Check::new(AREA, "a_json_patch_is_applied_in_full_or_not_at_all", "RFC 6902: JSON Patch, 5", |w| atomic(w).boxed()),
    Check::new(AREA, "a_merge_patch_merges_objects_and_replaces_lists", MERGED, |w| merged(w).boxed()),
    Check::new(AREA, "lists_with_a_key_merge_by_it", STRATEGIC_PAGE, |w| strategic::keyed(w).boxed()),
    Check::new(AREA, "directives_delete_and_replace", DIRECTIVES, |w| strategic::directives(w).boxed()),
    Check::new(AREA, "primitive_lists_are_sets_where_the_field_says_so", DIRECTIVES, |w| {
        strategic::primitives(w).boxed()
    }),
    Check::new(AREA, "an_order_is_kept_where_it_is_given", DIRECTIVES, |w| strategic::ordered(w).boxed()),
    Check::new(AREA, "only_retained_keys_stay", DIRECTIVES, |w| strategic::retained(w).boxed()),
    Check::new(
        AREA,
        "a_patch_of_another_type_is_not_supported",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply",
        |w| types(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_patched_object_is_validated",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply",
        |w| validated(w).boxed(),
    ),
    Check::new(
        AREA,
        "patches_at_the_same_time_all_take_effect",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply",
        |w| crowd(w).boxed(),
    ),
];

async fn operations(w: World) {
    let mut object = map("a");
    object["data"] = json!({"k": "v", "other": "o"});
    w.create(&w.path("configmaps"), &object).await.with(201);
    let target = w.at("configmaps", "a");
    let patch = async |patch: serde_json::Value| w.patch(&target, PATCH, &patch).await.ok();
    assert_eq!(patch(json!([{"op": "add", "path": "/data/new", "value": "n"}])).await["data"]["new"], "n");
    assert_eq!(patch(json!([{"op": "replace", "path": "/data/k", "value": "w"}])).await["data"]["k"], "w");
    assert!(patch(json!([{"op": "remove", "path": "/data/new"}])).await["data"].get("new").is_none());
    let moved = patch(json!([{"op": "move", "from": "/data/other", "path": "/data/moved"}])).await;
    assert_eq!(moved["data"], json!({"k": "w", "moved": "o"}));
    let copied = patch(json!([{"op": "copy", "from": "/data/k", "path": "/data/copy"}])).await;
    assert_eq!(copied["data"]["copy"], "w");
    let tested = json!([{"op": "test", "path": "/data/k", "value": "w"}, {"op": "remove", "path": "/data/copy"}]);
    assert_eq!(patch(tested).await["data"], json!({"k": "w", "moved": "o"}));
    let escaped = json!([{"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/example.com~1a~0b", "value": "x"}]);
    let annotated = w.patch(&target, PATCH, &escaped).await;
    // "~" is no part of a name, so this one is refused by name, after the path was understood.
    says(&annotated.refused(422, "Invalid"), &["example.com/a~b"]);
    let mut list = json!({"metadata": {"name": "l", "finalizers": ["example.com/a", "example.com/b"]}});
    w.create(&w.path("configmaps"), &list).await.with(201);
    let target = w.at("configmaps", "l");
    for (patch, expect) in [
        (json!([{"op": "add", "path": "/metadata/finalizers/1", "value": "example.com/x"}]), "a x b"),
        (json!([{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/y"}]), "a x b y"),
        (json!([{"op": "remove", "path": "/metadata/finalizers/0"}]), "x b y"),
        (json!([{"op": "replace", "path": "/metadata/finalizers", "value": []}]), ""),
    ] {
        list = w.patch(&target, PATCH, &patch).await.ok();
        let finalizers = list["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let short: Vec<_> = finalizers.iter().filter_map(|f| f.as_str()?.strip_prefix("example.com/")).collect();
        assert_eq!(short.join(" "), expect);
    }
}

async fn atomic(w: World) {
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let target = w.at("configmaps", "a");
    let change = json!({"op": "replace", "path": "/data/k", "value": "w"});
    for failing in [
        json!({"op": "test", "path": "/data/k", "value": "other"}),
        json!({"op": "remove", "path": "/data/absent"}),
        json!({"op": "replace", "path": "/data/absent", "value": "x"}),
        json!({"op": "add", "path": "/absent/deep", "value": "x"}),
        json!({"op": "copy", "from": "/data/absent", "path": "/data/x"}),
    ] {
        w.patch(&target, PATCH, &json!([change, failing])).await.refused(422, "Invalid");
    }
    for malformed in [json!({"op": "add"}), json!("text"), json!([[]])] {
        w.patch(&target, PATCH, &malformed).await.refused(400, "BadRequest");
    }
    let headers = [("content-type", PATCH)];
    w.send("PATCH", &target, &headers, "[{\"op\":".into()).await.refused(400, "BadRequest");
    assert_eq!(w.get(&target).await.ok(), made, "a refused patch changed something");
    let many = vec![json!({"op": "test", "path": "/data/k", "value": "v"}); 10_001];
    w.patch(&target, PATCH, &many.into()).await.refused(413, "RequestEntityTooLarge");
}

async fn merged(w: World) {
    let mut object = map("a");
    object["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    object["data"] = json!({"k": "v", "l": "w"});
    w.create(&w.path("configmaps"), &object).await.with(201);
    let target = w.at("configmaps", "a");
    let patched = w.patch(&target, MERGE, &json!({"data": {"k": null, "m": "x"}})).await.ok();
    assert_eq!(patched["data"], json!({"l": "w", "m": "x"}));
    let patched = w.patch(&target, MERGE, &json!({"metadata": {"finalizers": ["example.com/c"]}})).await.ok();
    assert_eq!(patched["metadata"]["finalizers"], json!(["example.com/c"]), "a list is replaced");
    let patched = w.patch(&target, MERGE, &json!({"metadata": {"finalizers": null}, "data": null})).await.ok();
    assert!(patched.get("data").is_none() && patched["metadata"].get("finalizers").is_none(), "{patched}");
    for malformed in ["[]", "\"text\"", "{\"data\":", "nonsense"] {
        let headers = [("content-type", MERGE)];
        w.send("PATCH", &target, &headers, malformed.into()).await.refused(400, "BadRequest");
    }
}

async fn types(w: World) {
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let target = w.at("configmaps", "a");
    for how in [JSON, "text/plain", "application/nonsense"] {
        let status = w.patch(&target, how, &json!({"data": {"k": "w"}})).await.refused(415, "UnsupportedMediaType");
        says(&status, &["application/json-patch+json", MERGE, STRATEGIC]);
    }
    let charset = "application/merge-patch+json; charset=utf-8";
    assert_eq!(w.patch(&target, charset, &json!({"data": {"k": "w"}})).await.ok()["data"]["k"], "w");
}

async fn validated(w: World) {
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let target = w.at("configmaps", "a");
    let labels = json!({"metadata": {"labels": {"a b": "c"}}});
    w.patch(&target, MERGE, &labels).await.refused(422, "Invalid");
    w.patch(&target, STRATEGIC, &labels).await.refused(422, "Invalid");
    w.patch(&target, MERGE, &json!({"data": {"k/k": "x"}})).await.refused(422, "Invalid");
    // What is no ConfigMap any more.
    for patch in [json!({"data": 5}), json!({"kind": "Secret"})] {
        let answer = w.patch(&target, MERGE, &patch).await;
        assert!(matches!(answer.code, 400 | 422), "{patch} was answered {} {}", answer.code, answer.text());
    }
    assert_eq!(version(&w.get(&target).await.ok()), version(&made));
}

async fn crowd(w: World) {
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    let target = w.at("configmaps", "a");
    let patches = (0..5).map(|number| {
        let (w, target) = (w.clone(), target.clone());
        async move { w.patch(&target, MERGE, &json!({"data": {format!("p{number}"): "x"}})).await.ok() }
    });
    futures::future::join_all(patches).await;
    let end = w.get(&target).await.ok();
    assert_eq!(end["data"].as_object().map(serde_json::Map::len), Some(6), "{}", end["data"]);
}
