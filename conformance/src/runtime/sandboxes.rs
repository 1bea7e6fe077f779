//! Sandboxes: keys, gone is success, and what they take along.

use futures::FutureExt;
use windlass_kernel::{ErrorKind, runtime::SandboxState};

use super::{Check, ContainerState, Fixture, Program, always, refused};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_runtime_says_what_it_is_and_that_it_is_ready",
        clause: "Version; Status: the conditions RuntimeReady and NetworkReady are required",
        needs: always,
        run: |f| says_what_it_is(f).boxed(),
    },
    Check {
        name: "a_taken_key_is_refused_and_changes_nothing",
        clause: "PodSandboxMetadata, ContainerMetadata: what makes a sandbox and a container unique",
        needs: always,
        run: |f| taken_key(f).boxed(),
    },
    Check {
        name: "stopping_and_removing_what_is_gone_succeeds",
        clause: "StopPodSandbox, RemovePodSandbox, StopContainer, RemoveContainer: idempotent, no error for what is gone",
        needs: always,
        run: |f| gone_is_success(f).boxed(),
    },
    Check {
        name: "the_status_of_what_is_gone_is_none",
        clause: "PodSandboxStatus, ContainerStatus: an error where it is not present (NOT_FOUND)",
        needs: always,
        run: |f| gone_is_a_value(f).boxed(),
    },
    Check {
        name: "a_stopped_sandbox_stops_its_containers",
        clause: "StopPodSandbox: running containers are terminated, network resources are reclaimed",
        needs: always,
        run: |f| stop_takes_along(f).boxed(),
    },
    Check {
        name: "a_removed_sandbox_removes_its_containers",
        clause: "RemovePodSandbox: running containers are terminated and removed",
        needs: always,
        run: |f| remove_takes_along(f).boxed(),
    },
];

/// What comes before the contract: a name, and both conditions.
async fn says_what_it_is(fixture: Fixture) {
    let version = fixture.runtime.version().await.expect("a version is told");
    assert!(!version.name.is_empty() && !version.version.is_empty(), "{version:?}");
    let status = fixture.runtime.status().await.expect("a status is told");
    assert!(status.runtime.ready && status.network.ready, "{status:?}");
}

/// Contract 1: one per key, for sandboxes and containers; another attempt is another key.
async fn taken_key(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    refused(fixture.runtime.run_sandbox(&pod.config).await, ErrorKind::AlreadyExists);
    assert_eq!(pod.state().await, Some(SandboxState::Ready));
    let config = fixture.container_config("web", &Program::Wait);
    let first = pod.create(&config).await;
    let again = fixture.runtime.create_container(&pod.id, &config, &pod.config).await;
    refused(again, ErrorKind::AlreadyExists);
    assert_eq!(fixture.status(&first).await.container.state, ContainerState::Created);
    let mut next = config;
    next.key.attempt = 1;
    assert_ne!(pod.create(&next).await, first);
    let mut raised = pod.config.clone();
    raised.key.attempt = 1;
    let second = fixture.runtime.run_sandbox(&raised).await.expect("another attempt is another sandbox");
    fixture.runtime.remove_sandbox(&second).await.expect("a sandbox is removed");
    pod.remove().await;
}

/// Contract 2: gone is success.
async fn gone_is_success(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let container = pod.start("web", &Program::Exit(0)).await;
    let runtime = &fixture.runtime;
    for _ in 0..2 {
        runtime.stop_container(&container, Default::default()).await.expect("stopping again succeeds");
    }
    for _ in 0..2 {
        runtime.remove_container(&container).await.expect("removing again succeeds");
    }
    runtime.stop_container(&container, Default::default()).await.expect("stopping what is gone succeeds");
    for _ in 0..2 {
        runtime.stop_sandbox(&pod.id).await.expect("stopping again succeeds");
    }
    for _ in 0..2 {
        runtime.remove_sandbox(&pod.id).await.expect("removing again succeeds");
    }
    runtime.stop_sandbox(&pod.id).await.expect("stopping what is gone succeeds");
    let never = "0123456789abcdef";
    runtime.stop_sandbox(&never.into()).await.expect("stopping what never was succeeds");
    runtime.remove_sandbox(&never.into()).await.expect("removing what never was succeeds");
    runtime.stop_container(&never.into(), Default::default()).await.expect("stopping what never was succeeds");
    runtime.remove_container(&never.into()).await.expect("removing what never was succeeds");
}

/// Contract 3: gone is a value for statuses, and `NotFound` for what needs it.
async fn gone_is_a_value(fixture: Fixture) {
    let runtime = &fixture.runtime;
    let (sandbox, container) = ("0123456789abcdef".into(), "0123456789abcdef".into());
    assert_eq!(runtime.sandbox(&sandbox).await.expect("a status is told"), None);
    assert_eq!(runtime.container(&container).await.expect("a status is told"), None);
    refused(runtime.start_container(&container).await, ErrorKind::NotFound);
    refused(runtime.exec(&container, &(fixture.command)(&Program::Exit(0)), None).await, ErrorKind::NotFound);
    refused(runtime.update_container(&container, &Default::default()).await, ErrorKind::NotFound);
    refused(runtime.reopen_log(&container).await, ErrorKind::NotFound);
    let config = fixture.container_config("web", &Program::Wait);
    let orphan = runtime.create_container(&sandbox, &config, &fixture.sandbox_config("none")).await;
    refused(orphan, ErrorKind::NotFound);
}

/// Contract 7: stopping stops the containers and frees the addresses; what ended stays to be looked at.
async fn stop_takes_along(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let status = fixture.runtime.sandbox(&pod.id).await.expect("a status is told").expect("it is there");
    assert!(!status.ips.is_empty(), "a sandbox with a network has an address");
    assert_eq!(status.sandbox.key, pod.config.key);
    let container = pod.start("web", &Program::Stubborn).await;
    fixture.runtime.stop_sandbox(&pod.id).await.expect("a sandbox is stopped");
    assert_eq!(pod.state().await, Some(SandboxState::NotReady));
    assert_eq!(fixture.status(&container).await.container.state, ContainerState::Exited);
    pod.remove().await;
}

/// Contract 7: removing a sandbox that runs removes its containers.
async fn remove_takes_along(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let container = pod.start("web", &Program::Wait).await;
    fixture.runtime.remove_sandbox(&pod.id).await.expect("a sandbox is removed");
    assert_eq!(pod.state().await, None);
    assert_eq!(fixture.runtime.container(&container).await.expect("a status is told"), None);
}
