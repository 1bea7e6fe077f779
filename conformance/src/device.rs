//! What every [`DevicePlugin`] must keep.
//!
//! A plugin's devices are what they are: checks hand out those that are healthy, and end nothing.

use std::{
    collections::BTreeSet,
    fmt::{self, Debug},
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use windlass_kernel::{
    Clock, ClockExt, DevicePlugin, ErrorKind,
    device::{Allocation, DeviceId, Health, PluginDevice, Preference},
};

use crate::report::Case;

/// How long a plugin may take to say which devices there are.
const PATIENCE: Duration = Duration::from_secs(10);

/// A plugin, and the time that it lives in.
#[derive(Clone)]
pub struct Fixture {
    /// The plugin. At least one of its devices is healthy.
    pub plugin: Arc<dyn DevicePlugin>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

/// One check of the suite, by clauses of the kubelet's device plugin API (`v1beta1`).
pub type Check = crate::check::Check<Fixture>;

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    vec![
        Check {
            name: "a_list_has_every_device_once",
            clause: "ListAndWatch returns a stream of lists of devices",
            needs: always,
            run: |f| lists(f).boxed(),
        },
        Check {
            name: "everybody_who_follows_begins_with_the_list",
            clause: "ListAndWatch is called again by an agent that starts anew",
            needs: always,
            run: |f| again(f).boxed(),
        },
        Check {
            name: "a_device_that_is_not_there_is_not_handed_out",
            clause: "Allocate: the plugin fails the request for what it has not",
            needs: always,
            run: |f| unknown(f).boxed(),
        },
        Check {
            name: "the_same_devices_are_handed_out_the_same_way",
            clause: "Allocate may be called again for a container that is made anew",
            needs: always,
            run: |f| same(f).boxed(),
        },
        Check {
            name: "what_a_container_is_shown_is_there",
            clause: "Mount and DeviceSpec: paths in the container and on the host",
            needs: always,
            run: |f| paths(f).boxed(),
        },
        Check {
            name: "a_preferred_choice_is_one_that_was_offered",
            clause: "GetPreferredAllocation: of allocation_size from available_deviceIDs, including must_include_deviceIDs",
            needs: prefers,
            run: |f| preferred(f).boxed(),
        },
        Check {
            name: "devices_are_made_ready_as_often_as_is_asked",
            clause: "PreStartContainer is called before each container start",
            needs: prepares,
            run: |f| prepared(f).boxed(),
        },
    ]
}

/// Every check as a case for [`report::run`](crate::report::run).
pub fn cases(fresh: impl Fn() -> Fixture) -> Vec<Case> {
    crate::check::cases("device", checks(), |_| fresh())
}

fn always(_: &Fixture) -> Option<&'static str> {
    None
}

fn prefers(fixture: &Fixture) -> Option<&'static str> {
    fixture.plugin.preferring().is_none().then_some("the plugin has no preferences")
}

fn prepares(fixture: &Fixture) -> Option<&'static str> {
    fixture.plugin.preparing().is_none().then_some("the plugin prepares nothing")
}

impl Fixture {
    /// The first list of a new stream.
    async fn list(&self) -> Vec<PluginDevice> {
        let mut lists = self.plugin.devices();
        let first = self.clock.timeout(PATIENCE, lists.next()).await.expect("a plugin says which devices there are");
        first.expect("the stream of devices does not end").expect("a list of devices")
    }

    async fn healthy(&self) -> Vec<DeviceId> {
        let list = self.list().await;
        let healthy: Vec<_> = list.into_iter().filter(|own| own.health == Health::Healthy).map(|own| own.id).collect();
        assert!(!healthy.is_empty(), "no device is healthy");
        healthy
    }

    async fn allocate(&self, devices: &[DeviceId]) -> Allocation {
        self.plugin.allocate(devices).await.expect("healthy devices are handed out")
    }
}

/// Contract 1: a list is whole and has no name twice.
async fn lists(fixture: Fixture) {
    let list = fixture.list().await;
    let names: BTreeSet<&str> = list.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(names.len(), list.len(), "a device is in the list twice: {list:?}");
    assert!(!names.contains(""), "a device has no name: {list:?}");
}

/// Contract 1: each stream begins with the list, also beside others, and does not end.
async fn again(fixture: Fixture) {
    let mut first = fixture.plugin.devices();
    let list = first.next().await.expect("the stream does not end").expect("a list");
    assert_eq!(fixture.list().await, list, "who comes later is told something else");
    let next = first.next().now_or_never();
    assert!(!matches!(next, Some(None)), "the stream of devices ends");
}

/// Contract 2: nothing is handed out that is not there.
async fn unknown(fixture: Fixture) {
    let mut wanted = fixture.healthy().await;
    wanted.truncate(1);
    wanted.push("no-device-of-this-name".into());
    let error = fixture.plugin.allocate(&wanted).await.expect_err("a device was handed out that is in no list");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// Contract 3: again, and in another order, the answer is the same.
async fn same(fixture: Fixture) {
    let mut devices = fixture.healthy().await;
    let first = fixture.allocate(&devices).await;
    assert_eq!(fixture.allocate(&devices).await, first, "handed out again, they are something else");
    devices.reverse();
    assert_eq!(fixture.allocate(&devices).await, first, "in another order, they are something else");
}

/// Contract 4: paths are absolute, and what is shown of the node is there.
async fn paths(fixture: Fixture) {
    let answer = fixture.allocate(&fixture.healthy().await).await;
    let mounts = answer.mounts.iter().map(|mount| (&mount.container_path, &mount.host_path));
    let devices = answer.devices.iter().map(|device| (&device.container_path, &device.host_path));
    for (inside, outside) in mounts.chain(devices) {
        assert!(inside.starts_with('/') && outside.starts_with('/'), "{inside} or {outside} is no absolute path");
        assert!(Path::new(outside).exists(), "{outside} is not there");
    }
    let permissions = answer.devices.iter().flat_map(|device| device.permissions.chars());
    assert!(permissions.clone().all(|one| "rwm".contains(one)), "permissions are some of r, w and m");
}

/// Contract 5: of each size, with and without one that must be among them.
async fn preferred(fixture: Fixture) {
    let available = fixture.healthy().await;
    let service = fixture.plugin.preferring().expect("the check needs preferences");
    for size in 1..=available.len() {
        for must_include in [vec![], vec![available[available.len() - 1].clone()]] {
            let wanted = Preference { available: available.clone(), must_include, size };
            let chosen = service.prefer(&wanted).await.expect("a choice");
            let names: BTreeSet<&DeviceId> = chosen.iter().collect();
            assert_eq!(names.len(), chosen.len(), "a device is chosen twice: {chosen:?}");
            assert!(chosen.len() <= size, "{size} are wanted, and {chosen:?} chosen");
            assert!(chosen.iter().all(|id| available.contains(id)), "{chosen:?} are not among {available:?}");
            let missing = wanted.must_include.iter().find(|id| !chosen.contains(id));
            assert_eq!(missing, None, "one that must be among the chosen is not: {chosen:?}");
        }
    }
}

/// Contract 6: before each start, any number of times.
async fn prepared(fixture: Fixture) {
    let devices = fixture.healthy().await;
    fixture.allocate(&devices).await;
    let service = fixture.plugin.preparing().expect("the check needs a plugin that prepares");
    for _ in 0..3 {
        service.prepare(&devices).await.expect("devices are made ready");
    }
}
