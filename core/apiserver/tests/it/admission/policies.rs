//! Admission policies, evaluated in process.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_kernel::{
    Error, Identity,
    api::{PatchType, Response, Verb},
};

use crate::{
    custom::{DEFINITIONS, widgets},
    rig::{Rig, value},
};

const POLICIES: &str = "admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const MUTATING: &str = "admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
const MUTATING_BINDINGS: &str = "admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings";

fn rules(group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [group], "apiVersions": ["v1"],
        "resources": [resource]}]})
}

fn policy(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if spec["matchConstraints"].is_null() {
        spec["matchConstraints"] = rules("", "configmaps");
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": spec})
}

fn binding(actions: &[&str], more: &Value) -> Value {
    let mut spec = more.clone();
    spec["policyName"] = "p".into();
    spec["validationActions"] = json!(actions);
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": spec})
}

fn rig(spec: &Value, bound: &Value) -> Rig {
    let rig = Rig::new();
    rig.create(POLICIES, policy(spec)).unwrap();
    rig.create(BINDINGS, bound.clone()).unwrap();
    rig
}

fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn refused(result: Result<Value, Error>) -> (u64, String) {
    let error = result.unwrap_err();
    (error.to_status()["code"].as_u64().unwrap(), error.message().to_owned())
}

fn respond(rig: &Rig, object: Value) -> Result<Response, Error> {
    rig.call(rig.request(Verb::Create, "configmaps").body(object))
}

#[test]
fn a_policy_denies_with_its_message_and_reason() {
    let rig = rig(
        &json!({"validations": [{"expression": "object.data.size() < 2"},
            {"expression": "!('x' in object.data)", "message": "no x", "reason": "Forbidden"},
            {"expression": "object.metadata.name != 'odd'", "messageExpression": "'the name ' + object.metadata.name + ' is odd'"}]}),
        &binding(&["Deny"], &json!({})),
    );
    rig.create("configmaps", map("fine", &json!({"a": "1"}))).unwrap();
    let begins = "is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";
    assert_eq!(
        refused(rig.create("configmaps", map("m", &json!({"a": "1", "b": "2"})))),
        (422, format!("configmaps \"m\" {begins}failed expression: object.data.size() < 2"))
    );
    assert_eq!(
        refused(rig.create("configmaps", map("m", &json!({"x": "1"})))),
        (403, format!("configmaps \"m\" {begins}no x"))
    );
    assert_eq!(
        refused(rig.create("configmaps", map("odd", &json!({"a": "1"})))),
        (422, format!("configmaps \"odd\" {begins}the name odd is odd"))
    );
    let error = rig.create("configmaps", map("odd", &json!({"a": "1"}))).unwrap_err();
    let status = error.to_status();
    assert_eq!(status["reason"], "Invalid");
    assert!(status["details"]["causes"][0]["message"].as_str().unwrap().ends_with("the name odd is odd"), "{status}");
    // A policy that is gone refuses nothing.
    rig.delete(POLICIES, "p").unwrap();
    rig.create("configmaps", map("odd", &json!({"a": "1"}))).unwrap();
}

#[test]
fn a_policy_that_warns_lets_the_request_pass() {
    let rig = rig(
        &json!({"validations": [{"expression": "'a' in object.data", "message": "a is missing"}],
            "auditAnnotations": [{"key": "who", "valueExpression": "request.userInfo.username"}]}),
        &binding(&["Warn", "Audit"], &json!({})),
    );
    let response = respond(&rig, map("m", &json!({"b": "1"}))).unwrap();
    assert_eq!(
        response.warnings,
        ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': a is missing"]
    );
}

#[test]
fn an_expression_that_fails_follows_the_failure_policy() {
    let spec = json!({"validations": [{"expression": "object.data.missing == 'x'"}]});
    let rig = rig(&spec, &binding(&["Deny"], &json!({})));
    let (code, why) = refused(rig.create("configmaps", map("m", &json!({"a": "1"}))));
    assert_eq!(code, 422);
    assert!(
        why.ends_with(
            "denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing"
        ),
        "{why}"
    );
    let mut ignoring = policy(&spec);
    ignoring["spec"]["failurePolicy"] = "Ignore".into();
    ignoring["metadata"]["resourceVersion"] = rig.get(POLICIES, "p").unwrap()["metadata"]["resourceVersion"].clone();
    rig.update(POLICIES, ignoring).unwrap();
    rig.create("configmaps", map("m", &json!({"a": "1"}))).unwrap();
}

#[test]
fn variables_are_evaluated_where_they_are_used() {
    let spec = json!({
        "variables": [
            {"name": "broken", "expression": "object.data.missing"},
            {"name": "count", "expression": "has(object.data) ? object.data.size() : 0"},
            {"name": "many", "expression": "variables.count > 1"}],
        "matchConditions": [{"name": "counted", "expression": "variables.count > 0"}],
        "validations": [{"expression": "!variables.many || variables.broken == 'x'"}]});
    let rig = rig(&spec, &binding(&["Deny"], &json!({})));
    rig.create("configmaps", map("none", &json!({}))).unwrap();
    rig.create("configmaps", map("one", &json!({"a": "1"}))).unwrap();
    let (_, why) = refused(rig.create("configmaps", map("two", &json!({"a": "1", "b": "2"}))));
    assert!(why.ends_with("composited variable \"broken\" fails to evaluate: no such key: missing"), "{why}");
}

#[test]
fn parameters_are_named_or_selected_in_the_namespace_of_the_request() {
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "validations": [{"expression": "object.data.size() <= int(params.metadata.labels.most)",
            "messageExpression": "'at most ' + params.metadata.labels.most"}]});
    let named = json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    let rig = rig(&spec, &binding(&["Deny"], &named));
    let (_, why) = refused(rig.create("configmaps", map("m", &json!({}))));
    assert!(
        why.ends_with(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        ),
        "{why}"
    );
    let secret = |name: &str, most: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {"most": most, "limits": "yes"}}});
    rig.create("secrets", secret("limits", "1")).unwrap();
    rig.create("configmaps", map("m", &json!({"a": "1"}))).unwrap();
    let (_, why) = refused(rig.create("configmaps", map("n", &json!({"a": "1", "b": "2"}))));
    assert!(why.ends_with("at most 1"), "{why}");

    // Of several that are selected, each must agree.
    rig.delete(BINDINGS, "b").unwrap();
    let selected =
        json!({"paramRef": {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}});
    rig.create(BINDINGS, binding(&["Deny"], &selected)).unwrap();
    rig.create("secrets", secret("more", "0")).unwrap();
    let (_, why) = refused(rig.create("configmaps", map("n", &json!({"a": "1"}))));
    assert!(why.ends_with("at most 0"), "{why}");
    for name in ["limits", "more"] {
        rig.delete("secrets", name).unwrap();
    }
    rig.create("configmaps", map("n", &json!({"a": "1"}))).unwrap();
}

#[test]
fn custom_resources_are_parameters_and_are_judged() {
    let rig = Rig::new();
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer"}}});
    rig.create(DEFINITIONS, widgets(&spec)).unwrap();
    let judged = policy(&json!({"matchConstraints": rules("example.com", "widgets"),
        "paramKind": {"apiVersion": "example.com/v1", "kind": "Widget"},
        "validations": [{"expression": "object.metadata.name == 'limit' || object.spec.size <= params.spec.size"},
            {"expression": "object.spec.length > 1"}]}));
    let made = rig.create(POLICIES, judged).unwrap();
    // The schema is known, so what is wrong with the second rule is told at once.
    let warnings = made["status"]["typeChecking"]["expressionWarnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{made}");
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[1].expression");
    assert_eq!(warnings[0]["warning"], "example.com/v1, Kind=Widget: undefined field 'length'");
    let mut mended = made;
    mended["spec"]["validations"].as_array_mut().unwrap().pop();
    let mended = rig.update(POLICIES, mended).unwrap();
    assert_eq!(mended["status"], json!({"observedGeneration": 2, "typeChecking": {}}));
    let reference = json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Allow"}});
    rig.create(BINDINGS, binding(&["Deny"], &reference)).unwrap();
    let widget = |name: &str, size: u64| crate::custom::widget(name, &json!({"size": size}));
    rig.create("example.com/v1/widgets", widget("limit", 3)).unwrap();
    rig.create("example.com/v1/widgets", widget("small", 2)).unwrap();
    assert_eq!(refused(rig.create("example.com/v1/widgets", widget("large", 4))).0, 422);
}

#[test]
fn types_are_checked_when_a_policy_is_written() {
    let rig = Rig::new();
    let spec = json!({"matchConstraints": rules("apps", "deployments"), "validations": [
        {"expression": "object.spec.replicas > 1"},
        {"expression": "object.spec.replicas > '1'"},
        {"expression": "object.spec.template.spec.containers.all(c, c.image.startsWith('a') && c.imgae != '')",
            "messageExpression": "string(object.spec.repilcas)"}]});
    let made = rig.create(POLICIES, policy(&spec)).unwrap();
    let told: Vec<(&str, &str)> = made["status"]["typeChecking"]["expressionWarnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| (own["fieldRef"].as_str().unwrap(), own["warning"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (
                "spec.validations[1].expression",
                "apps/v1, Kind=Deployment: found no matching overload for '_>_' applied to '(int, string)'"
            ),
            ("spec.validations[2].expression", "apps/v1, Kind=Deployment: undefined field 'imgae'"),
            ("spec.validations[2].messageExpression", "apps/v1, Kind=Deployment: undefined field 'repilcas'"),
        ]
    );
    let broken = policy(&json!({"validations": [{"expression": "object.data.("}]}));
    let (code, why) = refused(rig.create(POLICIES, broken));
    assert_eq!(code, 422);
    assert!(
        why.contains("spec.validations[0].expression: Invalid value") && why.contains("compilation failed"),
        "{why}"
    );
}

#[test]
fn an_expression_that_costs_too_much_does_not_run() {
    let spec = json!({"validations": [{"expression": "object.data.all(a, object.data.all(b, object.data.all(c, a + b != c)))"}]});
    let rig = rig(&spec, &binding(&["Deny"], &json!({})));
    let data: serde_json::Map<String, Value> = (0..500).map(|at| (format!("k{at}"), "v".into())).collect();
    let (_, why) = refused(rig.create("configmaps", map("m", &Value::Object(data))));
    assert!(
        why.ends_with("validation failed due to running out of cost budget, no further validation rules will be run"),
        "{why}"
    );
}

#[test]
fn a_policy_asks_the_authorizer() {
    let spec = json!({"validations": [{"expression":
        "authorizer.serviceAccount('default', 'robot').group('').resource('pods').check('get').allowed() \
         && authorizer.path('/metrics').check('get').reason() == ''"}]});
    let rig = rig(&spec, &binding(&["Deny"], &json!({})));
    rig.create("configmaps", map("m", &json!({}))).unwrap();
}

#[test]
fn bindings_and_namespaces_narrow_what_a_policy_is_about() {
    let spec = json!({"validations": [{"expression": "namespaceObject.metadata.name != 'default'"}]});
    let narrow = json!({"matchResources": {"objectSelector": {"matchLabels": {"strict": "yes"}}}});
    let rig = rig(&spec, &binding(&["Deny"], &narrow));
    rig.create("configmaps", map("a", &json!({}))).unwrap();
    let mut strict = map("b", &json!({}));
    strict["metadata"]["labels"] = json!({"strict": "yes"});
    assert_eq!(refused(rig.create("configmaps", strict)).0, 422);
}

fn mutates(mutations: &Value, more: &Value) -> Rig {
    let rig = Rig::new();
    let mut spec = more.clone();
    spec["matchConstraints"] =
        if more["matchConstraints"].is_null() { rules("", "configmaps") } else { more["matchConstraints"].clone() };
    spec["reinvocationPolicy"] = "Never".into();
    spec["mutations"] = mutations.clone();
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": spec});
    rig.create(MUTATING, policy).unwrap();
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p"}});
    rig.create(MUTATING_BINDINGS, binding).unwrap();
    rig
}

#[test]
fn a_mutating_policy_applies_what_it_makes() {
    let apply = "Object{metadata: Object.metadata{labels: {'owner': request.userInfo.username}}, data: {'b': string(object.data.size())}}";
    let rig = mutates(
        &json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}}]),
        &json!({"matchConditions": [{"name": "new", "expression": "!has(object.metadata.labels)"}]}),
    );
    let made = rig.create("configmaps", map("m", &json!({"a": "1"}))).unwrap();
    assert_eq!((&made["data"], &made["metadata"]["labels"]["owner"]), (&json!({"a": "1", "b": "1"}), &json!("tester")));
    let patch = rig.request(Verb::Patch(PatchType::Merge), "configmaps").named("m").body(json!({"data": {"c": "3"}}));
    assert_eq!(value(rig.call(patch).unwrap())["data"], json!({"a": "1", "b": "1", "c": "3"}));
}

#[test]
fn a_mutating_policy_merges_lists_by_their_keys() {
    let apply = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{\
                 containers: object.spec.template.spec.containers.map(c, Object.spec.template.spec.containers{\
                 name: c.name, imagePullPolicy: 'Never'})}}}}";
    let rig = mutates(
        &json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}}]),
        &json!({"matchConstraints": rules("apps", "deployments")}),
    );
    let labels = json!({"a": "b"});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let made = rig.create("apps/v1/deployments", deployment).unwrap();
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["imagePullPolicy"]), (&json!("i"), &json!("Never")));
}

#[test]
fn a_mutating_policy_patches() {
    let patch = "[JSONPatch{op: 'test', path: '/data/a', value: '1'}, \
                 JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('x/y'), value: object.metadata.name}]";
    let rig = mutates(
        &json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": patch.replace("/y", ".y")}}]),
        &json!({}),
    );
    let made = rig.create("configmaps", map("m", &json!({"a": "1"}))).unwrap();
    assert_eq!(made["data"], json!({"a": "1", "x.y": "m"}));
    let (code, why) = refused(rig.create("configmaps", map("n", &json!({"a": "2"}))));
    assert_eq!(code, 422);
    assert!(why.starts_with("policy 'p' with binding 'b' denied request: expression '[JSONPatch{"), "{why}");
}

#[test]
fn nobody_but_the_administrator_of_policies_is_asked_about_policies() {
    let spec = json!({"matchConstraints": {"resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
        "resources": ["*"]}]}, "validations": [{"expression": "false"}]});
    let rig = rig(&spec, &binding(&["Deny"], &json!({})));
    assert_eq!(refused(rig.create("configmaps", map("m", &json!({})))).0, 422);
    let mut anybody = rig.request(Verb::Delete, BINDINGS).named("b");
    anybody.identity = Arc::new(Identity::new("anybody", &[]));
    rig.call(anybody).unwrap();
    rig.create("configmaps", map("m", &json!({}))).unwrap();
}

#[test]
fn what_is_posted_to_a_pod_is_judged_as_what_it_is() {
    let spec = json!({"matchConstraints": {"resourceRules": [{"operations": ["CREATE", "CONNECT"], "apiGroups": [""],
            "apiVersions": ["v1"], "resources": ["pods/binding", "pods/exec", "pods/eviction"]}]},
        "validations": [
            {"expression": "request.subResource != 'binding' || object.target.name != 'bad'", "message": "not there"},
            {"expression": "request.operation != 'CONNECT' || !('sh' in object.command) && object.stdout", "message": "no shell"},
            {"expression": "request.subResource != 'eviction' || request.dryRun", "message": "stays"}]});
    let rig = rig(&spec, &binding(&["Deny"], &json!({})));
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    rig.create("serviceaccounts", account).unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    rig.create("pods", pod).unwrap();
    let bind = |node: &str| {
        let binding =
            json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": node}});
        rig.call(rig.request(Verb::Create, "pods:binding").named("p").body(binding)).map(value)
    };
    let (code, why) = refused(bind("bad"));
    assert!(code == 422 && why.ends_with("denied request: not there"), "{why}");
    bind("good").unwrap();
    let exec = |command: &str| {
        let mut request = rig.request(Verb::Connect, "pods:exec").named("p");
        let query = [("stdout", "true"), ("command", command)];
        request.options.query = query.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        rig.call(request).map(|_| Value::Null)
    };
    assert!(refused(exec("sh")).1.ends_with("denied request: no shell"));
    // It went on to the node, which this server cannot reach.
    assert_eq!(refused(exec("ls")).0, 501);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let evicted = rig.call(rig.request(Verb::Create, "pods:eviction").named("p").body(eviction)).map(value);
    assert!(refused(evicted).1.ends_with("denied request: stays"));
}
