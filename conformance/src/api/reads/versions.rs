//! Resource versions in reads.

use serde_json::json;

use crate::api::{
    answer::{causes, names, says, version},
    objects::map,
    world::{MERGE, World},
};

pub(super) async fn fresh(w: World) {
    let collection = w.path("secrets");
    let made = w.create(&collection, &json!({"metadata": {"name": "a"}})).await.with(201);
    let at = version(&made);
    for query in [
        String::new(),
        "?resourceVersion=".into(),
        "?resourceVersion=0".into(),
        "?resourceVersion=0&resourceVersionMatch=NotOlderThan".into(),
        format!("?resourceVersion={at}"),
        format!("?resourceVersion={at}&resourceVersionMatch=NotOlderThan"),
        format!("?resourceVersion={at}&limit=10"),
        "?resourceVersion=0&limit=10".into(),
    ] {
        let list = w.get(&format!("{collection}{query}")).await.ok();
        let stale_allowed = query.contains("resourceVersion=0");
        assert!(stale_allowed || names(&list) == ["a"], "the list with {query:?} is {list}");
        let told: u64 = version(&list).parse().expect("a resource version is an integer");
        assert!(stale_allowed || told >= at.parse().expect("a resource version is an integer"), "{query:?}: {told}");
    }
    let target = w.at("secrets", "a");
    for query in [String::new(), "?resourceVersion=0".into(), format!("?resourceVersion={at}")] {
        let answer = w.get(&format!("{target}{query}")).await;
        // An old state may be answered for 0, also one from before the object was made.
        assert!(answer.code == 200 || (query.ends_with("=0") && answer.code == 404), "{query:?}: {}", answer.text());
    }
}

pub(super) async fn exact(w: World) {
    let (collection, target) = (w.path("configmaps"), w.at("configmaps", "a"));
    let made = w.create(&collection, &map("a")).await.with(201);
    w.patch(&target, MERGE, &json!({"data": {"k": "2"}})).await.ok();
    w.create(&collection, &map("b")).await.with(201);
    w.delete(&target).await.coded(200);
    let at = version(&made);
    for limit in ["", "&limit=100"] {
        let query = format!("?resourceVersion={at}&resourceVersionMatch=Exact&fieldSelector=metadata.name%3Da{limit}");
        let list = w.get(&format!("{collection}{query}")).await.ok();
        assert_eq!(version(&list), at, "a list of an exact version");
        assert_eq!(list["items"][0]["data"]["k"], "v");
    }
    let now = w.get(&collection).await.ok();
    assert!(!names(&now).contains(&"a") && names(&now).contains(&"b"));
}

pub(super) async fn illegal(w: World) {
    let collection = w.path("configmaps");
    for (query, says_) in [
        ("resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersionMatch=NotOlderThan", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersion=0&resourceVersionMatch=Exact", "is forbidden for resourceVersion \"0\""),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", "supported values"),
        ("watch=true&resourceVersion=1&resourceVersionMatch=Exact", "resourceVersionMatch"),
        ("watch=true&resourceVersion=1&resourceVersionMatch=NotOlderThan", "sendInitialEvents"),
        ("watch=true&sendInitialEvents=true", "resourceVersionMatch"),
        ("watch=true&sendInitialEvents=true&resourceVersionMatch=Exact", "resourceVersionMatch"),
        ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "sendInitialEvents is forbidden for list"),
    ] {
        let status = w.get(&format!("{collection}?{query}")).await.refused(422, "Invalid");
        says(&status, &["ListOptions.meta.k8s.io \"\" is invalid", says_]);
    }
    // What cannot be read is refused before it is validated.
    for query in ["limit=many", "timeoutSeconds=soon"] {
        w.get(&format!("{collection}?{query}")).await.refused(400, "BadRequest");
    }
}

pub(super) async fn future(w: World) {
    let collection = w.path("configmaps");
    w.create(&collection, &map("a")).await.with(201);
    let far = "1000000000000000000";
    for target in [
        format!("{collection}?resourceVersion={far}"),
        format!("{collection}?resourceVersion={far}&resourceVersionMatch=NotOlderThan"),
        format!("{}?resourceVersion={far}", w.at("configmaps", "a")),
    ] {
        let status = w.get(&target).await.refused(504, "Timeout");
        says(&status, &["Too large resource version"]);
        assert!(causes(&status).iter().any(|(_, reason)| *reason == "ResourceVersionTooLarge"), "{status}");
    }
}
