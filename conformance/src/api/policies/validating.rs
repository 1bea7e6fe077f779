//! Policies that say yes or no.

use serde_json::{Value, json};

use super::{Family::Validating, about, deployment};
use crate::api::{
    answer::says,
    objects::map,
    world::{MERGE, World},
};

/// A policy about config maps, obeyed; what refuses `probe` shows that it is.
async fn obeyed(w: &World, spec: &Value, bound: &Value, probe: &Value) -> String {
    let mut spec = spec.clone();
    if spec["matchConstraints"].is_null() {
        spec["matchConstraints"] = about("", "configmaps");
    }
    let target = Validating.policy(w, "p", &spec).await;
    Validating.bind(w, "p", bound).await;
    let attempt = format!("{}?dryRun=All", w.path("configmaps"));
    w.eventually("the policy is obeyed", || async {
        let answer = w.create(&attempt, probe).await;
        answer.code != 201 || !answer.warnings().is_empty()
    })
    .await;
    target
}

fn deny() -> Value {
    json!({"validationActions": ["Deny"]})
}

fn with(name: &str, data: &Value) -> Value {
    let mut object = map(name);
    object["data"] = data.clone();
    object
}

fn denied(w: &World, message: &str) -> String {
    let name = w.name("p");
    format!("ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {message}")
}

pub(super) async fn judged(w: World) {
    let spec = json!({"matchConstraints": about("apps", "deployments"),
        "validations": [{"expression": "object.spec.replicas > 1"},
            {"expression": "object.spec.template.spec.containers.all(c, c.image != 'odd')", "message": "odd image"}]});
    Validating.policy(&w, "p", &spec).await;
    Validating.bind(&w, "p", &deny()).await;
    let deployments = w.path("apps/v1/deployments");
    let attempt = format!("{deployments}?dryRun=All");
    w.eventually("the policy is obeyed", || async { w.create(&attempt, &deployment("a", 1)).await.code == 422 }).await;
    let status = w.create(&deployments, &deployment("a", 1)).await.refused(422, "Invalid");
    says(
        &status,
        &["deployments.apps \"a\" is forbidden: ", &denied(&w, "failed expression: object.spec.replicas > 1")],
    );
    w.create(&deployments, &deployment("b", 2)).await.with(201);
    let status = w.patch(&w.at("apps/v1/deployments", "b"), MERGE, &json!({"spec": {"replicas": 0}})).await;
    status.refused(422, "Invalid");
    let mut odd = deployment("c", 2);
    odd["spec"]["template"]["spec"]["containers"][0]["image"] = "odd".into();
    says(&w.create(&deployments, &odd).await.refused(422, "Invalid"), &[&denied(&w, "odd image")]);
}

pub(super) async fn variables(w: World) {
    let spec = json!({"variables": [
            {"name": "count", "expression": "has(object.data) ? object.data.size() : 0"},
            {"name": "many", "expression": "variables.count > 1"},
            {"name": "never", "expression": "object.data.absent"}],
        "validations": [{"expression": "!variables.many || variables.never == 'x'", "message": "too many"},
            {"expression": "variables.count != 3", "message": "three"}]});
    obeyed(&w, &spec, &deny(), &with("probe", &json!({"a": "1", "b": "2", "absent": "y"}))).await;
    // A variable that nothing asks for is not evaluated.
    w.create(&w.path("configmaps"), &with("one", &json!({"a": "1"}))).await.with(201);
    let many = with("many", &json!({"a": "1", "b": "2", "absent": "y"}));
    says(&w.create(&w.path("configmaps"), &many).await.refused(422, "Invalid"), &[&denied(&w, "too many")]);
    let fine = with("fine", &json!({"a": "1", "absent": "x"}));
    w.create(&w.path("configmaps"), &fine).await.with(201);
}

pub(super) async fn messages(w: World) {
    let spec = json!({"validations": [
        {"expression": "!has(object.data.a)", "message": "no a"},
        {"expression": "!has(object.data.b)", "messageExpression": "'the map ' + object.metadata.name + ' has b'"},
        {"expression": "!has(object.data.c)", "message": "no c", "reason": "Forbidden"},
        {"expression": "!has(object.data.d)", "message": "no d", "reason": "RequestEntityTooLarge"}]});
    obeyed(&w, &spec, &deny(), &with("probe", &json!({"a": "1"}))).await;
    for (key, code, reason, message) in [
        ("a", 422, "Invalid", "no a"),
        ("b", 422, "Invalid", "the map m has b"),
        ("c", 403, "Forbidden", "no c"),
        ("d", 413, "RequestEntityTooLarge", "no d"),
    ] {
        let status = w.create(&w.path("configmaps"), &with("m", &json!({key: "1"}))).await.refused(code, reason);
        says(&status, &["configmaps \"m\" is forbidden: ", &denied(&w, message)]);
    }
    w.create(&w.path("configmaps"), &map("m")).await.with(201);
}

pub(super) async fn parameters(w: World) {
    w.create(&w.path("secrets"), &json!({"metadata": {"name": "limits", "labels": {"most": "1"}}})).await.with(201);
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "validations": [{"expression": "object.data.size() <= int(params.metadata.labels.most)",
            "messageExpression": "'at most ' + params.metadata.labels.most"}]});
    let bound =
        json!({"validationActions": ["Deny"], "paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    let two = with("two", &json!({"a": "1", "b": "2"}));
    obeyed(&w, &spec, &bound, &two).await;
    let maps = w.path("configmaps");
    let attempt = format!("{maps}?dryRun=All");
    w.eventually("the parameter is known", || async { w.create(&attempt, &map("one")).await.code == 201 }).await;
    says(&w.create(&maps, &two).await.refused(422, "Invalid"), &[&denied(&w, "at most 1")]);
    let raised = json!({"metadata": {"labels": {"most": "2"}}});
    w.patch(&w.at("secrets", "limits"), MERGE, &raised).await.ok();
    w.eventually("the parameter is raised", || async { w.create(&attempt, &two).await.code == 201 }).await;
    w.delete(&w.at("secrets", "limits")).await.coded(200);
    w.eventually("the parameter is missed", || async { w.create(&attempt, &two).await.code != 201 }).await;
    says(
        &w.create(&maps, &two).await.json(),
        &["no params found for policy binding with `Deny` parameterNotFoundAction"],
    );
}

pub(super) async fn conditions(w: World) {
    let spec = json!({"matchConditions": [{"name": "not-mine", "expression": "!object.metadata.name.startsWith('free-')"}],
        "validations": [{"expression": "false", "message": "never"}]});
    obeyed(&w, &spec, &deny(), &map("probe")).await;
    w.create(&w.path("configmaps"), &map("free-a")).await.with(201);
    w.create(&w.path("configmaps"), &map("a")).await.refused(422, "Invalid");
    // What the rules do not name is not judged.
    w.create(&w.path("secrets"), &json!({"metadata": {"name": "s"}})).await.with(201);
}

pub(super) async fn failing(w: World) {
    let spec = json!({"validations": [{"expression": "object.data.absent == 'x'"}]});
    let target = obeyed(&w, &spec, &deny(), &map("probe")).await;
    let status = w.create(&w.path("configmaps"), &map("a")).await.json();
    says(&status, &["expression 'object.data.absent == 'x'' resulted in error: no such key: absent"]);
    w.patch(&target, MERGE, &json!({"spec": {"failurePolicy": "Ignore"}})).await.ok();
    let maps = w.path("configmaps");
    w.eventually("errors are ignored", || async { w.create(&maps, &map("a")).await.code == 201 }).await;
    // An expression that is false is no error.
    w.create(&maps, &with("b", &json!({"absent": "y"}))).await.refused(422, "Invalid");
}

pub(super) async fn warned(w: World) {
    let spec = json!({"validations": [{"expression": "!has(object.data.odd)", "message": "odd is odd"}]});
    let odd = with("a", &json!({"odd": "1"}));
    obeyed(&w, &spec, &json!({"validationActions": ["Warn", "Audit"]}), &odd).await;
    let answer = w.create(&w.path("configmaps"), &odd).await;
    answer.with(201);
    let name = w.name("p");
    let text = format!("Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{name}': odd is odd");
    assert_eq!(answer.warnings(), [format!("299 - \"{text}\"")]);
}

pub(super) async fn surroundings(w: World) {
    let spec = json!({"validations": [
        {"expression": format!("namespaceObject.metadata.name == '{}'", w.namespace), "message": "the namespace"},
        {"expression": "request.operation == 'CREATE' && request.resource.resource == 'configmaps' && request.name == object.metadata.name",
            "message": "the request"},
        {"expression": "authorizer.group('').resource('configmaps').namespace(request.namespace).check('create').allowed()",
            "message": "the authorizer"},
        {"expression": "!authorizer.serviceAccount(request.namespace, 'nobody').group('').resource('secrets').check('get').allowed()",
            "message": "another's rights"},
        {"expression": "!has(object.data.probe)", "message": "a probe"}]});
    obeyed(&w, &spec, &deny(), &with("probe", &json!({"probe": "1"}))).await;
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
}

pub(super) async fn before(w: World) {
    w.create(&w.path("configmaps"), &map("kept")).await.with(201);
    let rule = json!({"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]});
    let spec = json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [
        {"expression": "request.operation != 'CREATE' || object.metadata.name != 'probe'"},
        {"expression": "request.operation != 'DELETE' || oldObject.data.k != 'v'", "message": "it stays"},
        {"expression": "request.operation != 'UPDATE' || object.data.k > oldObject.data.k", "message": "it grows"}]});
    obeyed(&w, &spec, &deny(), &map("probe")).await;
    let target = w.at("configmaps", "kept");
    says(&w.delete(&target).await.refused(422, "Invalid"), &[&denied(&w, "it stays")]);
    let patch = |value: &str| json!({"data": {"k": value}});
    says(&w.patch(&target, MERGE, &patch("a")).await.refused(422, "Invalid"), &[&denied(&w, "it grows")]);
    w.patch(&target, MERGE, &patch("w")).await.ok();
    w.delete(&target).await.coded(200);
}

pub(super) async fn typed(w: World) {
    let spec = json!({"matchConstraints": about("apps", "deployments"),
        "validations": [{"expression": "object.spec.replicas > 1"}, {"expression": "object.replicas > 1"}]});
    let target = Validating.policy(&w, "p", &spec).await;
    let known = w
        .until("types are checked", &target, |answer| answer.json()["status"]["typeChecking"].is_object())
        .await
        .json();
    let warnings = known["status"]["typeChecking"]["expressionWarnings"].as_array().cloned().unwrap_or_default();
    assert_eq!(warnings.len(), 1, "{known}");
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[1].expression");
    let text = warnings[0]["warning"].as_str().unwrap_or_default();
    assert!(text.contains("apps/v1, Kind=Deployment") && text.contains("undefined field 'replicas'"), "{text}");
    let generation = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    w.until("the status is of this generation", &target, |answer| generation(&answer.json())).await;
}

pub(super) async fn validated(w: World) {
    let attempt = async |spec: Value, field: &str| {
        let mut own = json!({"matchConstraints": about("", "configmaps"), "validations": [{"expression": "true"}]});
        for (name, value) in spec.as_object().into_iter().flatten() {
            own[name] = value.clone();
        }
        let object = json!({"metadata": {"name": w.name("p")}, "spec": own});
        w.create(&format!("{}?dryRun=All", Validating.policies()), &object).await.invalid(&[field]);
    };
    attempt(json!({"validations": [{"expression": "object.data.("}]}), "spec.validations[0].expression").await;
    attempt(json!({"validations": [{"expression": "'text'"}]}), "spec.validations[0].expression").await;
    attempt(json!({"variables": [{"name": "v", "expression": "("}]}), "spec.variables[0].expression").await;
    attempt(json!({"validations": []}), "spec.validations").await;
    attempt(json!({"failurePolicy": "Retry"}), "spec.failurePolicy").await;
    attempt(json!({"matchConstraints": {"resourceRules": []}}), "spec.matchConstraints.resourceRules").await;
    let binding =
        json!({"metadata": {"name": w.name("b")}, "spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}});
    w.create(&format!("{}?dryRun=All", Validating.bindings()), &binding).await.invalid(&["spec.validationActions"]);
}

pub(super) async fn unbound(w: World) {
    let never = json!({"matchConstraints": about("", "configmaps"), "validations": [{"expression": "false"}]});
    Validating.policy(&w, "alone", &never).await;
    // The policy that comes later is obeyed, so the one before it is known.
    let spec = json!({"validations": [{"expression": "object.metadata.name != 'probe'"}]});
    let target = obeyed(&w, &spec, &deny(), &map("probe")).await;
    w.create(&w.path("configmaps"), &map("a")).await.with(201);
    w.delete(&target).await.coded(200);
    let attempt = format!("{}?dryRun=All", w.path("configmaps"));
    w.eventually("the deleted policy is not obeyed", || async { w.create(&attempt, &map("probe")).await.code == 201 })
        .await;
}
