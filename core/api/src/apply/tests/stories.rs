use serde_json::{Value, json};

use super::{Refusal, World, deployment};

fn labels(labels: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels}})
}

fn conflicts(refusal: Refusal) -> String {
    let Refusal::Conflicts(conflicts) = refusal else { panic!("{refusal}") };
    conflicts.to_string()
}

#[test]
fn dropped_fields_go_unless_another_applier_owns_them() {
    let mut world = World::new(deployment());
    world.apply("one", false, &labels(&json!({"a": "1", "b": "1"}))).unwrap();
    world.apply("two", false, &labels(&json!({"b": "1", "c": "1"}))).unwrap();
    world.apply("one", false, &labels(&json!({}))).unwrap();
    assert_eq!(world.object.as_ref().unwrap()["metadata"]["labels"], json!({"b": "1", "c": "1"}));
    assert_eq!(
        world.owners(),
        "two Apply 00:02 {\"f:metadata\":{\"f:labels\":{\"f:b\":{},\"f:c\":{}}}}\none Apply 00:03 {\"f:metadata\":{\"f:labels\":{}}}"
    );
    world.apply("two", false, &json!({"metadata": {"name": "web"}})).unwrap();
    assert_eq!(world.object.as_ref().unwrap()["metadata"], json!({"name": "web", "labels": {}}));
}

#[test]
fn values_nobody_owns_stay_or_go_with_their_struct() {
    let mut world = World::new(deployment());
    let config = |spec: Value| json!({"metadata": {"name": "web"}, "spec": spec});
    world.apply("one", false, &config(json!({"replicas": 1, "strategy": {"type": "RollingUpdate"}}))).unwrap();
    let defaults = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
    world.object.as_mut().unwrap()["spec"]["strategy"] = defaults;
    world.object.as_mut().unwrap()["spec"]["paused"] = json!(true);
    world.apply("one", false, &config(json!({"replicas": 2}))).unwrap();
    assert_eq!(world.object.unwrap()["spec"], json!({"paused": true, "replicas": 2}));
}

#[test]
fn conflicts_name_the_owner_and_the_field() {
    let mut world = World::new(deployment());
    world.update("kubectl-client-side-apply", &json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}}));
    let config = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}});
    let refusal = world.apply("one", false, &config).unwrap_err();
    let Refusal::Conflicts(list) = &refusal else { panic!("{refusal}") };
    assert_eq!(list.list()[0].message(), "conflict with \"kubectl-client-side-apply\" using apps/v1");
    assert_eq!(list.list()[0].field, ".spec.replicas");
    assert_eq!(
        conflicts(refusal),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    world.apply("one", true, &config).unwrap();
    assert_eq!(world.owners(), "one Apply 00:03 {\"f:spec\":{\"f:replicas\":{}}}");
}

#[test]
fn many_conflicts_are_grouped_by_owner() {
    let mut world = World::new(deployment());
    world.apply("two", false, &labels(&json!({"a": "1"}))).unwrap();
    world.apply("one", false, &labels(&json!({"b": "1", "c": "1"}))).unwrap();
    let refusal = world.apply("three", false, &labels(&json!({"a": "2", "b": "2", "c": "2"}))).unwrap_err();
    assert_eq!(
        conflicts(refusal),
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .metadata.labels.b\n- .metadata.labels.c\nconflicts with \"two\":\n- .metadata.labels.a"
    );
}

#[test]
fn agreeing_appliers_share_a_field() {
    let mut world = World::new(deployment());
    world.apply("one", false, &labels(&json!({"a": "1"}))).unwrap();
    assert_eq!(world.apply("two", false, &labels(&json!({"a": "1"}))), Ok(true));
    assert_eq!(world.managers.len(), 2);
    conflicts(world.apply("two", false, &labels(&json!({"a": "2"}))).unwrap_err());
}

#[test]
fn an_update_takes_over_what_it_changes() {
    let mut world = World::new(deployment());
    world.apply("one", false, &labels(&json!({"a": "1", "b": "1", "d": "1"}))).unwrap();
    world.update("two", &labels(&json!({"a": "2", "c": "1", "d": "1"})));
    assert_eq!(
        world.owners(),
        "one Apply 00:01 {\"f:metadata\":{\"f:labels\":{\"f:d\":{}}}}\ntwo Update 00:02 {\"f:metadata\":{\"f:labels\":{\"f:a\":{},\"f:c\":{}}}}"
    );
    let same = world.object.clone().unwrap();
    world.update("three", &same);
    assert_eq!(world.managers.len(), 2);
}

#[test]
fn a_first_apply_finds_unowned_fields_owned_by_what_came_before() {
    let mut world = World::new(deployment());
    let mut live = labels(&json!({"a": "1"}));
    live["metadata"]["uid"] = json!("u");
    world.object = Some(live.clone());
    world.update("someone", &live);
    assert!(world.managers.is_empty());
    let refusal = world.apply("one", false, &labels(&json!({"a": "2"}))).unwrap_err();
    assert_eq!(
        conflicts(refusal),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .metadata.labels.a"
    );
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let mut world = World::new(deployment());
    let last = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"a": "1", "b": "1"}}});
    let mut live = labels(&json!({"a": "1", "b": "2"}));
    live["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
    world.update("kubectl-client-side-apply", &live);
    let refusal = world.clone().apply("kubectl", false, &labels(&json!({"a": "3", "b": "3"}))).unwrap_err();
    assert!(conflicts(refusal).ends_with(": .metadata.labels.b"));
    world.apply("kubectl", false, &labels(&json!({"a": "<3>"}))).unwrap();
    let annotations = &world.object.unwrap()["metadata"]["annotations"];
    assert_eq!(
        annotations["kubectl.kubernetes.io/last-applied-configuration"],
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"labels\":{\"a\":\"\\u003c3\\u003e\"},\"name\":\"web\"}}\n"
    );
}

#[test]
fn lists_come_out_in_the_order_of_the_configuration() {
    let mut world = World::new(deployment());
    let config = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|n| json!({"name": n})).collect();
        json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": containers}}}})
    };
    world.apply("side", false, &config(&["s1", "s2"])).unwrap();
    world.apply("one", false, &config(&["a", "b"])).unwrap();
    let names = |world: &World| -> String {
        let spec = &world.object.as_ref().unwrap()["spec"]["template"]["spec"]["containers"];
        spec.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&world), "s1 s2 a b");
    world.apply("one", false, &config(&["b", "c", "a"])).unwrap();
    assert_eq!(names(&world), "s1 s2 b c a");
    world.apply("one", false, &config(&["a"])).unwrap();
    assert_eq!(names(&world), "s1 s2 a");
}

#[test]
fn misfits_are_refused_with_their_path() {
    let mut world = World::new(deployment());
    let mut say = |config: Value| world.apply("one", false, &config).unwrap_err().to_string();
    let head = "failed to create typed patch object (d/web; apps/v1, Kind=Deployment): ";
    let config = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "d"}, "spec": spec});
    assert_eq!(say(config(json!({"replica": 1}))), format!("{head}.spec.replica: field not declared in schema"));
    let twice = json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}});
    assert_eq!(
        say(config(twice)),
        format!("{head}.spec.template.spec.containers: duplicate entries for key [name=\"a\"]")
    );
    let nameless = json!({"template": {"spec": {"containers": [{"image": "a"}]}}});
    assert_eq!(
        say(config(nameless)),
        format!(
            "{head}.spec.template.spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)"
        )
    );
    assert_eq!(
        say(config(json!({"paused": "yes", "replicas": "2"}))),
        format!(
            "{head}errors:\n  .spec.paused: expected boolean, got \"yes\"\n  .spec.replicas: expected numeric (int or float), got \"2\""
        )
    );
    let deep = json!({"selector": {"matchLabel": {}}, "template": {"spec": {"tolerations": [{"keys": "a"}]}}});
    assert_eq!(
        say(config(deep)),
        format!(
            "{head}errors:\n  .spec.selector.matchLabel: field not declared in schema\n  .spec.template.spec.tolerations[0].keys: field not declared in schema"
        )
    );
    assert_eq!(say(json!({"metadata": {"managedFields": []}})), "metadata.managedFields must be nil");
}

#[test]
fn the_oldest_updaters_are_merged_beyond_ten() {
    let mut world = World::new(deployment());
    let mut object = labels(&json!({}));
    for n in 0..13 {
        object["metadata"]["labels"][format!("l{n}")] = json!("x");
        world.update(&format!("m{n:02}"), &object);
    }
    let names: Vec<&str> = world.managers.iter().map(|e| e.manager.as_str()).collect();
    assert_eq!(names, ["ancient-changes", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12"]);
    assert_eq!(world.managers[0].fields.len(), 5);
}
