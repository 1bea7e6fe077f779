use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Changes, FieldSet, World, changed, deployment, fields_of};

fn labels() -> impl Strategy<Value = Value> {
    let map = proptest::collection::btree_map("[abc]", "[xy]", 0..4);
    map.prop_map(|map| map.into_iter().map(|(k, v)| (k, Value::from(v))).collect::<Map<_, _>>().into())
}

fn containers() -> impl Strategy<Value = Vec<Value>> {
    let ports = proptest::collection::btree_set(80..83, 0..3);
    let container = ("[cde]", proptest::option::of("[xy]"), ports, proptest::option::of(labels()));
    proptest::collection::vec(container, 0..4).prop_map(|all| {
        let mut seen = std::collections::BTreeSet::new();
        let unique = all.into_iter().filter(|(name, ..)| seen.insert(name.clone()));
        let build =
            |(name, image, ports, limits): (String, Option<String>, std::collections::BTreeSet<i32>, Option<Value>)| {
                let mut container = json!({"name": name});
                if let Some(image) = image {
                    container["image"] = json!(image);
                }
                if !ports.is_empty() {
                    container["ports"] =
                        ports.into_iter().map(|p| json!({"containerPort": p, "protocol": "TCP"})).collect();
                }
                if let Some(limits) = limits {
                    container["resources"] = json!({"limits": limits});
                }
                container
            };
        unique.map(build).collect()
    })
}

/// A configuration without empty containers, which own nothing of their own.
fn configs() -> impl Strategy<Value = Value> {
    let finalizers = proptest::collection::btree_set("[fgh]", 0..3);
    (labels(), containers(), finalizers, proptest::option::of(0..3)).prop_map(
        |(labels, containers, finalizers, replicas)| {
            let mut config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
            if !labels.as_object().unwrap().is_empty() {
                config["metadata"]["labels"] = labels;
            }
            if !finalizers.is_empty() {
                config["metadata"]["finalizers"] = finalizers.into_iter().collect();
            }
            if let Some(replicas) = replicas {
                config["spec"]["replicas"] = json!(replicas);
            }
            if !containers.is_empty() {
                config["spec"]["template"]["spec"]["containers"] = containers.into();
            }
            config
        },
    )
}

/// Any JSON at all, under names that mean something to a deployment.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        "[ab]?".prop_map(Value::from)
    ];
    let name = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("template"),
        Just("containers"),
        Just("ports"),
        Just("name"),
        Just("labels"),
        Just("finalizers"),
        Just("selector"),
        Just("containerPort"),
        Just("strategy"),
        Just("status"),
    ];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..4).prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

fn bare() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}})
}

fn sets() -> impl Strategy<Value = FieldSet> {
    configs().prop_map(|config| fields_of(&config, deployment()))
}

proptest! {
    #[test]
    fn no_json_is_too_odd(live in anything(), new in anything(), config in anything()) {
        let mut world = World::new(deployment());
        world.update("one", &live);
        let Changes { changed: added, removed } = changed(Some(&live), &new, deployment());
        prop_assert!(added.is_empty() && removed.is_empty() || live != new);
        world.update("two", &new);
        let before = world.clone();
        if world.apply("three", true, &config).is_ok() {
            prop_assert!(!world.apply("three", true, &config).unwrap());
            let _ = world.apply("three", true, &bare());
        } else {
            prop_assert_eq!(before.object, world.object);
        }
        let set = fields_of(&config, deployment());
        prop_assert_eq!(FieldSet::from_value(&set.to_value()).unwrap(), set);
    }

    #[test]
    fn applying_twice_changes_nothing_the_second_time(one in configs(), two in configs()) {
        let mut world = World::new(deployment());
        world.apply("one", false, &one).unwrap();
        world.apply("two", true, &two).unwrap();
        let before = world.clone();
        prop_assert!(!world.apply("two", false, &two).unwrap());
        prop_assert_eq!(world.object, before.object);
        prop_assert_eq!(world.managers, before.managers);
    }

    #[test]
    fn what_an_applier_gives_up_goes_and_nothing_else(one in configs(), two in configs()) {
        let mut alone = World::new(deployment());
        alone.apply("one", false, &one).unwrap();
        let mut world = alone.clone();
        if world.apply("two", false, &two).is_ok() {
            world.apply("two", false, &bare()).unwrap();
            prop_assert_eq!(&world.managers.len(), &alone.managers.len());
            let gone = changed(alone.object.as_ref(), world.object.as_ref().unwrap(), deployment());
            // The empty object around what is gone may stay, as upstream's types would write it anyway.
            prop_assert!(gone.removed.is_empty(), "{:?}", gone);
            let kept = fields_of(world.object.as_ref().unwrap(), deployment());
            let extra = kept.difference(&fields_of(alone.object.as_ref().unwrap(), deployment()));
            prop_assert!(extra.len() <= 2, "{:?}", extra);
        }
    }

    #[test]
    fn the_applied_values_are_in_the_result(one in configs(), two in configs()) {
        let mut world = World::new(deployment());
        world.apply("one", false, &one).unwrap();
        world.apply("two", true, &two).unwrap();
        let object = world.object.unwrap();
        let lost = changed(Some(&two), &object, deployment());
        prop_assert!(lost.removed.is_empty());
        let mine = fields_of(&two, deployment()).intersection(&lost.changed);
        prop_assert!(mine.is_empty(), "{:?}", mine);
    }

    #[test]
    fn appliers_of_different_fields_never_conflict(labels in labels(), containers in containers()) {
        let mut world = World::new(deployment());
        let one = json!({"metadata": {"name": "web", "labels": labels}});
        let two = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": containers}}}});
        world.apply("one", false, &one).unwrap();
        prop_assert!(world.apply("two", false, &two).is_ok());
        prop_assert!(world.apply("one", false, &one).is_ok());
    }

    #[test]
    fn an_update_without_change_leaves_the_entries_alone(one in configs(), two in configs()) {
        let mut world = World::new(deployment());
        world.apply("one", false, &one).unwrap();
        world.update("two", &two);
        let before = world.managers.clone();
        world.update("three", &two);
        prop_assert_eq!(world.managers, before);
    }

    #[test]
    fn every_owned_field_has_one_updater_at_most(all in proptest::collection::vec((0_usize..3, configs()), 1..5)) {
        let mut world = World::new(deployment());
        for (who, object) in &all {
            world.update(["a", "b", "c"][*who], object);
        }
        for (at, entry) in world.managers.iter().enumerate() {
            for other in &world.managers[at + 1..] {
                prop_assert!(entry.fields.intersection(&other.fields).is_empty());
            }
        }
    }

    #[test]
    fn fields_come_back_from_their_json(set in sets()) {
        prop_assert_eq!(FieldSet::from_value(&set.to_value()).unwrap(), set.clone());
        prop_assert_eq!(FieldSet::from_value(&serde_json::from_str(&set.to_json()).unwrap()).unwrap(), set);
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in sets(), b in sets(), c in sets()) {
        let union = a.clone().union(b.clone());
        prop_assert_eq!(&union, &b.clone().union(a.clone()));
        prop_assert_eq!(union.difference(&b), a.difference(&b));
        prop_assert_eq!(a.difference(&b).union(a.intersection(&b)), a.clone());
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(union.len() + a.intersection(&b).len(), a.len() + b.len());
        prop_assert_eq!(
            a.intersection(&b.clone().union(c.clone())),
            a.intersection(&b).union(a.intersection(&c))
        );
        union.for_each(|path| {
            let path: Vec<_> = path.iter().map(|e| (*e).clone()).collect();
            assert!(a.has(&path) || b.has(&path));
        });
    }

    #[test]
    fn a_value_differs_from_nothing_by_all_its_fields(config in configs()) {
        let empty = json!({});
        let mut mine = fields_of(&config, deployment());
        super::super::update::strip(&mut mine);
        let added = changed(Some(&empty), &config, deployment());
        prop_assert!(mine.difference(&added.changed).is_empty());
        prop_assert!(changed(Some(&config), &config, deployment()).changed.is_empty());
        prop_assert!(!mine.intersection(&changed(Some(&config), &empty, deployment()).removed).ne(&mine));
    }
}
