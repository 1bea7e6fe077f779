use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::{Merge, Zero};

const fn field(json: &'static str, shape: Shape, of: Kind, merge: Merge) -> Field {
    Field { json, number: 1, shape, of, required: false, zero: Zero::Omit, merge, inline: false }
}

const fn by(key: &'static str) -> Merge {
    Merge { merge: true, key, ..Merge::NONE }
}

static PORT: Message = Message {
    name: "Port",
    codec: Codec::Plain,
    fields: &[
        field("name", Shape::One, Kind::String, Merge::NONE),
        field("port", Shape::One, Kind::Int32, Merge::NONE),
    ],
};

static CONTAINER: Message = Message {
    name: "Container",
    codec: Codec::Plain,
    fields: &[
        field("args", Shape::List, Kind::String, Merge::NONE),
        field("image", Shape::One, Kind::String, Merge::NONE),
        field("name", Shape::One, Kind::String, Merge::NONE),
        field("ports", Shape::List, Kind::Message(&PORT), by("port")),
    ],
};

static POD: Message = Message {
    name: "Pod",
    codec: Codec::Plain,
    fields: &[
        field("containers", Shape::List, Kind::Message(&CONTAINER), by("name")),
        field("finalizers", Shape::List, Kind::String, by("")),
        field("keyless", Shape::List, Kind::Message(&PORT), by("")),
        field("labels", Shape::Map, Kind::String, Merge::NONE),
        field("strategy", Shape::One, Kind::Message(&PORT), Merge { retain_keys: true, ..Merge::NONE }),
    ],
};

fn patched(original: &Value, patch: &Value) -> Result<Value, Error> {
    let mut original = original.clone();
    strategic(&mut original, patch, &POD).map(|()| original)
}

#[track_caller]
fn check([original, patch, expect]: [Value; 3]) {
    assert_eq!(patched(&original, &patch).unwrap(), expect);
}

#[track_caller]
fn refused([original, patch]: [Value; 2], message: &str) {
    assert_eq!(patched(&original, &patch).unwrap_err().to_string(), message);
}

#[test]
fn lists_of_objects_merge_by_their_key() {
    check([
        json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}]}),
        json!({"containers": [{"name": "b", "image": "3"}, {"name": "c", "image": "4", "args": null}]}),
        json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "3"}, {"name": "c", "image": "4"}]}),
    ]);
    check([
        json!({"containers": [{"name": "a", "args": ["x"], "ports": [{"port": 80}]}]}),
        json!({"containers": [{"name": "a", "args": ["y"], "ports": [{"port": 81}]}]}),
        json!({"containers": [{"name": "a", "args": ["y"], "ports": [{"port": 81}, {"port": 80}]}]}),
    ]);
}

#[test]
fn nulls_remove_and_maps_merge() {
    check([
        json!({"labels": {"a": "1", "b": "2"}, "finalizers": ["x"]}),
        json!({"labels": {"a": null, "c": "3"}, "finalizers": null, "strategy": null}),
        json!({"labels": {"b": "2", "c": "3"}}),
    ]);
}

#[test]
fn scalars_of_merging_lists_are_united_and_deleted() {
    check([
        json!({"finalizers": ["a", "b"]}),
        json!({"finalizers": ["b", "c"]}),
        json!({"finalizers": ["a", "b", "c"]}),
    ]);
    check([
        json!({"finalizers": ["a", "b", "c"]}),
        json!({"$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["d"]}),
        json!({"finalizers": ["d", "a", "c"]}),
    ]);
    check([json!({}), json!({"$deleteFromPrimitiveList/finalizers": ["b"]}), json!({})]);
}

#[test]
fn the_patch_directive_replaces_or_deletes() {
    let original = json!({"labels": {"a": "1"}, "containers": [{"name": "a"}, {"name": "b"}]});
    check([
        original.clone(),
        json!({"labels": {"$patch": "replace", "b": "2"}}),
        json!({"labels": {"b": "2"}, "containers": [{"name": "a"}, {"name": "b"}]}),
    ]);
    check([
        original.clone(),
        json!({"labels": {"$patch": "delete"}}),
        json!({"labels": {}, "containers": [{"name": "a"}, {"name": "b"}]}),
    ]);
    check([
        original.clone(),
        json!({"containers": [{"$patch": "delete", "name": "a"}]}),
        json!({"labels": {"a": "1"}, "containers": [{"name": "b"}]}),
    ]);
    check([
        original,
        json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
        json!({"labels": {"a": "1"}, "containers": [{"name": "c"}]}),
    ]);
}

#[test]
fn retain_keys_clears_what_it_does_not_list() {
    let original = json!({"strategy": {"name": "a", "port": 1}});
    check([
        original.clone(),
        json!({"strategy": {"$retainKeys": ["name"], "name": "b"}}),
        json!({"strategy": {"name": "b"}}),
    ]);
    refused(
        [original, json!({"strategy": {"$retainKeys": ["name"], "port": 2}})],
        "invalid patch format of retainKeys",
    );
}

#[test]
fn element_order_arranges_the_merged_list() {
    let original = json!({"containers": [{"name": "a"}, {"name": "s"}, {"name": "b"}]});
    check([
        original.clone(),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "s"}, {"name": "b"}, {"name": "a"}]}),
    ]);
    check([
        original.clone(),
        json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}], "containers": [{"name": "c"}, {"$patch": "delete", "name": "a"}]}),
        json!({"containers": [{"name": "c"}, {"name": "s"}, {"name": "b"}]}),
    ]);
    check([
        json!({"finalizers": ["a", "b"]}),
        json!({"$setElementOrder/finalizers": ["c", "a"], "finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["b"]}),
        json!({"finalizers": ["c", "a"]}),
    ]);
    refused(
        [original, json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "z"}]})],
        "The order in patch list:\n[map[name:z]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
    );
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let original = json!({"containers": [{"name": "a"}], "keyless": [{"port": 1}], "finalizers": ["a"]});
    refused(
        [original.clone(), json!({"containers": [{"image": "x"}]})],
        "map: map[image:x] does not contain declared merge key: name",
    );
    refused(
        [original.clone(), json!({"containers": [{"$patch": "merge", "name": "a"}]})],
        "merging lists cannot yet be specified in the patch",
    );
    refused(
        [json!({"labels": {"a": "1"}}), json!({"labels": {"$patch": "eat"}})],
        "unknown patch type: eat in map: map[$patch:eat]",
    );
    refused(
        [original.clone(), json!({"keyless": [{"port": 2}]})],
        "cannot merge lists without merge key for type struct",
    );
    refused([original, json!({"finalizers": [["b"]]})], "lists of lists are not supported");
}

#[test]
fn directives_never_reach_the_document() {
    check([
        json!({}),
        json!({"labels": {"$retainKeys": ["a"], "a": "1", "b": null}, "containers": [{"$patch": "delete", "name": "x"}, {"name": "y"}], "$setElementOrder/containers": [{"name": "y"}]}),
        json!({"labels": {"a": "1"}, "containers": [{"name": "y"}]}),
    ]);
}

#[test]
fn a_deployment_is_patched_as_kubectl_patches_it() {
    let kind = Message::of_kind("apps", "v1", "Deployment").unwrap();
    let pod = |containers: Value, tolerations: Value, strategy: Value| json!({"spec": {"strategy": strategy, "template": {"spec": {"containers": containers, "tolerations": tolerations}}}});
    let mut original = pod(
        json!([{"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"name": "side"}]),
        json!([{"key": "a"}]),
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}),
    );
    let mut patch = pod(
        json!([{"name": "web", "image": "web:2", "env": [{"name": "A", "$patch": "delete"}, {"name": "B", "value": "2"}]}]),
        json!([{"key": "b"}]),
        json!({"$retainKeys": ["type"], "type": "Recreate"}),
    );
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] = json!([{"name": "side"}, {"name": "web"}]);
    strategic(&mut original, &patch, kind).unwrap();
    let expect = pod(
        json!([{"name": "side"}, {"name": "web", "image": "web:2", "env": [{"name": "B", "value": "2"}], "ports": [{"containerPort": 80, "protocol": "TCP"}]}]),
        json!([{"key": "b"}]),
        json!({"type": "Recreate"}),
    );
    assert_eq!(original, expect);
}

fn documents() -> impl Strategy<Value = Value> {
    let container = ("[abc]", proptest::option::of("[xy]"), proptest::collection::btree_set(1..4, 0..3));
    let containers = proptest::collection::vec(container, 0..3);
    let labels = proptest::collection::btree_map("[ab]", "[xy]", 0..3);
    (containers, labels, proptest::collection::btree_set("[fg]", 0..3)).prop_map(|(containers, labels, finalizers)| {
        let mut seen = std::collections::BTreeSet::new();
        let containers: Vec<Value> = containers
            .into_iter()
            .filter(|(name, ..)| seen.insert(name.clone()))
            .map(|(name, image, ports)| {
                let ports: Vec<Value> = ports.into_iter().map(|port| json!({"port": port})).collect();
                json!({"name": name, "image": image.unwrap_or_default(), "ports": ports})
            })
            .collect();
        json!({"containers": containers, "labels": labels, "finalizers": finalizers})
    })
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(original in documents(), patch in documents()) {
        let once = patched(&original, &patch).unwrap();
        prop_assert_eq!(patched(&once, &patch).unwrap(), once);
    }

    #[test]
    fn a_document_merged_into_itself_is_itself(document in documents()) {
        prop_assert_eq!(patched(&document, &document).unwrap(), document);
    }

    #[test]
    fn an_empty_patch_changes_nothing(document in documents()) {
        prop_assert_eq!(patched(&document, &json!({})).unwrap(), document);
    }

    #[test]
    fn every_item_of_the_patch_is_in_the_result(original in documents(), patch in documents()) {
        let merged = patched(&original, &patch).unwrap();
        for item in patch["containers"].as_array().unwrap() {
            let found = merged["containers"].as_array().unwrap().iter().filter(|c| c["name"] == item["name"]).count();
            prop_assert_eq!(found, 1);
        }
    }
}
