use futures::FutureExt;
use windlass_testkit::{ManualClock, sim::Executor};

use super::*;

fn queue() -> (Queue<&'static str>, ManualClock) {
    let clock = ManualClock::default();
    (Queue::new(Arc::new(clock.clone())), clock)
}

/// The next key, done at once.
fn next(queue: &Queue<&'static str>) -> Option<&'static str> {
    let job = queue.next().now_or_never()??;
    Some(*job.key())
}

#[test]
fn keys_come_once_and_in_their_order() {
    let (queue, _) = queue();
    for key in ["b", "a", "b", "c"] {
        queue.add(key);
    }
    let order: Vec<_> = std::iter::from_fn(|| next(&queue)).collect();
    assert_eq!(order, ["b", "a", "c"]);
}

#[test]
fn a_key_is_never_handed_out_twice_at_once() {
    let (queue, _) = queue();
    queue.add("a");
    let job = queue.next().now_or_never().flatten().unwrap();
    queue.add("a");
    assert_eq!(next(&queue), None);
    drop(job);
    assert_eq!(next(&queue), Some("a"));
    assert_eq!(next(&queue), None);
}

#[test]
fn the_earlier_of_two_delays_counts() {
    let (queue, clock) = queue();
    queue.add_after("a", Duration::from_secs(5));
    queue.add_after("a", Duration::from_secs(2));
    queue.add_after("a", Duration::from_secs(9));
    clock.advance(Duration::from_secs(1));
    assert_eq!(next(&queue), None);
    clock.advance(Duration::from_secs(1));
    assert_eq!(next(&queue), Some("a"));
    clock.advance(Duration::from_secs(60));
    assert_eq!(next(&queue), None);
}

#[test]
fn each_failure_doubles_the_delay_until_it_is_forgotten() {
    let executor = Executor::new(1);
    let clock = executor.clock();
    let queue = Queue::new(Arc::clone(&clock));
    let delays = executor.run_until(async {
        let mut delays = Vec::new();
        for round in 0..6 {
            if round == 4 {
                queue.forget(&"a");
            }
            let begin = clock.uptime();
            queue.retry("a");
            queue.next().await;
            delays.push((clock.uptime() - begin).as_millis());
        }
        delays
    });
    assert_eq!(delays, [5, 10, 20, 40, 5, 10]);
}

#[test]
fn a_sleeping_worker_hears_of_an_earlier_delay() {
    let executor = Executor::new(1);
    let clock = executor.clock();
    let queue = Queue::new(Arc::clone(&clock));
    queue.add_after("late", Duration::from_secs(100));
    executor.run_until(async {
        let (job, ()) = futures::join!(queue.next(), async {
            queue.add_after("early", Duration::from_secs(1));
        });
        assert_eq!(*job.unwrap().key(), "early");
    });
    assert_eq!(clock.uptime(), Duration::from_secs(1));
}

#[test]
fn every_worker_hears_that_the_queue_is_shut_down() {
    let executor = Executor::new(1);
    let queue = Queue::<&str>::new(executor.clock());
    executor.run_until(async {
        let (a, b, ()) = futures::join!(queue.next(), queue.next(), async { queue.shut_down() });
        assert!(a.is_none() && b.is_none());
    });
    queue.add("a");
    assert!(queue.is_empty());
}

#[test]
fn several_workers_empty_the_queue_together() {
    for seed in 0..20 {
        let executor = Executor::new(seed);
        let queue = Queue::new(executor.clock());
        let clock = executor.clock();
        let worker = || async {
            let mut count = 0;
            while let Some(job) = queue.next().await {
                windlass_kernel::ClockExt::sleep(&*clock, Duration::from_secs(1)).await;
                count += 1;
                if *job.key() == 9 {
                    queue.shut_down();
                }
            }
            count
        };
        let (a, b, ()) = executor.run_until(async {
            futures::join!(worker(), worker(), async {
                for key in 0..10 {
                    queue.add_after(key, Duration::from_millis(1));
                }
            })
        });
        assert_eq!((a, b), (5, 5), "seed {seed}");
    }
}

#[test]
fn a_key_that_rests_is_handed_out_once_when_it_has_rested() {
    let executor = Executor::new(1);
    let clock = executor.clock();
    let queue = Queue::new(Arc::clone(&clock));
    queue.add("a");
    let told = executor.run_until(async {
        let mut told = Vec::new();
        let job = queue.next().await.unwrap();
        // What comes in the middle of the work, and what comes after it.
        queue.add("a");
        queue.rest(&"a", Duration::from_secs(5));
        drop(job);
        windlass_kernel::ClockExt::sleep(&*clock, Duration::from_secs(1)).await;
        queue.add("a");
        queue.add("b");
        for _ in 0..2 {
            let job = queue.next().await.unwrap();
            told.push((*job.key(), clock.uptime().as_secs()));
        }
        queue.rest(&"b", Duration::from_secs(5));
        queue.rest(&"b", Duration::ZERO);
        queue.add("b");
        queue.add("a");
        for _ in 0..2 {
            let job = queue.next().await.unwrap();
            told.push((*job.key(), clock.uptime().as_secs()));
        }
        told
    });
    assert_eq!(told, [("b", 1), ("a", 5), ("b", 5), ("a", 5)]);
}
