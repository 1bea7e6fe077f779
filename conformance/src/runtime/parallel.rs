//! Calls that run at once.

use std::{collections::BTreeSet, time::Duration};

use futures::{FutureExt, future::join_all};
use windlass_kernel::runtime::{ContainerFilter, SandboxFilter};

use super::{Check, ContainerState, Fixture, Program, always, commands::say};

const CALLS: usize = 6;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "one_key_asked_for_at_once_is_one_sandbox",
        clause: "PodSandboxMetadata: name, uid, namespace and attempt make a sandbox unique",
        needs: always,
        run: |f| one_key(f).boxed(),
    },
    Check {
        name: "containers_of_one_sandbox_are_made_at_once",
        clause: "CreateContainer, StartContainer, StopContainer, RemoveContainer: in one sandbox, side by side",
        needs: always,
        run: |f| one_sandbox(f).boxed(),
    },
    Check {
        name: "one_sandbox_is_stopped_and_removed_by_many_at_once",
        clause: "StopPodSandbox, RemovePodSandbox: idempotent",
        needs: always,
        run: |f| many_ends(f).boxed(),
    },
    Check {
        name: "commands_at_once_have_their_own_outputs",
        clause: "ExecSync: stdout, stderr and exit_code of a command",
        needs: always,
        run: |f| commands(f).boxed(),
    },
    Check {
        name: "sandboxes_at_once_do_not_disturb_each_other",
        clause: "RunPodSandbox: an address for each; StopPodSandbox, RemovePodSandbox: of that sandbox only",
        needs: always,
        run: |f| many_sandboxes(f).boxed(),
    },
];

/// Contract 1: whatever the calls answer that came too late.
async fn one_key(fixture: Fixture) {
    let config = fixture.sandbox_config("a");
    let answers = join_all((0..CALLS).map(|_| fixture.runtime.run_sandbox(&config))).await;
    let made: Vec<_> = answers.into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "so many of {CALLS} calls at once made the one sandbox");
    let filter = SandboxFilter { labels: fixture.labels(), ..SandboxFilter::default() };
    let listed = fixture.runtime.sandboxes(&filter).await.expect("sandboxes are listed");
    assert_eq!(listed.into_iter().map(|sandbox| sandbox.id).collect::<Vec<_>>(), made);
    fixture.runtime.remove_sandbox(&made[0]).await.expect("a sandbox is removed");
}

/// Contract 4, 5, 8: each goes its own way.
async fn one_sandbox(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let lives = (0..CALLS).map(|n| {
        let (fixture, pod) = (&fixture, &pod);
        async move {
            let id = pod.start(&format!("web{n}"), &Program::Wait).await;
            assert_eq!(fixture.status(&id).await.container.state, ContainerState::Running);
            if n % 2 == 0 {
                fixture.runtime.stop_container(&id, Duration::ZERO).await.expect("a container stops");
                assert_eq!(fixture.status(&id).await.container.state, ContainerState::Exited);
            }
            fixture.runtime.remove_container(&id).await.expect("a container is removed");
            id
        }
    });
    let ids: BTreeSet<_> = join_all(lives).await.into_iter().collect();
    assert_eq!(ids.len(), CALLS, "two containers have one id");
    let filter = ContainerFilter { sandbox: Some(pod.id.clone()), ..ContainerFilter::default() };
    assert_eq!(fixture.runtime.containers(&filter).await.expect("containers are listed"), []);
    pod.remove().await;
}

/// Contract 2, 7: one may be in the way of another, and alone each succeeds.
async fn many_ends(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    pod.start("web", &Program::Stubborn).await;
    let ends = (0..CALLS).map(|n| {
        let (runtime, id) = (&fixture.runtime, &pod.id);
        async move { if n % 2 == 0 { runtime.stop_sandbox(id).await } else { runtime.remove_sandbox(id).await } }
    });
    join_all(ends).await;
    fixture.runtime.stop_sandbox(&pod.id).await.expect("alone, a sandbox is stopped");
    fixture.runtime.remove_sandbox(&pod.id).await.expect("alone, a sandbox is removed");
    assert_eq!(pod.state().await, None);
}

/// Contract 10: none hears another.
async fn commands(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let run = (0..CALLS).map(|n| {
        let (fixture, id) = (&fixture, &id);
        async move {
            let code = i32::try_from(n).unwrap_or_default();
            let program = Program::Say { stdout: format!("out {n}"), stderr: format!("err {n}"), code };
            let done = fixture.runtime.exec(id, &(fixture.command)(&program), None).await.expect("a command runs");
            let texts = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            assert_eq!((done.code, texts), (code, [format!("out {n}\n"), format!("err {n}\n")]));
        }
    });
    join_all(run).await;
    pod.remove().await;
}

/// Contract 1, 7: a whole life each.
async fn many_sandboxes(fixture: Fixture) {
    let lives = (0..CALLS).map(|n| {
        let fixture = &fixture;
        async move {
            let pod = fixture.sandbox(&format!("pod{n}")).await;
            let id = pod.start("web", &Program::Wait).await;
            let done = fixture.runtime.exec(&id, &(fixture.command)(&say(0)), None).await.expect("a command runs");
            assert_eq!(done.code, 0);
            let status = fixture.runtime.sandbox(&pod.id).await.expect("a status is told").expect("it is there");
            (pod, id, status.ips)
        }
    });
    let mut pods = join_all(lives).await;
    let addresses: BTreeSet<_> = pods.iter().flat_map(|(_, _, ips)| ips).collect();
    // Sandboxes of a runtime without networks may all have the node's address.
    if fixture.offers.containers {
        assert_eq!(
            addresses.len(),
            pods.iter().map(|(_, _, ips)| ips.len()).sum::<usize>(),
            "an address is given twice"
        );
    }
    let stay = pods.split_off(CALLS / 2);
    join_all(pods.into_iter().map(|(pod, ..)| pod.remove())).await;
    for (pod, id, _) in stay {
        assert_eq!(fixture.status(&id).await.container.state, ContainerState::Running, "it went with another");
        pod.remove().await;
    }
}
