use std::time::Duration;

use windlass_api::core::v1::Event;
use windlass_client::{
    Select,
    events::{Recorder, Severity},
};
use windlass_testkit::sim::Executor;

use crate::shelf::{Shelf, config_map};

#[test]
fn repeated_events_are_counted_in_one_object() {
    let executor = Executor::new(1);
    let shelf = Shelf::new(&executor);
    let recorder = Recorder::start(&shelf.parts("node"), "kubelet", "n1");
    for message in ["one", "two", "one", "one"] {
        recorder.event(&config_map("a"), Severity::Warning, "Failed", message);
    }
    executor.run_for(Duration::from_secs(5));
    let events = executor.run_until(shelf.client("user").list::<Event>(&Select::namespace("default"))).unwrap();
    let mut counts: Vec<_> =
        events.iter().map(|event| (event.message.clone().unwrap(), event.count.unwrap())).collect();
    counts.sort();
    assert_eq!(counts, [("one".to_owned(), 3), ("two".to_owned(), 1)]);
    assert_eq!(events[0].involved_object.kind.as_deref(), Some("ConfigMap"));
    assert_eq!(events[0].source.host.as_deref(), Some("n1"));
}
