//! Policies that change what is written.

use serde_json::{Value, json};

use super::{
    Family::{Mutating, Validating},
    about, deployment,
};
use crate::api::{answer::says, objects::map, world::World};

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

/// Writes a policy with its binding and waits until it changes `probe`.
async fn obeyed(w: &World, spec: &Value, bound: &Value, collection: &str, probe: &Value) {
    let mut spec = spec.clone();
    if spec["reinvocationPolicy"].is_null() {
        spec["reinvocationPolicy"] = "Never".into();
    }
    let attempt = format!("{collection}?dryRun=All");
    let plain = w.create(&attempt, probe).await.with(201);
    Mutating.policy(w, "p", &spec).await;
    Mutating.bind(w, "p", bound).await;
    w.eventually("the policy is obeyed", || async {
        let answer = w.create(&attempt, probe).await;
        let made = answer.json();
        answer.code == 201 && ["data", "spec"].iter().any(|field| made[field] != plain[field])
            || made["metadata"]["annotations"] != plain["metadata"]["annotations"]
    })
    .await;
}

pub(super) async fn applied(w: World) {
    let spec = json!({"matchConstraints": about("apps", "deployments"),
        "mutations": [apply("Object{spec: Object.spec{replicas: object.spec.replicas + 100}}")]});
    let deployments = w.path("apps/v1/deployments");
    obeyed(&w, &spec, &json!({}), &deployments, &deployment("probe", 1)).await;
    let made = w.create(&format!("{deployments}?dryRun=All"), &deployment("a", 2)).await.with(201);
    assert_eq!(made["spec"]["replicas"], 102);
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["image"], "i", "the rest stays");
}

pub(super) async fn annotated(w: World) {
    let expression = "[JSONPatch{op: 'add', path: '/metadata/annotations', \
                      value: {'example.com/by': 'policy', 'example.com/replicas': string(object.spec.replicas)}}]";
    let spec = json!({"matchConstraints": about("apps", "deployments"),
        "matchConditions": [{"name": "bare", "expression": "!has(object.metadata.annotations)"}],
        "mutations": [patch(expression)]});
    let deployments = w.path("apps/v1/deployments");
    obeyed(&w, &spec, &json!({}), &deployments, &deployment("probe", 1)).await;
    let made = w.create(&deployments, &deployment("a", 0)).await.with(201);
    assert_eq!(made["metadata"]["annotations"], json!({"example.com/by": "policy", "example.com/replicas": "0"}));
    let mut own = deployment("b", 0);
    own["metadata"]["annotations"] = json!({"example.com/by": "me"});
    let made = w.create(&deployments, &own).await.with(201);
    assert_eq!(made["metadata"]["annotations"], own["metadata"]["annotations"]);
}

pub(super) async fn merged(w: World) {
    w.account().await;
    let expression = "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{\
                      name: 'mesh', image: 'mesh:1', restartPolicy: 'Always'}]}}";
    let spec = json!({"matchConstraints": about("", "pods"),
        "matchConditions": [{"name": "new", "expression": "!has(object.spec.initContainers) || !object.spec.initContainers.exists(c, c.name == 'mesh')"}],
        "mutations": [apply(expression)]});
    let pod = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"schedulerName": "nobody", "initContainers": [{"name": "first", "image": "f"}],
            "containers": [{"name": "c", "image": "i"}]}})
    };
    let pods = w.path("pods");
    obeyed(&w, &spec, &json!({}), &pods, &pod("probe")).await;
    let made = w.create(&pods, &pod("a")).await.with(201);
    let mut images: Vec<_> =
        made["spec"]["initContainers"].as_array().into_iter().flatten().map(|own| own["image"].to_string()).collect();
    images.sort();
    assert_eq!(images, ["\"f\"", "\"mesh:1\""]);
    let added = made["spec"]["initContainers"].as_array().into_iter().flatten().find(|own| own["name"] == "mesh");
    assert_eq!(added.map(|own| own["terminationMessagePolicy"].clone()), Some(json!("File")), "it has its defaults");
}

pub(super) async fn parameters(w: World) {
    let owner = json!({"metadata": {"name": "owner", "labels": {"owner": "team-a"}}});
    w.create(&w.path("secrets"), &owner).await.with(201);
    let spec = json!({"matchConstraints": about("", "configmaps"), "paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "variables": [{"name": "count", "expression": "object.data.size()"}],
        "mutations": [apply("Object{data: {'owner': params.metadata.labels.owner, 'count': string(variables.count)}}")]});
    let bound = json!({"paramRef": {"name": "owner", "parameterNotFoundAction": "Allow"}});
    obeyed(&w, &spec, &bound, &w.path("configmaps"), &map("probe")).await;
    let made = w.create(&w.path("configmaps"), &map("a")).await.with(201);
    assert_eq!(made["data"], json!({"k": "v", "owner": "team-a", "count": "1"}));
}

pub(super) async fn judged(w: World) {
    let rules = json!({"matchConstraints": about("", "configmaps"), "validations": [
        {"expression": "!has(object.data.odd)", "message": "it is odd"}]});
    Validating.policy(&w, "judge", &rules).await;
    Validating.bind(&w, "judge", &json!({"validationActions": ["Deny"]})).await;
    let mut odd = map("probe");
    odd["data"]["odd"] = "1".into();
    let attempt = format!("{}?dryRun=All", w.path("configmaps"));
    w.eventually("the judge is obeyed", || async { w.create(&attempt, &odd).await.code == 422 }).await;
    let spec = json!({"matchConstraints": about("", "configmaps"), "reinvocationPolicy": "Never",
        "matchConditions": [{"name": "chosen", "expression": "object.metadata.name.startsWith('odd')"}],
        "mutations": [apply("Object{data: {'odd': 'yes'}}")]});
    Mutating.policy(&w, "p", &spec).await;
    Mutating.bind(&w, "p", &json!({})).await;
    w.eventually("the policy is obeyed", || async { w.create(&attempt, &map("odd-probe")).await.code == 422 }).await;
    let status = w.create(&w.path("configmaps"), &map("odd-a")).await.refused(422, "Invalid");
    says(&status, &["denied request: it is odd"]);
    w.create(&w.path("configmaps"), &map("even")).await.with(201);
}

pub(super) async fn validated(w: World) {
    let attempt = async |change: Value, field: &str| {
        let mut own = json!({"matchConstraints": about("", "configmaps"), "reinvocationPolicy": "Never",
            "mutations": [apply("Object{}")]});
        for (name, value) in change.as_object().into_iter().flatten() {
            own[name] = value.clone();
        }
        let object = json!({"metadata": {"name": w.name("p")}, "spec": own});
        w.create(&format!("{}?dryRun=All", Mutating.policies()), &object).await.invalid(&[field]);
    };
    attempt(json!({"mutations": []}), "spec.mutations").await;
    attempt(json!({"reinvocationPolicy": "Sometimes"}), "spec.reinvocationPolicy").await;
    attempt(json!({"mutations": [apply("(")]}), "spec.mutations[0].applyConfiguration.expression").await;
    attempt(json!({"mutations": [patch("'text'")]}), "spec.mutations[0].jsonPatch.expression").await;
    attempt(json!({"mutations": [{"patchType": "Merge"}]}), "spec.mutations[0].patchType").await;
}
