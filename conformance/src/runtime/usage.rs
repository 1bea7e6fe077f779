//! What containers and sandboxes use.

use std::collections::BTreeMap;

use futures::FutureExt;
use windlass_kernel::runtime::{ContainerFilter, ContainerStats, SandboxFilter};

use super::{Check, Fixture, Program, always};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "usage_is_told_of_what_the_filter_lets_through",
        clause: "ListContainerStats: ContainerStatsFilter by id, sandbox and labels; ContainerAttributes",
        needs: always,
        run: |f| containers(f).boxed(),
    },
    Check {
        name: "usage_is_told_by_sandbox",
        clause: "ListPodSandboxStats: PodSandboxStatsFilter by id and labels; LinuxPodSandboxStats.containers",
        needs: |f| {
            f.runtime.metering().is_none().then_some("the runtime does not count by sandbox (ListPodSandboxStats)")
        },
        run: |f| sandboxes(f).boxed(),
    },
];

/// Contract 15: of whom, and with what they are known by.
async fn containers(fixture: Fixture) {
    let (one, two) = (fixture.sandbox("one").await, fixture.sandbox("two").await);
    let (first, second) = (one.start("first", &Program::Tick).await, one.start("second", &Program::Wait).await);
    let third = two.start("third", &Program::Wait).await;
    let list = async |filter: ContainerFilter| {
        let mut labels = fixture.labels();
        labels.extend(filter.labels.clone());
        let filter = ContainerFilter { labels, ..filter };
        let mut found = fixture.runtime.stats(&filter).await.expect("usage is told");
        found.sort_by(|a, b| a.key.name.cmp(&b.key.name));
        found
    };
    let ids = |found: &[ContainerStats]| found.iter().map(|stats| stats.id.clone()).collect::<Vec<_>>();
    let all = fixture
        .until("the usage of three containers", || async {
            let all = list(ContainerFilter::default()).await;
            let told =
                all.iter().all(|stats| stats.cpu.is_some() && stats.memory.is_some_and(|memory| memory.usage > 0));
            (all.len() == 3 && told).then_some(all)
        })
        .await;
    assert_eq!(ids(&all), [first.clone(), second.clone(), third.clone()]);
    assert_eq!(all[0].key.name, "first");
    assert_eq!(all[0].labels.get("name").map(String::as_str), Some("first"));
    assert!(all.iter().all(|stats| stats.memory.is_some_and(|memory| memory.working_set > 0)), "{all:?}");
    let filter = ContainerFilter::default;
    assert_eq!(ids(&list(ContainerFilter { id: Some(second.clone()), ..filter() }).await), [second]);
    assert_eq!(ids(&list(ContainerFilter { sandbox: Some(two.id.clone()), ..filter() }).await), [third]);
    let labels = BTreeMap::from([("name".to_owned(), "first".to_owned())]);
    assert_eq!(ids(&list(ContainerFilter { labels, ..filter() }).await), [first]);
    one.remove().await;
    two.remove().await;
}

/// Contract 15: the whole, with its containers.
async fn sandboxes(fixture: Fixture) {
    let metering = fixture.runtime.metering().expect("the check needs it");
    let (one, two) = (fixture.sandbox("one").await, fixture.sandbox("two").await);
    let id = one.start("web", &Program::Tick).await;
    two.start("other", &Program::Wait).await;
    let filter = SandboxFilter { labels: fixture.labels(), ..SandboxFilter::default() };
    let all = metering.sandbox_stats(&filter).await.expect("usage is told");
    assert_eq!(all.len(), 2, "{all:?}");
    let filter = SandboxFilter { id: Some(one.id.clone()), ..SandboxFilter::default() };
    let stats = fixture
        .until("the usage of a sandbox", || async {
            let found = metering.sandbox_stats(&filter).await.expect("usage is told");
            assert!(found.iter().all(|stats| stats.id == one.id), "{found:?}");
            found.into_iter().next().filter(|stats| stats.cpu.is_some() && stats.memory.is_some())
        })
        .await;
    assert_eq!((&stats.key, &stats.labels), (&one.config.key, &one.config.labels));
    assert_eq!(stats.containers.iter().map(|stats| &stats.id).collect::<Vec<_>>(), [&id]);
    one.remove().await;
    two.remove().await;
}
