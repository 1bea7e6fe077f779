//! Watches: order, resumption, selectors, bookmarks, streamed lists, shapes, ends.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt, future::join3};
use serde_json::{Value, json};

use super::{
    Check,
    answer::{names, version},
    objects::map,
    world::{MERGE, World, labelled, template},
};

const AREA: &str = "watch";
const STREAM: &str = "KEP-3157; https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists";

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        AREA,
        "a_watch_tells_every_change_after_its_start_in_order",
        "Conformance: watch-configmaps-from-resource-version",
        |w| changes(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_watch_without_a_version_begins_with_what_is_there",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch",
        |w| synthetic(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_watch_goes_on_where_another_ended",
        "Conformance: watch-configmaps-closed-and-restarted",
        |w| resumed(w).boxed(),
    ),
    Check::new(
        AREA,
        "what_enters_and_leaves_a_selector_is_added_and_deleted",
        "Conformance: watch-configmaps-label-changed",
        |w| selected(w).boxed(),
    ),
    Check::new(AREA, "watchers_see_one_order", "Conformance: watch-consistency", |w| order(w).boxed()),
    Check::new(AREA, "a_watch_adds_up_to_the_state", "Conformance: watch-configmaps-with-multiple-watchers", |w| {
        model(w).boxed()
    }),
    Check::new(AREA, "a_streamed_list_ends_with_a_marked_bookmark", STREAM, |w| streamed(w).boxed()),
    Check::new(
        AREA,
        "a_watch_ends_at_its_timeout_without_an_error",
        "https://kubernetes.io/docs/reference/kubernetes-api/common-parameters/common-parameters/#timeoutSeconds",
        |w| timeout(w).boxed(),
    ),
    Check::new(
        AREA,
        "events_take_the_shape_that_was_asked_for",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables",
        |w| shapes(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_watch_of_one_object_is_a_watch_by_its_name",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/",
        |w| single(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_watch_over_all_namespaces_sees_each",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris",
        |w| everywhere(w).boxed(),
    ),
    Check::new(
        AREA,
        "bookmarks_come_before_a_watch_ends",
        "KEP-956; https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks",
        |w| bookmarks(w).boxed(),
    ),
    Check::new(
        AREA,
        "a_watch_from_what_is_forgotten_is_gone",
        "https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses",
        |w| forgotten(w).boxed(),
    )
    .slow(),
];

async fn put(w: &World, name: &str, value: &str) -> Value {
    w.patch(&w.at("configmaps", name), MERGE, &json!({"data": {"k": value}})).await.ok()
}

async fn changes(w: World) {
    let collection = w.path("configmaps");
    let first = w.create(&collection, &map("a")).await.with(201);
    let second = put(&w, "a", "2").await;
    w.create(&collection, &map("b")).await.with(201);
    let mut watch = w.watch(&format!("{collection}?resourceVersion={}", version(&first))).await;
    let seen = watch.until("MODIFIED", "a").await;
    assert_eq!((&seen["data"]["k"], version(&seen)), (&json!("2"), version(&second)));
    assert_eq!((&seen["kind"], &seen["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    watch.until("ADDED", "b").await;
    put(&w, "a", "3").await;
    w.delete(&w.at("configmaps", "a")).await.coded(200);
    let third = watch.until("MODIFIED", "a").await;
    let last = watch.until("DELETED", "a").await;
    assert_eq!(last["data"]["k"], "3", "a deletion tells the last state");
    let number = |object: &Value| version(object).parse::<u64>().expect("resource versions are integers");
    assert!(number(&last) > number(&third), "and the version of the deletion");
}

async fn synthetic(w: World) {
    let collection = w.path("podtemplates");
    for name in ["a", "b"] {
        w.create(&collection, &template(name)).await.with(201);
    }
    for query in ["", "?resourceVersion=0"] {
        let mut watch = w.watch(&format!("{collection}{query}")).await;
        let mut seen = [watch.object("ADDED").await, watch.object("ADDED").await];
        seen.sort_by_key(|object| object["metadata"]["name"].to_string());
        assert_eq!((&seen[0]["metadata"]["name"], &seen[1]["metadata"]["name"]), (&json!("a"), &json!("b")));
        w.patch(
            &w.at("podtemplates", "a"),
            MERGE,
            &json!({"metadata": {"labels": {"q": format!("v{}", query.len())}}}),
        )
        .await
        .ok();
        watch.expect("MODIFIED", "a").await;
    }
}

async fn resumed(w: World) {
    let collection = w.path("configmaps");
    let list = w.get(&collection).await.ok();
    let mut watch = w.watch(&format!("{collection}?resourceVersion={}", version(&list))).await;
    w.create(&collection, &map("a")).await.with(201);
    let last = watch.until("ADDED", "a").await;
    put(&w, "a", "2").await;
    let last = {
        let modified = watch.until("MODIFIED", "a").await;
        drop(last);
        modified
    };
    drop(watch);
    put(&w, "a", "3").await;
    w.delete(&w.at("configmaps", "a")).await.coded(200);
    let mut again =
        w.watch(&format!("{collection}?resourceVersion={}&fieldSelector=metadata.name%3Da", version(&last))).await;
    assert_eq!(again.expect("MODIFIED", "a").await["data"]["k"], "3", "nothing is told twice");
    again.expect("DELETED", "a").await;
}

async fn selected(w: World) {
    let collection = w.path("configmaps");
    let mut watch = w.watch(&format!("{collection}?labelSelector=app%3Dx")).await;
    let label = async |name: &str, value: &str| {
        w.patch(&w.at("configmaps", name), MERGE, &json!({"metadata": {"labels": {"app": value}}})).await.ok()
    };
    let mut object = map("a");
    object["metadata"]["labels"] = json!({"app": "x"});
    w.create(&collection, &object).await.with(201);
    w.create(&collection, &map("b")).await.with(201);
    watch.expect("ADDED", "a").await;
    put(&w, "a", "2").await;
    watch.expect("MODIFIED", "a").await;
    let left = label("a", "y").await;
    let seen = watch.expect("DELETED", "a").await;
    assert_eq!(seen["metadata"]["labels"]["app"], "x", "who leaves is told as it last was within");
    assert_eq!(version(&seen), version(&left), "at the version at which it left");
    put(&w, "a", "3").await;
    label("b", "x").await;
    watch.expect("ADDED", "b").await;
    label("a", "x").await;
    assert_eq!(watch.expect("ADDED", "a").await["data"]["k"], "3");
    w.delete(&w.at("configmaps", "a")).await.coded(200);
    watch.expect("DELETED", "a").await;
}

/// Writers of a few objects at once.
async fn write(w: &World, names: &[&str]) {
    for (turn, name) in names.iter().cycle().take(12).enumerate() {
        let target = w.at("podtemplates", name);
        match turn % 4 {
            0 => drop(w.create(&w.path("podtemplates"), &template(name)).await),
            3 => drop(w.delete(&target).await),
            _ => drop(w.patch(&target, MERGE, &json!({"metadata": {"labels": {"turn": turn.to_string()}}})).await),
        }
    }
    w.create(&w.path("podtemplates"), &template(&format!("end-{}", names[0]))).await.with(201);
}

/// All events up to the ends of three writers, in short.
async fn read(w: &World, from: &str) -> Vec<(String, String, String)> {
    let mut watch = w.watch(&format!("{}?resourceVersion={from}", w.path("podtemplates"))).await;
    let (mut ends, mut seen) = (0, Vec::new());
    while ends < 3 {
        let event = watch.next().await.expect("the watch goes on");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        ends += usize::from(name.starts_with("end-"));
        seen.push((event["type"].as_str().unwrap_or_default().to_owned(), name, version(&event["object"])));
    }
    seen
}

async fn order(w: World) {
    let from = version(&w.get(&w.path("podtemplates")).await.ok());
    let writing = join3(write(&w, &["a", "b", "c", "d"]), write(&w, &["e"]), write(&w, &["f", "g"]));
    let reading = join3(read(&w, &from), read(&w, &from), read(&w, &from));
    let ((), (one, two, three)) = futures::future::join(writing.map(drop), reading).await;
    assert_eq!(one, two, "two watchers saw different orders");
    assert_eq!(one, three, "two watchers saw different orders");
    let versions: Vec<u64> = one.iter().filter_map(|(_, _, version)| version.parse().ok()).collect();
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "versions rise: {versions:?}");
}

/// The model of an informer: a list, and every event after it.
async fn model(w: World) {
    w.create(&w.path("podtemplates"), &template("a")).await.with(201);
    let list = w.get(&w.path("podtemplates")).await.ok();
    let mut state: BTreeMap<String, String> = names(&list)
        .iter()
        .zip(list["items"].as_array().into_iter().flatten())
        .map(|(name, item)| ((*name).to_owned(), version(item)))
        .collect();
    let from = version(&list);
    let writing = join3(write(&w, &["a", "b"]), write(&w, &["e"]), write(&w, &["f", "g"]));
    let ((), events) = futures::future::join(writing.map(drop), read(&w, &from)).await;
    for (kind, name, version) in events {
        match (kind.as_str(), state.contains_key(&name)) {
            ("ADDED", false) | ("MODIFIED", true) => drop(state.insert(name, version)),
            ("DELETED", true) => drop(state.remove(&name)),
            (kind, there) => panic!("{name} was {kind} while it was there: {there}"),
        }
    }
    let end = w.get(&w.path("podtemplates")).await.ok();
    let wanted: BTreeMap<String, String> = names(&end)
        .iter()
        .zip(end["items"].as_array().into_iter().flatten())
        .map(|(name, item)| ((*name).to_owned(), version(item)))
        .collect();
    assert_eq!(state, wanted);
}

async fn streamed(w: World) {
    let collection = w.path("podtemplates");
    for name in ["a", "b"] {
        w.create(&collection, &template(name)).await.with(201);
    }
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for version_ in ["", "&resourceVersion=", "&resourceVersion=0"] {
        let mut watch = w.watch(&format!("{collection}?{query}{version_}")).await;
        let mut seen = Vec::new();
        let bookmark = loop {
            let event = watch.next().await.expect("the list ends with a bookmark");
            match event["type"].as_str() {
                Some("ADDED") => seen.push(event["object"]["metadata"]["name"].clone()),
                Some("BOOKMARK") => break event["object"].clone(),
                _ => panic!("within a streamed list: {event}"),
            }
        };
        seen.sort_by_key(ToString::to_string);
        assert_eq!(seen, ["a", "b"]);
        assert_eq!((&bookmark["kind"], &bookmark["apiVersion"]), (&json!("PodTemplate"), &json!("v1")));
        assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{bookmark}");
        version(&bookmark);
        w.patch(
            &w.at("podtemplates", "b"),
            MERGE,
            &json!({"metadata": {"labels": {"q": format!("v{}", version_.len())}}}),
        )
        .await
        .ok();
        watch.expect("MODIFIED", "b").await;
    }
}

async fn timeout(w: World) {
    let mut watch =
        w.watch(&format!("{}?timeoutSeconds=1&fieldSelector=metadata.name%3Dnone", w.path("configmaps"))).await;
    assert_eq!(watch.next().await, None, "a watch at its timeout just ends");
}

async fn shapes(w: World) {
    let collection = w.path("podtemplates");
    w.create(&collection, &template("a")).await.with(201);
    let mut tables = w.watch_as(&collection, super::reads::TABLE).await;
    let table = tables.object("ADDED").await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(1));
    let mut partial = w.watch_as(&collection, super::reads::PARTIAL).await;
    let meta = partial.expect("ADDED", "a").await;
    assert_eq!((&meta["kind"], &meta["apiVersion"]), (&json!("PartialObjectMetadata"), &json!("meta.k8s.io/v1")));
    assert!(meta.get("template").is_none());
}

async fn single(w: World) {
    let collection = w.path("configmaps");
    w.create(&collection, &map("a")).await.with(201);
    let mut watch = w.watch(&format!("{collection}?fieldSelector=metadata.name%3Da")).await;
    watch.expect("ADDED", "a").await;
    w.create(&collection, &map("b")).await.with(201);
    put(&w, "b", "2").await;
    put(&w, "a", "2").await;
    watch.expect("MODIFIED", "a").await;
}

async fn everywhere(w: World) {
    let other = w.name("other");
    w.later(format!("/api/v1/namespaces/{other}"));
    w.create("/api/v1/namespaces", &json!({"metadata": {"name": other}})).await.with(201);
    let mut watch = w.watch(&format!("/api/v1/podtemplates?labelSelector=run%3D{}", w.prefix())).await;
    let object = |name: &str| labelled(name, "run", w.prefix());
    w.create(&w.path("podtemplates"), &object("a")).await.with(201);
    w.create(&format!("/api/v1/namespaces/{other}/podtemplates"), &object("b")).await.with(201);
    assert_eq!(watch.expect("ADDED", "a").await["metadata"]["namespace"], w.namespace);
    assert_eq!(watch.expect("ADDED", "b").await["metadata"]["namespace"], other);
}

/// A server sends one about every minute, and a few seconds before the end of a watch.
async fn bookmarks(w: World) {
    let collection = w.path("podtemplates");
    let list = w.get(&collection).await.ok();
    let target = format!("{collection}?resourceVersion={}&timeoutSeconds=4", version(&list));
    let asking = async {
        let mut watch = w.watch(&format!("{target}&allowWatchBookmarks=true")).await;
        let mut seen = 0;
        while let Some(event) = watch.next().await {
            assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("BOOKMARK"), &json!("PodTemplate")));
            assert!(event["object"]["metadata"].get("name").is_none_or(|name| name == ""), "{event}");
            version(&event["object"]);
            seen += 1;
        }
        assert!(seen > 0, "a watch ended without a bookmark");
    };
    // Who did not ask gets none.
    let silent = async { assert_eq!(w.watch(&target).await.next().await, None) };
    futures::future::join(asking, silent).await;
}

async fn forgotten(w: World) {
    let collection = w.path("podtemplates");
    let from = version(&w.create(&collection, &template("a")).await.with(201));
    for waited in 0.. {
        let answer = w.get(&format!("{collection}?resourceVersion={from}&resourceVersionMatch=Exact")).await;
        if answer.code == 410 {
            break;
        }
        assert!(waited < 33, "a version is still kept after eleven minutes");
        w.create(&collection, &template(&format!("u{waited}"))).await.with(201);
        w.pause(Duration::from_secs(20)).await;
    }
    let answer = w.get(&format!("{collection}?watch=true&resourceVersion=1&timeoutSeconds=5")).await;
    // Told at once, or as the only event.
    let status = if answer.code == 200 { answer.json()["object"].clone() } else { answer.json() };
    assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(410)), "{status}");
}
