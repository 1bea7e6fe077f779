//! Following collections.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use windlass_kernel::{
    Api, ErrorKind,
    api::{Events, Verb, VersionMatch, WatchEvent},
};

use crate::rig::{Rig, wait};

fn map(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": label}}})
}

/// The next event in short form.
fn next(events: &mut Events) -> String {
    let named = |document: windlass_kernel::Document| {
        let value = document.value().unwrap();
        format!(
            "{} {}",
            value["metadata"]["name"].as_str().unwrap(),
            value["metadata"]["labels"]["app"].as_str().unwrap()
        )
    };
    match wait(events.next()) {
        None => "end".into(),
        Some(Err(error)) => format!("{:?}", error.kind()),
        Some(Ok(WatchEvent::Added(document))) => format!("added {}", named(document)),
        Some(Ok(WatchEvent::Modified(document))) => format!("modified {}", named(document)),
        Some(Ok(WatchEvent::Deleted(document))) => format!("deleted {}", named(document)),
        Some(Ok(WatchEvent::Bookmark { initial_events_end, .. })) => format!("bookmark {initial_events_end}"),
    }
}

#[test]
fn a_watch_begins_with_what_is_there_and_goes_on_with_changes() {
    let rig = Rig::new();
    rig.create("configmaps", map("a", "x")).unwrap();
    let mut events = wait(rig.server.watch(rig.request(Verb::Watch, "configmaps"))).unwrap();
    assert_eq!(next(&mut events), "added a x");
    assert!(events.next().now_or_never().is_none());
    rig.update("configmaps", map("a", "y")).unwrap();
    rig.delete("configmaps", "a").unwrap();
    assert_eq!([next(&mut events), next(&mut events)], ["modified a y", "deleted a y"]);
}

#[test]
fn what_leaves_a_selector_is_deleted_to_the_watcher() {
    let rig = Rig::new();
    let mut request = rig.request(Verb::Watch, "configmaps");
    request.options.label_selector = "app=x".into();
    let mut events = wait(rig.server.watch(request)).unwrap();
    rig.create("configmaps", map("b", "y")).unwrap();
    rig.create("configmaps", map("a", "x")).unwrap();
    rig.update("configmaps", map("a", "y")).unwrap();
    rig.update("configmaps", map("b", "x")).unwrap();
    assert_eq!(next(&mut events), "added a x");
    assert_eq!(next(&mut events), "deleted a x");
    assert_eq!(next(&mut events), "added b x");
}

#[test]
fn a_streamed_list_ends_with_a_marked_bookmark() {
    let rig = Rig::new();
    rig.create("configmaps", map("a", "x")).unwrap();
    let mut request = rig.request(Verb::Watch, "configmaps");
    request.options.send_initial_events = Some(true);
    request.options.version_match = Some(VersionMatch::NotOlderThan);
    request.options.bookmarks = true;
    let mut events = wait(rig.server.watch(request)).unwrap();
    assert_eq!([next(&mut events), next(&mut events)], ["added a x", "bookmark true"]);
    rig.clock.advance(Duration::from_secs(61));
    assert_eq!(next(&mut events), "bookmark false");
}

#[test]
fn a_watch_ends_at_its_timeout() {
    let rig = Rig::new();
    let mut request = rig.request(Verb::Watch, "configmaps");
    request.options.timeout = Some(Duration::from_secs(5));
    request.options.bookmarks = true;
    let mut events = wait(rig.server.watch(request)).unwrap();
    rig.clock.advance(Duration::from_secs(4));
    assert_eq!(next(&mut events), "bookmark false");
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(next(&mut events), "end");
}

#[test]
fn events_are_forgotten_after_an_hour() {
    let rig = Rig::new();
    let event = json!({"metadata": {"name": "e", "labels": {"app": "x"}}, "reason": "R", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "message": "m"});
    let mut events = wait(rig.server.watch(rig.request(Verb::Watch, "events"))).unwrap();
    rig.create("events", event).unwrap();
    assert_eq!(next(&mut events), "added e x");
    rig.clock.advance(Duration::from_secs(3599));
    rig.get("events", "e").unwrap();
    rig.clock.advance(Duration::from_secs(301));
    assert_eq!(next(&mut events), "deleted e x");
}

#[test]
fn what_is_no_longer_kept_is_said_to_be_gone() {
    let rig = Rig::new();
    for name in ["a", "b", "c"] {
        rig.create("configmaps", map(name, "x")).unwrap();
    }
    let page = rig.list("configmaps", |request| request.options.limit = 1).unwrap();
    rig.create("configmaps", map("d", "x")).unwrap();
    let latest = wait(rig.server.store().latest()).unwrap();
    wait(rig.server.store().compact(latest)).unwrap();

    let token = page.continue_token;
    let gone = rig.list("configmaps", |request| request.options.continue_token = token).unwrap_err();
    assert!(gone.is(ErrorKind::Compacted) && gone.message().starts_with("The provided continue parameter is too old"));
    let token = gone.details().unwrap().continue_token.clone();
    let rest = rig.list("configmaps", |request| request.options.continue_token = token).unwrap();
    assert_eq!(crate::rig::names(&rest), ["b", "c", "d"]);

    let mut request = rig.request(Verb::Watch, "configmaps");
    request.options.resource_version = "1".into();
    let error = match wait(rig.server.watch(request)) {
        Err(error) => error,
        Ok(mut events) => wait(events.next()).unwrap().unwrap_err(),
    };
    assert!(error.is(ErrorKind::Compacted));
    assert_eq!(error.to_status()["reason"], "Expired");
}
