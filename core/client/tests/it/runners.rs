use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_api::core::v1::ConfigMap;
use windlass_client::{Client, Informers, gvr, run_controllers};
use windlass_kernel::{
    Clock, Controller, Error, ErrorKind, Result, SpawnExt, Stop,
    controller::{ObjectKey, Requeue, Watched},
};
use windlass_testkit::sim::Executor;

use crate::shelf::{Shelf, config_map};

/// Marks config maps; how it behaves besides is in their names.
#[derive(Debug)]
struct Marker {
    client: Client,
    clock: Arc<dyn Clock>,
    tries: AtomicUsize,
    again: Mutex<Vec<Duration>>,
}

#[async_trait]
impl Controller for Marker {
    fn name(&self) -> &'static str {
        "marker"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<ConfigMap>(), keys: |document| document.object_key().into_iter().collect() }]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        let of = |name: &str| ObjectKey::new(&*key.namespace, name);
        (key.name == "crowd").then(|| vec![of("one"), of("two"), of("one")])
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let try_number = self.tries.fetch_add(1, Ordering::SeqCst);
        match key.name.as_str() {
            "panics" if try_number < 3 => panic!("not yet"),
            "always-panics" => {
                self.again.lock().push(self.clock.uptime());
                panic!("never");
            }
            "fails" if try_number < 3 => return Err(Error::new(ErrorKind::Unavailable, "not yet")),
            "returns" => {
                self.again.lock().push(self.clock.uptime());
                return Ok(Requeue::After(Duration::from_secs(60)));
            }
            _ => {}
        }
        if self.client.get_opt::<ConfigMap>(&key.namespace, &key.name).await?.is_some() {
            let mark = |map: &mut ConfigMap| drop(map.data.insert("marked".into(), "yes".into()));
            self.client.modify(&key.namespace, &key.name, mark).await?;
        }
        Ok(Requeue::OnChange)
    }
}

/// Runs a marker over objects and returns the shelf, the marker and the hash of what happened.
fn run(seed: u64, objects: &[&str], span: Duration) -> (Vec<ConfigMap>, Arc<Marker>, (String, u64)) {
    let executor = Executor::new(seed);
    let shelf = Shelf::new(&executor);
    let informers = Informers::new(shelf.parts("marker"));
    let marker = Arc::new(Marker {
        client: shelf.client("marker"),
        clock: executor.clock(),
        tries: AtomicUsize::new(0),
        again: Mutex::default(),
    });
    let stop = Stop::new();
    let runner = {
        let (marker, stop) = (Arc::clone(&marker), stop.clone());
        async move { run_controllers(vec![marker], &informers, stop).await }
    };
    let runner = executor.spawn().spawn("runner", runner);
    let client = shelf.client("user");
    let found = executor.run_until(async {
        for name in objects {
            client.create(&config_map(name)).await.unwrap();
        }
        windlass_kernel::ClockExt::sleep(executor.clock().as_ref(), span).await;
        stop.stop();
        runner.ended().await;
        client.list(&windlass_client::Select::all()).await.unwrap()
    });
    let maps = found.iter().map(|map| ConfigMap::clone(map)).collect();
    (maps, marker, (shelf.log.hash(), executor.trace_hash()))
}

#[test]
fn every_object_is_reconciled_and_what_is_done_is_not_written_again() {
    let (maps, marker, _) = run(1, &["a", "b", "c"], Duration::from_secs(60));
    assert!(maps.iter().all(|map| map.data["marked"] == "yes"));
    assert!(marker.tries.load(Ordering::SeqCst) <= 6);
}

#[test]
fn failures_and_panics_are_tried_again_until_they_succeed() {
    for name in ["fails", "panics"] {
        let (maps, marker, _) = run(2, &[name], Duration::from_secs(60));
        assert_eq!(maps[0].data["marked"], "yes", "{name}");
        assert!(marker.tries.load(Ordering::SeqCst) >= 4);
    }
}

#[test]
fn a_panic_is_tried_again_ever_more_seldom_and_disturbs_nothing_else() {
    let (maps, marker, _) = run(5, &["always-panics", "a", "b"], Duration::from_secs(600));
    assert_eq!(maps.iter().filter(|map| map.data.contains_key("marked")).count(), 2);
    let times = marker.again.lock();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() > 10 && gaps.windows(2).all(|pair| pair[0] <= pair[1]), "{gaps:?}");
    assert!(*gaps.last().unwrap() > Duration::from_secs(60), "{gaps:?}");
}

#[test]
fn a_key_comes_back_after_the_delay_that_was_asked_for() {
    let (_, marker, _) = run(3, &["returns"], Duration::from_secs(200));
    let times = marker.again.lock();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [Duration::from_secs(60); 3]);
}

#[test]
fn a_key_that_stands_for_others_has_those_reconciled_in_its_place() {
    let (maps, marker, _) = run(4, &["crowd"], Duration::from_secs(60));
    assert!(maps[0].data.is_empty());
    assert_eq!(marker.tries.load(Ordering::SeqCst), 2);
}

#[test]
fn one_seed_is_one_history_of_a_whole_controller() {
    let history = |seed| run(seed, &["a", "b", "c", "d", "fails", "panics"], Duration::from_secs(10)).2;
    assert_eq!(history(11), history(11));
    assert_ne!(history(11), history(12));
}
