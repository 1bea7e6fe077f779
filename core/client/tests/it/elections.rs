use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::SignedDuration;
use parking_lot::Mutex;
use windlass_api::coordination::v1::Lease;
use windlass_client::leader::Election;
use windlass_kernel::{Clock, ClockExt, SpawnExt, Stop};
use windlass_testkit::{
    SkewedClock,
    sim::{Executor, Process},
};

use crate::shelf::Shelf;

type Reigns = Arc<Mutex<Vec<(&'static str, Duration, Option<Duration>)>>>;

/// Notes when a reign ends, also when it is dropped.
struct Reign {
    reigns: Reigns,
    number: usize,
    clock: Arc<dyn Clock>,
}

impl Drop for Reign {
    fn drop(&mut self) {
        self.reigns.lock()[self.number].2 = Some(self.clock.uptime());
    }
}

/// Starts a candidate in a process of its own, whose wall clock is off.
fn run(executor: &Executor, shelf: &Shelf, reigns: &Reigns, name: &'static str, ahead: i64) -> (Process, Stop) {
    let process = executor.process();
    let clock: Arc<dyn Clock> = Arc::new(SkewedClock::new(executor.clock(), SignedDuration::from_secs(ahead)));
    let time = (Arc::clone(&clock), executor.entropy());
    let election = Election::new(shelf.client(name), time, ("kube-system", "it"), name);
    let (stop, reigns) = (Stop::new(), Arc::clone(reigns));
    let run = {
        let stop = stop.clone();
        async move {
            let lead = |stop: Stop| {
                let mut list = reigns.lock();
                let reign = Reign { reigns: Arc::clone(&reigns), number: list.len(), clock: Arc::clone(&clock) };
                list.push((name, clock.uptime(), None));
                drop(list);
                async move {
                    let _reign = reign;
                    stop.wait().await;
                }
            };
            election.run(&stop, lead).await;
        }
    };
    process.handle().spawn("candidate", run).detach();
    (process, stop)
}

/// Every reign ends before the next begins.
fn assert_one_at_a_time(reigns: &Reigns) {
    for pair in reigns.lock().windows(2) {
        assert!(pair[0].2.is_some_and(|end| end <= pair[1].1), "{pair:?}");
    }
}

fn seconds(from: u64) -> Duration {
    Duration::from_secs(from)
}

#[test]
fn another_takes_over_when_the_leader_dies_but_not_before_its_lease_ends() {
    for seed in 0..10 {
        let executor = Executor::new(seed);
        let (shelf, reigns) = (Shelf::new(&executor), Reigns::default());
        let (first, _) = run(&executor, &shelf, &reigns, "a", 3600);
        executor.run_for(seconds(5));
        let _second = run(&executor, &shelf, &reigns, "b", -3600);
        executor.run_for(seconds(60));
        assert_eq!(reigns.lock().len(), 1);
        let died = executor.clock().uptime();
        first.kill();
        executor.run_for(seconds(60));
        let taken = reigns.lock()[1];
        assert_eq!(taken.0, "b");
        let waited = taken.1 - died;
        assert!(waited > seconds(12) && waited < seconds(20), "seed {seed}: {waited:?}");
    }
}

#[test]
fn a_leader_without_a_line_stops_before_another_begins() {
    for seed in 0..10 {
        let executor = Executor::new(seed);
        let (shelf, reigns) = (Shelf::new(&executor), Reigns::default());
        let _first = run(&executor, &shelf, &reigns, "a", 0);
        executor.run_for(seconds(5));
        let _second = run(&executor, &shelf, &reigns, "b", 7200);
        executor.run_for(seconds(30));
        shelf.offline("a", true);
        executor.run_for(seconds(60));
        shelf.offline("a", false);
        executor.run_for(seconds(60));
        let names: Vec<_> = reigns.lock().iter().map(|reign| reign.0).collect();
        assert_eq!(names, ["a", "b"], "seed {seed}");
        assert_one_at_a_time(&reigns);
    }
}

#[test]
fn a_leader_that_is_stopped_gives_the_lease_back_at_once() {
    let executor = Executor::new(3);
    let (shelf, reigns) = (Shelf::new(&executor), Reigns::default());
    let (_process, stop) = run(&executor, &shelf, &reigns, "a", 0);
    executor.run_for(seconds(5));
    let _second = run(&executor, &shelf, &reigns, "b", 0);
    executor.run_for(seconds(30));
    stop.stop();
    executor.run_for(seconds(4));
    assert_eq!(reigns.lock().last().unwrap().0, "b");
    assert_one_at_a_time(&reigns);
    let lease = executor.run_until(shelf.client("user").get::<Lease>("kube-system", "it")).unwrap();
    assert_eq!(lease.spec.lease_transitions, Some(1));
}

#[test]
fn of_many_candidates_one_leads() {
    for seed in 0..10 {
        let executor = Executor::new(seed);
        let (shelf, reigns) = (Shelf::new(&executor), Reigns::default());
        let _all: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| run(&executor, &shelf, &reigns, name, 0)).collect();
        executor.run_for(seconds(120));
        assert_eq!(reigns.lock().len(), 1, "seed {seed}");
        assert!(executor.clock().sleep(Duration::ZERO).now_or_never().is_some());
    }
}
