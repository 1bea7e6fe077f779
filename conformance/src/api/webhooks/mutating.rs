//! Webhooks that change what they are asked about.

use serde_json::{Value, json};

use super::{MUTATING, VALIDATING, allows, called, denies, patches, register, rule, webhook};
use crate::api::{hooks::Hook, objects::map, world::World};

/// A webhook that adds a key to config maps that have another, and not the key itself.
fn adds(w: &World, key: &'static str, after: &'static str) -> Hook {
    w.hook(key, move |review| {
        let data = &review["request"]["object"]["data"];
        if data[after].is_null() || !data[key].is_null() {
            return allows(review);
        }
        patches(review, &json!([{"op": "add", "path": format!("/data/{key}"), "value": "yes"}]))
    })
}

pub(super) async fn ordered(w: World) {
    let (first, second) = (adds(&w, "first", "k"), adds(&w, "second", "first"));
    register(&w, MUTATING, "m", &json!([webhook(&w, &first), webhook(&w, &second)])).await;
    called(&w, &second).await;
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    assert_eq!(made["data"], json!({"k": "v", "first": "yes", "second": "yes"}));
    assert_eq!(w.get(&w.at("configmaps", "a")).await.ok()["data"], made["data"]);
}

pub(super) async fn again(w: World) {
    // The one that comes first wants what the one after it adds.
    let (eager, early, late) = (adds(&w, "eager", "late"), adds(&w, "early", "late"), adds(&w, "late", "k"));
    let mut eager_own = webhook(&w, &eager);
    eager_own["reinvocationPolicy"] = "IfNeeded".into();
    register(&w, MUTATING, "m", &json!([eager_own, webhook(&w, &early), webhook(&w, &late)])).await;
    called(&w, &late).await;
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    assert_eq!(made["data"], json!({"k": "v", "late": "yes", "eager": "yes"}), "only who wants it is asked again");
}

pub(super) async fn defaulted(w: World) {
    w.account().await;
    let hook = w.hook("pods", |review| {
        if review["request"]["object"]["kind"] != "Pod" {
            return allows(review);
        }
        patches(
            review,
            &json!([{"op": "add", "path": "/spec/initContainers", "value": [{"name": "added", "image": "i"}]}]),
        )
    });
    let mut own = webhook(&w, &hook);
    own["rules"] = json!([
        {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "configmaps"]}]);
    register(&w, MUTATING, "m", &json!([own])).await;
    called(&w, &hook).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]}});
    let made = w.create(&w.path("pods"), &pod).await.with(201);
    let added = &made["spec"]["initContainers"][0];
    assert_eq!(
        (&added["name"], &added["terminationMessagePolicy"], &added["terminationMessagePath"]),
        (&json!("added"), &json!("File"), &json!("/dev/termination-log"))
    );
    assert_eq!(added["imagePullPolicy"], "Always");
}

pub(super) async fn excluded(w: World) {
    let hook = adds(&w, "seen", "k");
    let mut own = webhook(&w, &hook);
    own["matchConditions"] = json!([{"name": "skip", "expression": "object.metadata.name != 'skip-me'"}]);
    register(&w, MUTATING, "m", &json!([own])).await;
    called(&w, &hook).await;
    let skipped = w.create(&w.path("configmaps"), &map("skip-me")).await.with(201);
    assert_eq!(skipped["data"], json!({"k": "v"}));
    let made = w.create(&w.path("configmaps"), &map("other")).await.with(201);
    assert_eq!(made["data"], json!({"k": "v", "seen": "yes"}));
}

pub(super) async fn own(w: World) {
    let marker = w.hook("marker", allows);
    let labels = |review: &Value| {
        let patch = json!([{"op": "add", "path": "/metadata/labels/mutated", "value": "yes"}]);
        if review["request"]["operation"] == "DELETE" { denies(review, "it stays") } else { patches(review, &patch) }
    };
    let hook = w.hook("own", labels);
    let mut own = webhook(&w, &hook);
    own["namespaceSelector"] = json!({});
    own["objectSelector"] = json!({"matchLabels": {"run": w.prefix()}});
    own["rules"] = json!([rule("admissionregistration.k8s.io", "*", "*")]);
    let both = json!([own, webhook(&w, &marker)]);
    register(&w, MUTATING, "m", &both).await;
    called(&w, &marker).await;
    let mut refuses = both.clone();
    refuses[0]["rules"][0]["operations"] = json!(["DELETE"]);
    register(&w, VALIDATING, "v", &refuses).await;
    // Both configurations have the marker now.
    w.eventually("both configurations are called", || async {
        w.create(&format!("{}?dryRun=All", w.path("configmaps")), &map("marker")).await;
        marker.take().len() > 1
    })
    .await;
    for configurations in [MUTATING, VALIDATING] {
        let name = w.name("plain");
        let object = json!({"metadata": {"name": name, "labels": {"run": w.prefix()}}, "webhooks": []});
        let target = format!("{configurations}/{name}");
        w.later(&target);
        let made = w.create(configurations, &object).await.with(201);
        assert_eq!(made["metadata"]["labels"], json!({"run": w.prefix()}));
        w.delete(&target).await.coded(200);
        w.get(&target).await.refused(404, "NotFound");
    }
    assert!(hook.take().is_empty(), "nobody is asked about configurations");
}
