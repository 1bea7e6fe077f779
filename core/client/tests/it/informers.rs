use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use windlass_api::core::v1::ConfigMap;
use windlass_client::{Cache, Informers, Select, Selection, informer::Index};
use windlass_kernel::{Document, controller::ObjectKey};
use windlass_testkit::sim::Executor;

use crate::shelf::{Shelf, config_map};

fn names<P: Clone + Send + Sync + 'static>(cache: &Cache<P>) -> String {
    cache.list().into_iter().map(|(key, _)| key.name).collect::<Vec<_>>().join(" ")
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

/// Writes down every change of a cache, as `+name`, `~name` and `-name`.
fn journal<P: Clone + Send + Sync + 'static>(cache: &Cache<P>) -> impl Fn() -> String + use<P> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let written = Arc::clone(&lines);
    cache.on_change(move |update| {
        let sign = match (update.before.is_some(), update.after.is_some()) {
            (false, _) => '+',
            (true, true) => '~',
            (true, false) => '-',
        };
        written.lock().push(format!("{sign}{}", update.key.name));
    });
    move || std::mem::take(&mut *lines.lock()).join(" ")
}

#[test]
fn a_cache_holds_what_exists_and_follows_what_changes() {
    let executor = Executor::new(1);
    let shelf = Shelf::new(&executor);
    let client = shelf.client("user");
    let cache = Informers::new(shelf.parts("user")).typed::<ConfigMap>(Select::all());
    let seen = journal(&cache);
    executor.run_until(async {
        for name in ["a", "b"] {
            client.create(&config_map(name)).await.unwrap();
        }
        cache.synced().await;
        cache.wait_until(|cache| names(cache) == "a b").await;
        client.delete::<ConfigMap>("default", "a").await.unwrap();
        client.modify::<ConfigMap>("default", "b", |map| drop(map.data.insert("k".into(), "v".into()))).await.unwrap();
        cache.wait_until(|cache| cache.get(&key("b")).is_some_and(|map| !map.data.is_empty())).await;
    });
    assert_eq!(names(&cache), "b");
    assert_eq!(seen(), "+a +b -a ~b");
}

#[test]
fn what_went_while_the_history_was_forgotten_is_told_as_deleted() {
    for old_fashioned in [false, true] {
        let executor = Executor::new(2);
        let shelf = Shelf::new(&executor);
        if old_fashioned {
            shelf.old_fashioned();
        }
        let client = shelf.client("user");
        let cache = Informers::new(shelf.parts("watcher")).typed::<ConfigMap>(Select::all());
        executor.run_until(async {
            for name in ["a", "b", "c"] {
                client.create(&config_map(name)).await.unwrap();
            }
            cache.wait_until(|cache| cache.has_synced() && cache.len() == 3).await;
        });
        let seen = journal(&cache);
        assert_eq!(seen(), "+a +b +c");
        executor.run_until(async {
            shelf.offline("watcher", true);
            client.delete::<ConfigMap>("default", "a").await.unwrap();
            client.create(&config_map("d")).await.unwrap();
            client
                .modify::<ConfigMap>("default", "c", |map| drop(map.data.insert("k".into(), "v".into())))
                .await
                .unwrap();
            shelf.compact();
            shelf.offline("watcher", false);
            cache.wait_until(|cache| names(cache) == "b c d").await;
        });
        assert_eq!(seen(), "~c +d -a", "old-fashioned: {old_fashioned}");
    }
}

#[test]
fn a_watch_that_ends_goes_on_where_it_was_without_telling_anything_twice() {
    let executor = Executor::new(3);
    let shelf = Shelf::new(&executor);
    let client = shelf.client("user");
    let cache = Informers::new(shelf.parts("watcher")).typed::<ConfigMap>(Select::all());
    let seen = journal(&cache);
    executor.run_until(async {
        cache.synced().await;
        for name in ["a", "b", "c", "d"] {
            client.create(&config_map(name)).await.unwrap();
            shelf.cut();
        }
        cache.wait_until(|cache| cache.len() == 4).await;
    });
    assert_eq!(seen(), "+a +b +c +d");
    assert!(!shelf.log.lines().iter().any(|line| line.contains("List")));
}

#[test]
fn many_caches_share_one_watch_and_typed_ones_are_the_same() {
    let executor = Executor::new(4);
    let shelf = Shelf::new(&executor);
    let informers = Informers::new(shelf.parts("user"));
    let typed: Vec<_> = (0..10).map(|_| informers.typed::<ConfigMap>(Select::all())).collect();
    let projected = informers.projected(Select::all(), vec![], |map: &ConfigMap| Some(map.data.len()));
    executor.run_until(async {
        shelf.client("user").create(&config_map("a")).await.unwrap();
        projected.wait_until(|cache| cache.len() == 1).await;
        typed[9].wait_until(|cache| cache.len() == 1).await;
    });
    assert!(Arc::ptr_eq(&typed[0].get(&key("a")).unwrap(), &typed[9].get(&key("a")).unwrap()));
    assert_eq!(shelf.watches(), 1);
}

#[test]
fn a_newcomer_hears_of_everything_and_the_others_of_nothing_new() {
    let executor = Executor::new(5);
    let shelf = Shelf::new(&executor);
    let informers = Informers::new(shelf.parts("user"));
    let first = informers.typed::<ConfigMap>(Select::all());
    executor.run_until(async {
        shelf.client("user").create(&config_map("a")).await.unwrap();
        first.wait_until(|cache| cache.len() == 1).await;
    });
    let seen = journal(&first);
    seen();
    let second = informers.cache(&Selection::all::<ConfigMap>(), vec![], |document| document.object_key().ok());
    executor.run_until(second.synced());
    assert_eq!(names(&second), "a");
    assert_eq!(seen(), "");
}

#[test]
fn an_index_follows_the_objects() {
    let executor = Executor::new(6);
    let shelf = Shelf::new(&executor);
    let client = shelf.client("user");
    let by_app = Index { name: "app", values: |_, (_, app): &(String, String)| vec![app.clone()] };
    let project = |document: &Document| Some((document.object_key().ok()?.name, document.label("app")?.to_owned()));
    let cache = Informers::new(shelf.parts("user")).cache(&Selection::all::<ConfigMap>(), vec![by_app], project);
    let found = |app: &str| cache.indexed("app", app).into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
    executor.run_until(async {
        for text in ["a app=x", "b app=x", "c app=y", "d"] {
            client.create(&config_map(text)).await.unwrap();
        }
        cache.wait_until(|cache| cache.len() == 3).await;
    });
    assert_eq!((found("x"), found("y")), ("a b".into(), "c".into()));
    executor.run_until(async {
        let relabel = |map: &mut ConfigMap| drop(map.metadata.labels.insert("app".into(), "y".into()));
        client.modify::<ConfigMap>("default", "b", relabel).await.unwrap();
        client.delete::<ConfigMap>("default", "a").await.unwrap();
        cache.wait_until(|cache| cache.len() == 2).await;
    });
    assert_eq!((found("x"), found("y")), ("".into(), "b c".into()));
}

#[test]
fn an_object_that_leaves_the_selection_is_gone_from_the_cache() {
    let executor = Executor::new(7);
    let shelf = Shelf::new(&executor);
    let client = shelf.client("user");
    let cache = Informers::new(shelf.parts("user")).typed::<ConfigMap>(Select::all().labels("app=x"));
    executor.run_until(async {
        client.create(&config_map("a app=x")).await.unwrap();
        client.create(&config_map("b app=y")).await.unwrap();
        cache.wait_until(|cache| names(cache) == "a").await;
        client.modify::<ConfigMap>("default", "a", |map| map.metadata.labels.clear()).await.unwrap();
        cache.wait_until(Cache::is_empty).await;
    });
}

#[test]
fn a_subscription_names_each_changed_object_once() {
    let executor = Executor::new(8);
    let shelf = Shelf::new(&executor);
    let client = shelf.client("user");
    let cache = Informers::new(shelf.parts("user")).typed::<ConfigMap>(Select::all());
    let changes = cache.subscribe();
    executor.run_until(async {
        client.create(&config_map("a")).await.unwrap();
        for value in ["1", "2", "3"] {
            let change = |map: &mut ConfigMap| drop(map.data.insert("k".into(), value.into()));
            client.modify::<ConfigMap>("default", "a", change).await.unwrap();
        }
    });
    executor.run_for(Duration::from_secs(1));
    assert_eq!((changes.take(), changes.take()), (Some(key("a")), None));
}

#[test]
fn long_lists_come_in_pages() {
    let executor = Executor::new(9);
    let shelf = Shelf::new(&executor);
    shelf.old_fashioned();
    let client = shelf.client("user");
    executor.run_until(async {
        for number in 0..1100 {
            client.create(&config_map(&format!("m{number}"))).await.unwrap();
        }
    });
    let cache = Informers::new(shelf.parts("user")).typed::<ConfigMap>(Select::all());
    executor.run_until(cache.synced());
    assert_eq!(cache.len(), 1100);
    assert_eq!(shelf.log.lines().iter().filter(|line| line.contains("List")).count(), 3);
}

#[test]
fn a_panicking_projection_leaves_its_object_out_and_nothing_else() {
    let executor = Executor::new(10);
    let shelf = Shelf::new(&executor);
    let informers = Informers::new(shelf.parts("user"));
    let cache = informers.projected(Select::all(), vec![], |map: &ConfigMap| {
        assert_ne!(map.metadata.name.as_deref(), Some("bad"));
        Some(())
    });
    executor.run_until(async {
        for name in ["bad", "good"] {
            shelf.client("user").create(&config_map(name)).await.unwrap();
        }
        cache.wait_until(|cache| names(cache) == "good").await;
    });
}
