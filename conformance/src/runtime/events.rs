//! Events.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use windlass_kernel::{
    ClockExt,
    runtime::{Change, ContainerId, RuntimeEvent, RuntimeEvents},
};

use super::{Check, ContainerState, Fixture, PATIENCE, Program, always};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_stream_of_events_begins_with_a_relist",
        clause: "GetContainerEvents: what happens from then on; what was before is read",
        needs: always,
        run: |f| begins(f).boxed(),
    },
    Check {
        name: "an_exit_gives_an_event_after_which_the_status_shows_it",
        clause: "ContainerEventResponse: CONTAINER_STARTED_EVENT, CONTAINER_STOPPED_EVENT",
        needs: always,
        run: |f| exit(f).boxed(),
    },
    Check {
        name: "a_whole_life_is_told",
        clause: "GetContainerEvents: created, started, stopped, deleted, of containers and sandboxes",
        needs: |f| (!f.offers.events).then_some("the runtime does not tell of everything (GetContainerEvents)"),
        run: |f| life(f).boxed(),
    },
    Check {
        name: "each_listener_hears_everything",
        clause: "GetContainerEvents: a stream for each call",
        needs: |f| (!f.offers.events).then_some("the runtime does not tell of everything (GetContainerEvents)"),
        run: |f| listeners(f).boxed(),
    },
];

/// Contract 12: the beginning.
async fn begins(fixture: Fixture) {
    let first = fixture.within("the first event", fixture.runtime.events().into_future()).await.0;
    assert_eq!(first, Some(RuntimeEvent::Relist));
}

/// Contract 12: a hint for each start and exit, and the truth behind it.
async fn exit(fixture: Fixture) {
    let mut events = fixture.runtime.events();
    assert_eq!(fixture.within("the first event", events.next()).await, Some(RuntimeEvent::Relist));
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    seen(&fixture, &mut events, &id, Change::Started, ContainerState::Running).await;
    fixture.runtime.stop_container(&id, Duration::from_secs(1)).await.expect("a container stops");
    seen(&fixture, &mut events, &id, Change::Exited, ContainerState::Exited).await;
    pod.remove().await;
}

/// Follows the events to the one that tells of the change, or to a reminder on which a look shows it.
async fn seen(fixture: &Fixture, events: &mut RuntimeEvents, id: &ContainerId, change: Change, state: ContainerState) {
    let follow = async {
        loop {
            match events.next().await.expect("the stream does not end") {
                RuntimeEvent::Changed { subject, what } if subject.id() == id.as_str() && what == change => {
                    assert_eq!(fixture.status(id).await.container.state, state, "the event came before the truth");
                    return;
                }
                RuntimeEvent::Relist if fixture.status(id).await.container.state == state => return,
                _ => {}
            }
        }
    };
    fixture.within("a hint", Box::pin(follow)).await;
}

/// A stream that is sure to stand: events of a sandbox made for it have arrived.
async fn standing(fixture: &Fixture, name: &str) -> RuntimeEvents {
    let mut events = fixture.runtime.events();
    for attempt in 0.. {
        let pod = fixture.sandbox(&format!("{name}{attempt}")).await;
        let heard = async { while events.next().await.is_none_or(|event| about(&event) != Some(pod.id.as_str())) {} };
        let heard = fixture.clock.within(Duration::from_secs(2), heard).await;
        pod.remove().await;
        if heard.is_some() {
            break;
        }
        assert!(attempt < 10, "a stream of events tells nothing of sandboxes");
    }
    events
}

fn about(event: &RuntimeEvent) -> Option<&str> {
    match event {
        RuntimeEvent::Changed { subject, .. } => Some(subject.id()),
        RuntimeEvent::Relist | RuntimeEvent::Images => None,
    }
}

/// Waits until all of these changes of an id were told. Events are hints: their order is not promised.
async fn told(fixture: &Fixture, events: &mut RuntimeEvents, id: &str, changes: &[Change]) {
    let mut missing = changes.to_vec();
    let follow = async {
        while !missing.is_empty() {
            if let RuntimeEvent::Changed { subject, what } = events.next().await.expect("the stream does not end")
                && subject.id() == id
            {
                missing.retain(|change| *change != what);
            }
        }
    };
    let heard = fixture.clock.within(PATIENCE, follow).await;
    assert!(heard.is_some(), "of {id} was not told, within {PATIENCE:?}: {missing:?}");
}

const LIFE: [Change; 4] = [Change::Created, Change::Started, Change::Exited, Change::Removed];

/// Contract 12: nothing is left out where all is told.
async fn life(fixture: Fixture) {
    let mut events = standing(&fixture, "first").await;
    let mut sandboxes = standing(&fixture, "second").await;
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    fixture.runtime.stop_container(&id, Duration::from_secs(5)).await.expect("a container stops");
    fixture.runtime.remove_container(&id).await.expect("a container is removed");
    let sandbox = pod.id.clone();
    pod.remove().await;
    told(&fixture, &mut events, id.as_str(), &LIFE).await;
    // Whether a sandbox is created before it is started is the runtime's affair.
    told(&fixture, &mut sandboxes, sandbox.as_str(), &LIFE[1..]).await;
}

/// Contract 12: twice the same, and one that has left takes nothing from the others.
async fn listeners(fixture: Fixture) {
    let gone = standing(&fixture, "gone").await;
    let (mut one, mut two) = (standing(&fixture, "one").await, standing(&fixture, "two").await);
    drop(gone);
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Exit(0)).await;
    fixture.exited(&id).await;
    pod.remove().await;
    for events in [&mut one, &mut two] {
        told(&fixture, events, id.as_str(), &LIFE).await;
    }
}
