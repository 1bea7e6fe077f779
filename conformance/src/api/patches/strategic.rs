//! Strategic merge patches: merge keys and directives.

use serde_json::{Value, json};

use crate::api::world::{STRATEGIC, World};

/// A pod template to patch: nobody acts on it.
async fn template(w: &World, spec: Value) -> String {
    let object = json!({"metadata": {"name": "t"}, "template": {"spec": spec}});
    w.create(&w.path("podtemplates"), &object).await.with(201);
    w.at("podtemplates", "t")
}

/// The template's spec after a patch of it.
async fn patched(w: &World, target: &str, patch: Value) -> Value {
    w.patch(target, STRATEGIC, &json!({"template": {"spec": patch}})).await.ok()["template"]["spec"].clone()
}

fn short(list: &Value, field: &str) -> String {
    let items: Vec<_> =
        list.as_array().into_iter().flatten().map(|item| item[field].to_string().replace('"', "")).collect();
    items.join(" ")
}

pub(super) async fn keyed(w: World) {
    let target = template(
        &w,
        json!({"containers": [
            {"name": "a", "image": "a:1", "ports": [{"containerPort": 80}, {"containerPort": 81, "name": "x"}],
                "env": [{"name": "E", "value": "1"}]},
            {"name": "b", "image": "b:1", "args": ["x", "y"]},
        ]}),
    )
    .await;
    let spec = patched(&w, &target, json!({"containers": [{"name": "a", "image": "a:2"}]})).await;
    assert_eq!(
        (short(&spec["containers"], "name"), short(&spec["containers"], "image")),
        ("a b".into(), "a:2 b:1".into())
    );
    assert_eq!(short(&spec["containers"][0]["ports"], "containerPort"), "80 81");
    let spec = patched(&w, &target, json!({"containers": [{"name": "c", "image": "c:1"}]})).await;
    let mut all: Vec<_> = short(&spec["containers"], "name").split(' ').map(str::to_owned).collect();
    all.sort();
    assert_eq!(all, ["a", "b", "c"]);
    let ports =
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 81, "name": "z"}, {"containerPort": 82}]}]});
    let spec = patched(&w, &target, ports).await;
    let a = spec["containers"].as_array().into_iter().flatten().find(|c| c["name"] == "a").cloned().unwrap_or_default();
    let find = |port: u64| a["ports"].as_array().into_iter().flatten().find(|p| p["containerPort"] == port).cloned();
    assert_eq!(find(81).unwrap_or_default()["name"], "z");
    assert!(find(80).is_some() && find(82).is_some(), "{a}");
    let env = json!({"containers": [{"name": "a", "env": [{"name": "E", "value": "2"}, {"name": "F", "value": "3"}]},
        {"name": "b", "args": ["z"]}]});
    let spec = patched(&w, &target, env).await;
    let find = |name: &str| {
        spec["containers"].as_array().into_iter().flatten().find(|c| c["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(find("a")["env"].as_array().map(Vec::len), Some(2));
    assert_eq!(find("b")["args"], json!(["z"]), "a list without a key is replaced");
}

pub(super) async fn directives(w: World) {
    let target = template(
        &w,
        json!({"containers": [
        {"name": "a", "image": "a:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
        {"name": "b", "image": "b:1"}, {"name": "c", "image": "c:1"},
    ], "nodeSelector": {"a": "1", "b": "2"}}),
    )
    .await;
    let spec = patched(&w, &target, json!({"containers": [{"$patch": "delete", "name": "b"}]})).await;
    assert_eq!(short(&spec["containers"], "name"), "a c");
    let spec = patched(&w, &target, json!({"nodeSelector": {"$patch": "replace", "c": "3"}})).await;
    assert_eq!(spec["nodeSelector"], json!({"c": "3"}));
    let spec = patched(&w, &target, json!({"nodeSelector": {"c": null, "d": "4"}})).await;
    assert_eq!(spec["nodeSelector"], json!({"d": "4"}));
    let limits = json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": null}}}]});
    let spec = patched(&w, &target, limits).await;
    assert_eq!(spec["containers"][0]["resources"]["limits"], json!({"memory": "1Gi"}));
    let replaced = json!({"containers": [{"$patch": "replace"}, {"name": "d", "image": "d:1"}]});
    let spec = patched(&w, &target, replaced).await;
    assert_eq!(short(&spec["containers"], "name"), "d");
    let unknown = json!({"template": {"spec": {"nodeSelector": {"$patch": "explode"}}}});
    let answer = w.patch(&target, STRATEGIC, &unknown).await;
    assert!(answer.code >= 400, "an unknown directive was taken: {}", answer.text());
    let spec = patched(&w, &target, json!({"nodeSelector": {"$patch": "delete"}})).await;
    assert!(spec.get("nodeSelector").is_none_or(|map| map == &json!({})), "{spec}");
}

pub(super) async fn primitives(w: World) {
    let object = json!({"metadata": {"name": "a", "finalizers": ["example.com/a", "example.com/b"]}});
    w.create(&w.path("configmaps"), &object).await.with(201);
    let target = w.at("configmaps", "a");
    let finalizers = async |patch: Value| {
        let mut list: Vec<String> =
            w.patch(&target, STRATEGIC, &json!({"metadata": patch})).await.ok()["metadata"]["finalizers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|f| f.as_str().unwrap_or_default().replace("example.com/", ""))
                .collect();
        list.sort();
        list.join(" ")
    };
    assert_eq!(finalizers(json!({"finalizers": ["example.com/c", "example.com/a"]})).await, "a b c");
    assert_eq!(finalizers(json!({"$deleteFromPrimitiveList/finalizers": ["example.com/b"]})).await, "a c");
    let both = json!({"$deleteFromPrimitiveList/finalizers": ["example.com/a"], "finalizers": ["example.com/d"]});
    assert_eq!(finalizers(both).await, "c d");
}

pub(super) async fn ordered(w: World) {
    let target = template(
        &w,
        json!({"containers": [
            {"name": "a", "image": "i"}, {"name": "b", "image": "i"}, {"name": "c", "image": "i"},
        ]}),
    )
    .await;
    let order = json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}],
        "containers": [{"name": "b", "image": "j"}]});
    let spec = patched(&w, &target, order).await;
    assert_eq!(
        (short(&spec["containers"], "name"), short(&spec["containers"], "image")),
        ("c a b".into(), "i i j".into())
    );
    let object = json!({"metadata": {"name": "f", "finalizers": ["example.com/a", "example.com/b"]}});
    w.create(&w.path("configmaps"), &object).await.with(201);
    let order = json!({"metadata": {"$setElementOrder/finalizers": ["example.com/b", "example.com/c", "example.com/a"],
        "finalizers": ["example.com/c"]}});
    let after = w.patch(&w.at("configmaps", "f"), STRATEGIC, &order).await.ok();
    assert_eq!(after["metadata"]["finalizers"], json!(["example.com/b", "example.com/c", "example.com/a"]));
}

pub(super) async fn retained(w: World) {
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "replicas": 0, "paused": true, "selector": {"matchLabels": {"a": "b"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
        }},
    }});
    w.create(&w.path("apps/v1/deployments"), &deployment).await.with(201);
    let target = w.at("apps/v1/deployments", "d");
    let strategy = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let after = w.patch(&target, STRATEGIC, &strategy).await.ok();
    assert_eq!(after["spec"]["strategy"], json!({"type": "Recreate"}));
    let volume = json!({"spec": {"template": {"spec": {"volumes": [
        {"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "m"}},
    ]}}}});
    let after = w.patch(&target, STRATEGIC, &volume).await.ok();
    let volume = &after["spec"]["template"]["spec"]["volumes"][0];
    assert!(volume.get("emptyDir").is_none() && volume["configMap"]["name"] == "m", "{volume}");
}
