//! Stories of applies and updates on built-in objects, told in small JSON; the laws are in `laws`.

mod laws;
mod stories;

use serde_json::{Value, json};

use super::*;
use crate::schema::Message;

pub(super) fn deployment() -> TypeRef<'static> {
    TypeRef::message(Message::of_kind("apps", "v1", "Deployment").unwrap())
}

/// An object and its owners, written to by one manager after the other.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) kind: TypeRef<'static>,
    pub(super) object: Option<Value>,
    pub(super) managers: Vec<ManagedEntry>,
    pub(super) clock: u32,
}

impl World {
    pub(super) fn new(kind: TypeRef<'static>) -> Self {
        Self { kind, object: None, managers: Vec::new(), clock: 0 }
    }

    fn tick(&mut self) -> String {
        self.clock += 1;
        format!("2026-01-01T00:{:02}:{:02}Z", self.clock / 60, self.clock % 60)
    }

    pub(super) fn apply(&mut self, manager: &str, force: bool, config: &Value) -> Result<bool, Refusal> {
        let now = self.tick();
        let write =
            Write { manager, api_version: "apps/v1", subresource: "", now: &now, kind: self.kind, ignored: None };
        let applied = apply(self.object.as_ref(), config, self.managers.clone(), force, &write)?;
        self.object = Some(applied.object);
        self.managers = applied.managers;
        Ok(applied.changed)
    }

    pub(super) fn update(&mut self, manager: &str, new: &Value) {
        let now = self.tick();
        let write =
            Write { manager, api_version: "apps/v1", subresource: "", now: &now, kind: self.kind, ignored: None };
        self.managers = update(self.object.as_ref(), new, std::mem::take(&mut self.managers), &write);
        self.object = Some(new.clone());
    }

    /// The owners, one line each: name, operation, time and fields.
    pub(super) fn owners(&self) -> String {
        let line = |entry: &ManagedEntry| {
            let time = entry.time.as_deref().map_or("-", |t| &t[14..19]);
            format!("{} {:?} {time} {}", entry.manager, entry.operation, entry.fields.to_json())
        };
        self.managers.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn field_sets_are_written_in_canonical_order_and_read_back() {
    let text = r#"{"f:a":{".":{},"f:b":{}},"f:l":{"k:{\"name\":\"x\",\"port\":80}":{".":{},"f:z":{}},"k:{\"name\":\"y\"}":{},"v:1":{},"v:10":{},"v:2.5":{},"v:\"a\\\"b\"":{},"v:true":{},"v:null":{},"i:2":{},"i:10":{}},"f:\"odd\"":{}}"#;
    let set = FieldSet::from_value(&serde_json::from_str(text).unwrap()).unwrap();
    let canonical = r#"{"f:\"odd\"":{},"f:a":{".":{},"f:b":{}},"f:l":{"k:{\"name\":\"x\",\"port\":80}":{".":{},"f:z":{}},"k:{\"name\":\"y\"}":{},"v:1":{},"v:2.5":{},"v:10":{},"v:\"a\\\"b\"":{},"v:true":{},"v:null":{},"i:2":{},"i:10":{}}}"#;
    assert_eq!(set.to_json(), canonical);
    assert_eq!(FieldSet::from_value(&set.to_value()).unwrap(), set);
    assert!(FieldSet::from_value(&json!({"x:y": {}})).is_err());
    assert!(FieldSet::from_value(&json!({"f:y": 1})).is_err());
}

#[test]
fn a_configuration_owns_what_it_mentions() {
    let config = json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {
                "containers": [{"name": "c", "image": "i", "args": ["a"], "resources": {}, "ports": [{"containerPort": 80}]}],
                "imagePullSecrets": [{"name": "s"}],
                "nodeSelector": {},
                "volumes": [],
            }},
        },
    });
    let expect = r#"{"f:metadata":{"f:labels":{"f:app":{}},"f:name":{}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:args":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{}}},"f:imagePullSecrets":{"k:{\"name\":\"s\"}":{}},"f:nodeSelector":{}}}}}"#;
    assert_eq!(fields_of(&config, deployment()).to_json(), expect);
}

#[test]
fn a_create_is_compared_with_the_zero_value_of_the_type() {
    let new = json!({
        "apiVersion": "apps/v1",
        "metadata": {"name": "web", "labels": {"app": "web"}, "uid": "u", "managedFields": []},
        "spec": {
            "replicas": 2,
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "resources": {}}]}},
        },
        "status": {},
    });
    let expect = r#"{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{},"f:strategy":{"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:resources":{}}}}}}}"#;
    assert_eq!(changed(None, &new, deployment()).changed.to_json(), expect);
}

#[test]
fn rearranged_lists_have_not_changed() {
    let pod = |items: Value, finalizers: Value| json!({"metadata": {"finalizers": finalizers}, "spec": {"template": {"spec": {"containers": items}}}});
    let (a, b) = (json!({"name": "a", "image": "1"}), json!({"name": "b", "image": "2"}));
    let old = pod(json!([a, b]), json!(["x", "y"]));
    assert_eq!(changed(Some(&old), &pod(json!([b, a]), json!(["y", "x"])), deployment()), Changes::default());
    let other = changed(Some(&old), &pod(json!([{"name": "b", "image": "3"}]), json!(["y", "z"])), deployment());
    assert_eq!(
        format!("{:?}", other.changed),
        r#"{".metadata.finalizers[=\"z\"]", ".spec.template.spec.containers[name=\"b\"].image"}"#
    );
    assert_eq!(
        format!("{:?}", other.removed),
        r#"{".metadata.finalizers[=\"x\"]", ".spec.template.spec.containers[name=\"a\"]", ".spec.template.spec.containers[name=\"a\"].image", ".spec.template.spec.containers[name=\"a\"].name"}"#
    );
}

#[test]
fn custom_objects_are_divided_by_their_schema() {
    let schema = json!({"type": "object", "properties": {
        "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {
            "rules": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["host", "way"],
                "items": {"type": "object", "properties": {"host": {"type": "string"}, "way": {"type": "string", "default": "in"}}}},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "steps": {"type": "array", "items": {"type": "string"}},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
    }});
    let kind = TypeRef::custom(&schema, Message::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap());
    let object = json!({
        "metadata": {"name": "x", "finalizers": ["f"]},
        "spec": {"rules": [{"host": "h"}], "tags": ["t"], "steps": ["s"], "whole": {"a": 1}, "free": {"b": {"c": [1]}}},
    });
    let expect = r#"{"f:metadata":{"f:finalizers":{"v:\"f\"":{}},"f:name":{}},"f:spec":{"f:free":{"f:b":{".":{},"f:c":{}}},"f:rules":{"k:{\"host\":\"h\",\"way\":\"in\"}":{".":{},"f:host":{}}},"f:steps":{},"f:tags":{"v:\"t\"":{}},"f:whole":{}}}"#;
    assert_eq!(fields_of(&object, kind).to_json(), expect);
}

#[test]
fn entries_are_read_and_written() {
    let object = json!({"metadata": {"managedFields": [
        {"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}, "subresource": "status"},
        {"manager": "n", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:b": {".": {}, "f:c": {}}}},
    ]}});
    let managers = decode_managers(&object).unwrap();
    let mut copy = json!({});
    write_managers(&mut copy, &managers);
    assert_eq!(copy, object);
    write_managers(&mut copy, &[]);
    assert_eq!(copy, json!({"metadata": {}}));
    let bad = json!({"metadata": {"managedFields": [{"operation": "Eat"}]}});
    assert_eq!(decode_managers(&bad).unwrap_err(), "operation must be `Apply` or `Update`");
}

#[test]
fn a_write_may_set_or_reset_the_entries_but_not_lose_them() {
    let entry = |name: &str| json!({"manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}});
    let with = |entries: Value| json!({"metadata": {"managedFields": entries}});
    let live = with(json!([entry("live")]));
    let names = |new: &Value, subresource: &str| -> Vec<String> {
        managers_for_update(Some(&live), new, subresource).into_iter().map(|e| e.manager).collect()
    };
    assert_eq!(names(&json!({"metadata": {}}), ""), ["live"]);
    assert_eq!(names(&with(json!([entry("sent")])), ""), ["sent"]);
    assert_eq!(names(&with(json!([entry("sent")])), "status"), ["live"]);
    assert_eq!(names(&with(json!([{"manager": "broken"}])), ""), ["live"]);
    assert!(names(&with(json!([{}])), "").is_empty());
    assert!(names(&with(json!([])), "").is_empty());
}

#[test]
fn a_pod_is_owned_as_clusters_show_it() {
    let pod = TypeRef::message(Message::of_kind("", "v1", "Pod").unwrap());
    let ignored = FieldSet::of_fields(&["status"]);
    let at = |kind| Write { manager: "m", api_version: "v1", subresource: "", now: "t", kind, ignored: Some(&ignored) };
    let new = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "nginx", "namespace": "default", "uid": "u", "creationTimestamp": "t", "labels": {"run": "nginx"}},
        "spec": {
            "containers": [{
                "name": "nginx", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    });
    let created = update(None, &new, Vec::new(), &at(pod));
    let expect = r#"{"f:metadata":{"f:labels":{".":{},"f:run":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"nginx\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}"#;
    assert_eq!(created[0].fields.to_json(), expect);

    let mut running = new.clone();
    running["spec"]["nodeName"] = json!("n1");
    running["status"] = json!({
        "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "t"}],
        "phase": "Running", "qosClass": "BestEffort", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
        "containerStatuses": [{"name": "nginx", "ready": true}],
    });
    let spec = FieldSet::of_fields(&["spec"]);
    let kubelet = Write { manager: "kubelet", subresource: "status", ignored: Some(&spec), ..at(pod) };
    let reported = update(Some(&new), &running, created.clone(), &kubelet);
    assert_eq!(reported.len(), 2);
    assert_eq!((reported[1].manager.as_str(), &reported[1].fields), ("m", &created[0].fields));
    let expect = r#"{"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.0.0.1\"}":{".":{},"f:ip":{}}}}}"#;
    assert_eq!(reported[0].fields.to_json(), expect);
}

#[test]
fn managers_are_written_straight_as_through_a_tree() {
    let mut world = World::new(deployment());
    let port = |number: i32| json!({"containerPort": number, "protocol": "TCP"});
    let container = json!({"name": "c", "ports": [port(9), port(10), port(80)]});
    let spec = json!({"replicas": 2, "template": {"spec": {"containers": [container]}}});
    world.update("a \"b\"", &json!({"metadata": {"labels": {"x": "y"}, "finalizers": ["q", "p/a"]}, "spec": spec}));
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"paused": true}});
    assert!(world.apply("c", false, &config).unwrap());
    let mut object = json!({});
    write_managers(&mut object, &world.managers);
    assert_eq!(object["metadata"]["managedFields"].as_array().map(Vec::len), Some(2));
    assert_eq!(managers_to_json(&world.managers), object["metadata"]["managedFields"].to_string());
}
