//! Events.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use windlass_kernel::runtime::{Change, ContainerId, RuntimeEvent, RuntimeEvents};

use super::{Check, ContainerState, Fixture, Program};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "a_stream_of_events_begins_with_a_relist", run: |f| begins(f).boxed() },
    Check { name: "an_exit_gives_an_event_after_which_the_status_shows_it", run: |f| exit(f).boxed() },
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
