//! Lists in pages.

use std::time::Duration;

use futures::future::join;
use serde_json::{Value, json};

use crate::api::{
    answer::{names, says, version},
    world::{World, labelled, template},
};

async fn fill(w: &World, count: usize) {
    for number in 0..count {
        let name = format!("t{number:03}");
        w.create(&w.path("podtemplates"), &labelled(&name, "set", "a")).await.with(201);
    }
}

fn token(list: &Value) -> String {
    list["metadata"]["continue"].as_str().unwrap_or_default().to_owned()
}

/// A token as it stands in a query: it is made of what needs no encoding, or nearly.
fn next(target: &str, token: &str) -> String {
    let token: String = token.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").replace('/', "%2F");
    format!("{target}&continue={token}")
}

pub(super) async fn state(w: World) {
    fill(&w, 7).await;
    let target = format!("{}?limit=3", w.path("podtemplates"));
    let first = w.get(&target).await.ok();
    assert_eq!((&first["kind"], &first["metadata"]["remainingItemCount"]), (&json!("PodTemplateList"), &json!(4)));
    assert_eq!(names(&first), ["t000", "t001", "t002"]);
    // What is written between two pages is not seen.
    w.delete(&w.at("podtemplates", "t004")).await.coded(200);
    w.create(&w.path("podtemplates"), &template("t0035")).await.with(201);
    let second = w.get(&next(&target, &token(&first))).await.ok();
    assert_eq!(names(&second), ["t003", "t004", "t005"]);
    assert_eq!(second["metadata"]["remainingItemCount"], 1);
    assert_eq!(version(&second), version(&first), "all pages are of one resource version");
    let third = w.get(&next(&target, &token(&second))).await.ok();
    assert_eq!((names(&third), token(&third)), (vec!["t006"], String::new()));
    assert!(third["metadata"].get("remainingItemCount").is_none(), "{}", third["metadata"]);
    assert_eq!(version(&third), version(&first));
    let all = w.get(&w.path("podtemplates")).await.ok();
    assert_eq!(names(&all).len(), 7);
    assert!(token(&all).is_empty() && all["metadata"].get("remainingItemCount").is_none(), "{}", all["metadata"]);
    // A page may be larger than what is there, and 0 is no limit.
    for limit in ["100", "0"] {
        let list = w.get(&format!("{}?limit={limit}", w.path("podtemplates"))).await.ok();
        assert_eq!((names(&list).len(), token(&list)), (7, String::new()));
    }
}

pub(super) async fn selected(w: World) {
    fill(&w, 5).await;
    let target = format!("{}?limit=2&labelSelector=set%3Da", w.path("podtemplates"));
    let first = w.get(&target).await.ok();
    assert!(first["metadata"].get("remainingItemCount").is_none(), "{}", first["metadata"]);
    assert!(!token(&first).is_empty());
    let mut seen: Vec<String> = names(&first).into_iter().map(Into::into).collect();
    let mut token = token(&first);
    while !token.is_empty() {
        let page = w.get(&next(&target, &token)).await.ok();
        seen.extend(names(&page).into_iter().map(Into::into));
        token = self::token(&page);
    }
    assert_eq!(seen, ["t000", "t001", "t002", "t003", "t004"]);
}

/// A model: what was there at the first page and what was written while the others were read.
pub(super) async fn busy(w: World) {
    fill(&w, 40).await;
    let target = format!("{}?limit=5", w.path("podtemplates"));
    let before = w.get(&w.path("podtemplates")).await.ok();
    let reading = async {
        let mut page = w.get(&target).await.ok();
        let revision = version(&page);
        let mut items = page["items"].as_array().cloned().unwrap_or_default();
        while !token(&page).is_empty() {
            page = w.get(&next(&target, &token(&page))).await.ok();
            assert_eq!(version(&page), revision);
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
        }
        (revision, items)
    };
    let writing = async {
        for number in 0..40 {
            let name = format!("t{number:03}");
            match number % 3 {
                0 => w.delete(&w.at("podtemplates", &name)).await.coded(200),
                1 => {
                    w.create(&w.path("podtemplates"), &template(&format!("{name}x"))).await.coded(201);
                }
                _ => {
                    let patch = json!({"metadata": {"labels": {"set": "b"}}});
                    w.patch(&w.at("podtemplates", &name), crate::api::world::MERGE, &patch).await.coded(200);
                }
            }
        }
    };
    let ((revision, items), ()) = join(reading, writing).await;
    // The same state, asked for in one piece.
    let exact = format!("{}?resourceVersion={revision}&resourceVersionMatch=Exact", w.path("podtemplates"));
    let whole = w.get(&exact).await.ok();
    assert_eq!(Value::from(items), whole["items"], "the pages are not the state at {revision}");
    let count = before["items"].as_array().map_or(0, Vec::len);
    assert_eq!(count, 40);
}

pub(super) async fn tokens(w: World) {
    fill(&w, 3).await;
    let target = format!("{}?limit=1", w.path("podtemplates"));
    let first = w.get(&target).await.ok();
    let with_version = format!("{}&resourceVersion={}", next(&target, &token(&first)), version(&first));
    let status = w.get(&with_version).await.refused(400, "BadRequest");
    says(&status, &["specifying resource version is not allowed when using continue"]);
    w.get(&format!("{target}&continue=nonsense")).await.refused(400, "BadRequest");
    let matched = format!("{}&resourceVersionMatch=NotOlderThan", next(&target, &token(&first)));
    w.get(&matched).await.refused(422, "Invalid");
    // A token goes on with any limit.
    let rest = w.get(&next(&format!("{}?limit=10", w.path("podtemplates")), &token(&first))).await.ok();
    assert_eq!(names(&rest), ["t001", "t002"]);
}

/// Servers keep a state for five minutes, and forget it within ten.
pub(super) async fn expired(w: World) {
    fill(&w, 6).await;
    let target = format!("{}?limit=2", w.path("podtemplates"));
    let first = w.get(&target).await.ok();
    let going_on = next(&target, &token(&first));
    let mut waited = 0;
    let status = loop {
        let answer = w.get(&going_on).await;
        if answer.code == 410 {
            break answer.refused(410, "Expired");
        }
        answer.ok();
        assert!(waited < 660, "a token is still good after eleven minutes");
        // Something has to happen, or every version is the latest.
        w.create(&w.path("podtemplates"), &template(&format!("u{waited}"))).await.with(201);
        w.pause(Duration::from_secs(20)).await;
        waited += 20;
    };
    let inconsistent = status["metadata"]["continue"].as_str().unwrap_or_default();
    assert!(!inconsistent.is_empty(), "no token to go on with: {status}");
    let second = w.get(&next(&target, inconsistent)).await.ok();
    assert_eq!(names(&second), ["t002", "t003"], "it goes on behind the last key");
    assert_ne!(version(&second), version(&first));
    let third = w.get(&next(&target, &token(&second))).await.ok();
    assert_eq!(version(&third), version(&second), "from here on the pages are of one state again");
}
