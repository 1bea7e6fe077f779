//! The life of a container.

use std::time::Duration;

use futures::FutureExt;
use windlass_kernel::{
    ClockExt, ErrorKind,
    runtime::{Info, InfoOf},
};

use super::{Check, ContainerState, Fixture, Program, always, refused};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_container_goes_forward_only",
        clause: "ContainerState: created, running, exited; StartContainer starts what was created",
        needs: always,
        run: |f| forward_only(f).boxed(),
    },
    Check {
        name: "a_stopped_container_ends_by_its_signal",
        clause: "StopContainer: with a grace period, in which it can end by its stop signal",
        needs: always,
        run: |f| graceful(f).boxed(),
    },
    Check {
        name: "a_container_that_does_not_end_is_killed",
        clause: "StopContainer: killed after the grace period; a timeout of 0 kills at once",
        needs: always,
        run: |f| killed(f).boxed(),
    },
    Check {
        name: "the_exit_is_kept_until_it_is_removed",
        clause: "ContainerStatus: started_at, finished_at, exit_code, reason",
        needs: always,
        run: |f| exit_is_kept(f).boxed(),
    },
    Check {
        name: "info_is_told_of_what_is_there",
        clause: "Status, PodSandboxStatus, ContainerStatus: verbose and info, whose content is the runtime's own",
        needs: always,
        run: |f| info(f).boxed(),
    },
    Check {
        name: "a_command_that_cannot_be_run_fails_the_start",
        clause: "StartContainer: an error; ContainerStatus.exit_code is not 0",
        needs: always,
        run: |f| cannot_run(f).boxed(),
    },
    Check {
        name: "removing_a_running_container_kills_it",
        clause: "RemoveContainer: a running container is forcibly removed",
        needs: always,
        run: |f| remove_kills(f).boxed(),
    },
    Check {
        name: "limits_change_without_a_restart",
        clause: "UpdateContainerResources: the limits of a container change synchronously",
        needs: always,
        run: |f| limits(f).boxed(),
    },
    Check {
        name: "cpu_time_never_falls",
        clause: "CpuUsage.usage_core_nano_seconds: cumulative since the start",
        needs: always,
        run: |f| usage(f).boxed(),
    },
];

/// Contract 4: created, running, exited; starting again is harmless while it runs and refused after.
async fn forward_only(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.create(&fixture.container_config("web", &Program::Wait)).await;
    let created = fixture.status(&id).await;
    assert_eq!((created.container.state, created.started), (ContainerState::Created, None));
    for _ in 0..2 {
        fixture.runtime.start_container(&id).await.expect("a container starts");
        let running = fixture.status(&id).await;
        assert_eq!(running.container.state, ContainerState::Running);
        assert!(running.started.is_some() && running.exit.is_none(), "{running:?}");
    }
    fixture.runtime.stop_container(&id, Duration::from_secs(30)).await.expect("a container stops");
    refused(fixture.runtime.start_container(&id).await, ErrorKind::Conflict);
    assert_eq!(fixture.status(&id).await.container.state, ContainerState::Exited);
    pod.remove().await;
}

/// Contract 5: the signal comes first, and it has exited when the call returns.
async fn graceful(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Tick).await;
    // It has no trap: only a kill is sure to end it.
    fixture.runtime.stop_container(&id, Duration::ZERO).await.expect("a container stops");
    assert_eq!(fixture.status(&id).await.exit.expect("an exit").code, 137);
    let id = pod.start("polite", &Program::Wait).await;
    fixture.ready(&id).await;
    let before = fixture.clock.uptime();
    fixture.runtime.stop_container(&id, Duration::from_secs(600)).await.expect("a container stops");
    assert!(fixture.clock.uptime() - before < Duration::from_secs(600), "the signal was not heard");
    let status = fixture.status(&id).await;
    assert_eq!((status.container.state, status.exit.expect("an exit").code), (ContainerState::Exited, 0));
    pod.remove().await;
}

/// Contract 5: after the grace, and without any, it is killed.
async fn killed(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    for (name, grace) in [("slow", 1), ("quick", 0)] {
        let id = pod.start(name, &Program::Stubborn).await;
        fixture.ready(&id).await;
        fixture.runtime.stop_container(&id, Duration::from_secs(grace)).await.expect("a container stops");
        let status = fixture.status(&id).await;
        assert_eq!((status.container.state, status.exit.expect("an exit").code), (ContainerState::Exited, 137));
    }
    pod.remove().await;
}

/// Contract 6: code and times stay, and the end is not before the start.
async fn exit_is_kept(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Exit(3)).await;
    let first = fixture.exited(&id).await;
    let exit = first.exit.expect("an exit");
    assert_eq!(exit.code, 3);
    assert!(first.started.is_some_and(|started| started <= exit.finished), "{first:?}");
    fixture.runtime.stop_container(&id, Duration::from_secs(1)).await.expect("stopping what exited succeeds");
    assert_eq!(fixture.status(&id).await, first);
    fixture.runtime.remove_container(&id).await.expect("a container is removed");
    assert_eq!(fixture.runtime.container(&id).await.expect("a status is told"), None);
    pod.remove().await;
}

/// Contract 16: a courtesy while a thing is there, and no error after that.
async fn info(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("main", &Program::Wait).await;
    let of = [InfoOf::Sandbox(pod.id.clone()), InfoOf::Container(id.clone())];
    for of in of.iter().chain([&InfoOf::Runtime]) {
        fixture.runtime.info(of).await.unwrap_or_else(|error| panic!("info of {of:?}: {error}"));
    }
    fixture.runtime.remove_container(&id).await.expect("a container is removed");
    pod.remove().await;
    for of in &of {
        let told = fixture.runtime.info(of).await;
        assert_eq!(told.expect("of what is gone nothing is said, without an error"), Info::new(), "{of:?}");
    }
}

/// Contract 6: what cannot be run makes the start fail and counts as exited.
async fn cannot_run(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.create(&fixture.container_config("web", &Program::Missing)).await;
    fixture.runtime.start_container(&id).await.expect_err("the command cannot be run");
    let status = fixture.exited(&id).await;
    assert_ne!(status.exit.expect("an exit").code, 0);
    pod.remove().await;
}

/// Contract 8: removing kills.
async fn remove_kills(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Stubborn).await;
    fixture.runtime.remove_container(&id).await.expect("a running container is removed");
    assert_eq!(fixture.runtime.container(&id).await.expect("a status is told"), None);
    pod.remove().await;
}

/// Contract 14: limits change while it runs on.
async fn limits(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let mut config = fixture.container_config("web", &Program::Wait);
    config.resources.memory_limit = Some(64 << 20);
    let id = pod.create(&config).await;
    fixture.runtime.start_container(&id).await.expect("a container starts");
    let before = fixture.status(&id).await;
    let mut more = config.resources;
    more.memory_limit = Some(96 << 20);
    fixture.runtime.update_container(&id, &more).await.expect("limits change");
    let after = fixture.status(&id).await;
    assert_eq!((after.container.state, after.started), (ContainerState::Running, before.started));
    // Not every runtime tells the limits.
    if let Some(limit) = after.resources.and_then(|resources| resources.memory_limit) {
        assert_eq!(limit, 96 << 20);
    }
    pod.remove().await;
}

/// Contract 15: the CPU time of a running container never falls.
async fn usage(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Tick).await;
    let filter = windlass_kernel::runtime::ContainerFilter { id: Some(id.clone()), ..Default::default() };
    let mut last = Duration::ZERO;
    for _ in 0..3 {
        let used = fixture
            .until("the container's CPU time", || async {
                let stats = fixture.runtime.stats(&filter).await.expect("usage is told");
                assert!(stats.iter().all(|stats| stats.id == id), "{stats:?}");
                stats.into_iter().next().and_then(|stats| stats.cpu)
            })
            .await;
        assert!(used.used >= last, "it fell from {last:?} to {:?}", used.used);
        last = used.used;
        fixture.clock.sleep(Duration::from_millis(100)).await;
    }
    pod.remove().await;
}
