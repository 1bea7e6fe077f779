//! Lists and filters.

use std::collections::BTreeMap;

use futures::FutureExt;
use windlass_kernel::runtime::{ContainerFilter, SandboxFilter, SandboxState};

use super::{Check, ContainerState, Fixture, Program, always};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_list_of_sandboxes_has_what_the_filter_lets_through",
        clause: "PodSandboxFilter: id, state and labels, all of which must match",
        needs: always,
        run: |f| sandboxes(f).boxed(),
    },
    Check {
        name: "a_list_of_containers_has_what_the_filter_lets_through",
        clause: "ContainerFilter: id, sandbox, state and labels, all of which must match",
        needs: always,
        run: |f| containers(f).boxed(),
    },
];

/// Contract 9: by id, state and labels, with everything as it was given.
async fn sandboxes(fixture: Fixture) {
    let (up, down) = (fixture.sandbox("up").await, fixture.sandbox("down").await);
    fixture.runtime.stop_sandbox(&down.id).await.expect("a sandbox is stopped");
    let list = async |filter: SandboxFilter| {
        let filter = SandboxFilter { labels: fixture.labels(), ..filter };
        let mut found = fixture.runtime.sandboxes(&filter).await.expect("sandboxes are listed");
        found.sort_by(|a, b| a.key.name.cmp(&b.key.name));
        found
    };
    let all = list(SandboxFilter::default()).await;
    assert_eq!(all.iter().map(|found| &found.id).collect::<Vec<_>>(), [&down.id, &up.id]);
    assert_eq!((&all[1].key, &all[1].annotations), (&up.config.key, &up.config.annotations));
    has_labels(&all[1].labels, &up.config.labels);
    for (state, pod) in [(SandboxState::Ready, &up), (SandboxState::NotReady, &down)] {
        let found = list(SandboxFilter { state: Some(state), ..SandboxFilter::default() }).await;
        assert_eq!(found.iter().map(|found| &found.id).collect::<Vec<_>>(), [&pod.id]);
    }
    assert_eq!(list(SandboxFilter { id: Some(up.id.clone()), ..SandboxFilter::default() }).await.len(), 1);
    let part = &up.id.as_str()[..up.id.as_str().len() - 1];
    assert_eq!(list(SandboxFilter { id: Some(part.into()), ..SandboxFilter::default() }).await, []);
    up.remove().await;
    down.remove().await;
}

/// Every label that was given is there. A runtime may have some of its own: CRI keeps it from altering annotations alone.
fn has_labels(found: &BTreeMap<String, String>, given: &BTreeMap<String, String>) {
    for (name, value) in given {
        assert_eq!(found.get(name), Some(value), "the label {name} among {found:?}");
    }
}

/// Contract 9: by id, sandbox, state and labels, with everything as it was given.
async fn containers(fixture: Fixture) {
    let (one, two) = (fixture.sandbox("one").await, fixture.sandbox("two").await);
    let config = fixture.container_config("created", &Program::Wait);
    let created = one.create(&config).await;
    let running = one.start("running", &Program::Wait).await;
    let other = two.start("other", &Program::Wait).await;
    let list = async |filter: ContainerFilter| {
        let mut labels = fixture.labels();
        labels.extend(filter.labels);
        let filter = ContainerFilter { labels, ..filter };
        let mut found = fixture.runtime.containers(&filter).await.expect("containers are listed");
        found.sort_by(|a, b| a.key.name.cmp(&b.key.name));
        found
    };
    let ids = |found: &[windlass_kernel::runtime::Container]| found.iter().map(|c| c.id.clone()).collect::<Vec<_>>();
    let filter = ContainerFilter::default;
    let all = list(filter()).await;
    assert_eq!(ids(&all), [created.clone(), other.clone(), running.clone()]);
    let first = &all[0];
    assert_eq!((&first.key, &first.annotations, &first.sandbox), (&config.key, &config.annotations, &one.id));
    has_labels(&first.labels, &config.labels);
    assert_eq!(ids(&list(ContainerFilter { id: Some(other.clone()), ..filter() }).await), std::slice::from_ref(&other));
    assert_eq!(
        ids(&list(ContainerFilter { sandbox: Some(two.id.clone()), ..filter() }).await),
        std::slice::from_ref(&other)
    );
    let state = Some(ContainerState::Running);
    assert_eq!(ids(&list(ContainerFilter { state, ..filter() }).await), [other, running.clone()]);
    let labels = BTreeMap::from([("name".to_owned(), "running".to_owned())]);
    assert_eq!(ids(&list(ContainerFilter { labels, ..filter() }).await), [running]);
    let labels = BTreeMap::from([("name".to_owned(), "none".to_owned())]);
    assert_eq!(list(ContainerFilter { labels, ..filter() }).await, []);
    one.remove().await;
    two.remove().await;
}
