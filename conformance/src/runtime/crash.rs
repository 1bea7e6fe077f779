//! Calls that nobody waits for, and runtimes that are killed in the middle of calls.

use std::time::Duration;

use futures::{
    FutureExt,
    future::{BoxFuture, Either, join, select},
};
use windlass_kernel::{
    Clock, ClockExt, ErrorKind, Result,
    runtime::{ContainerFilter, SandboxConfig, SandboxFilter, SandboxId, SandboxState},
};

use super::{Check, ContainerState, Fixture, Pod, Program, Restart, always, commands::say};

/// After which part of a second calls are left or killed.
const MOMENTS: &[u64] = &[1, 25, 60, 120];

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_sandbox_that_nobody_waits_for_can_be_had_or_removed",
        clause: "RunPodSandbox, with a deadline that passes: then it is listed, or can be asked for again",
        needs: always,
        run: |f| left_sandbox(f).boxed(),
    },
    Check {
        name: "a_container_that_nobody_waits_for_can_be_had_or_removed",
        clause: "CreateContainer, StartContainer, StopContainer, with a deadline that passes",
        needs: always,
        run: |f| left_container(f).boxed(),
    },
    Check {
        name: "what_runs_goes_on_while_the_runtime_is_away",
        clause: "Container: of a runtime that was killed, containers run on and are found again",
        needs: without_restart,
        run: |f| away(f).boxed(),
    },
    Check {
        name: "a_killed_runtime_finishes_what_it_began_to_make",
        clause: "RunPodSandbox, CreateContainer, StartContainer: after a kill, listed or asked for again",
        needs: without_restart,
        run: |f| killed_making(f).boxed(),
    },
    Check {
        name: "a_killed_runtime_finishes_what_it_began_to_remove",
        clause: "StopPodSandbox, RemovePodSandbox: idempotent, after a kill too",
        needs: without_restart,
        run: |f| killed_removing(f).boxed(),
    },
];

fn without_restart(fixture: &Fixture) -> Option<&'static str> {
    fixture.restart.is_none().then_some("the runtime cannot be killed: whoever runs the checks did not start it")
}

/// Waits so long for a call, and no longer.
async fn leave<T>(fixture: &Fixture, moment: u64, call: BoxFuture<'_, Result<T>>) {
    if let Either::Right((_, call)) = select(call, fixture.clock.sleep(Duration::from_millis(moment))).await {
        drop(call);
    }
}

/// Makes a call until no other is in its way: one that nobody waits for may go on.
async fn after_all<'a>(fixture: &Fixture, call: impl Fn() -> BoxFuture<'a, Result<()>>) {
    fixture.until("a call to succeed that is made again", || async { call().await.ok() }).await;
}

/// Begins a call, and kills the runtime so long after. Whether it was in time is not known, and does not matter.
async fn kill<T>(clock: &dyn Clock, restart: &Restart, moment: u64, call: BoxFuture<'_, Result<T>>) {
    let kill = async {
        clock.sleep(Duration::from_millis(moment)).await;
        restart().await;
    };
    let _ = join(call, kill).await;
}

impl Fixture {
    /// The sandbox of a configuration that was asked for before, or a new one: whichever the runtime says that there is.
    async fn settled(&self, config: &SandboxConfig) -> SandboxId {
        self.until("a sandbox that is there and ready", || async {
            match self.runtime.run_sandbox(config).await {
                Ok(id) => return Some(id),
                Err(error) => assert!(!error.is(ErrorKind::Invalid), "a sandbox is refused now: {error}"),
            }
            let filter = SandboxFilter { labels: self.labels(), ..SandboxFilter::default() };
            let listed = self.runtime.sandboxes(&filter).await.expect("sandboxes are listed");
            let found = listed.into_iter().find(|sandbox| sandbox.key == config.key)?;
            if found.state == SandboxState::Ready {
                return Some(found.id);
            }
            // Half a sandbox is removed, and its key is free.
            self.runtime.remove_sandbox(&found.id).await.expect("half a sandbox is removed");
            None
        })
        .await
    }
}

impl Pod<'_> {
    /// A container that runs, whatever became of those that were asked for before.
    async fn settled(&self, program: &Program) {
        let config = self.fixture.container_config("web", program);
        let runtime = &self.fixture.runtime;
        let id = self.fixture.until("a container that starts", || async {
            let id = match runtime.create_container(&self.id, &config, &self.config).await {
                Ok(id) => id,
                Err(_) => {
                    let filter = ContainerFilter { sandbox: Some(self.id.clone()), ..ContainerFilter::default() };
                    let listed = runtime.containers(&filter).await.expect("containers are listed");
                    let found = listed.into_iter().find(|container| container.key == config.key)?;
                    if !matches!(found.state, ContainerState::Created | ContainerState::Running) {
                        runtime.remove_container(&found.id).await.expect("what ended is removed");
                        return None;
                    }
                    found.id
                }
            };
            // It may still be made by the call that nobody waited for. One that can never be started has ended by this, and is
            // removed the next time: its key is free then.
            runtime.start_container(&id).await.ok().map(|()| id)
        });
        let id = id.await;
        let done = runtime.exec(&id, &(self.fixture.command)(&say(0)), None).await.expect("a command runs in it");
        assert_eq!(done.code, 0);
    }
}

/// Contract 1, 2: at some moments of a start.
async fn left_sandbox(fixture: Fixture) {
    let config = fixture.sandbox_config("a");
    for moment in MOMENTS {
        leave(&fixture, *moment, fixture.runtime.run_sandbox(&config)).await;
        let id = fixture.settled(&config).await;
        leave(&fixture, *moment, fixture.runtime.remove_sandbox(&id)).await;
        after_all(&fixture, || fixture.runtime.remove_sandbox(&id)).await;
        let gone = fixture.runtime.sandbox(&id).await.expect("a status is told");
        assert_eq!(gone, None, "left after {moment} ms");
    }
}

/// Contract 1, 2, 4: of each call on a container.
async fn left_container(fixture: Fixture) {
    let pod = fixture.sandbox("a").await;
    let config = fixture.container_config("web", &Program::Wait);
    for moment in MOMENTS {
        leave(&fixture, *moment, fixture.runtime.create_container(&pod.id, &config, &pod.config)).await;
        pod.settled(&Program::Wait).await;
        let filter = ContainerFilter { sandbox: Some(pod.id.clone()), ..ContainerFilter::default() };
        let listed = fixture.runtime.containers(&filter).await.expect("containers are listed");
        assert_eq!(listed.len(), 1, "one key is several containers: {listed:?}");
        let id = &listed[0].id;
        leave(&fixture, *moment, fixture.runtime.stop_container(id, Duration::from_secs(5))).await;
        after_all(&fixture, || fixture.runtime.stop_container(id, Duration::from_secs(5))).await;
        assert_eq!(fixture.status(id).await.container.state, ContainerState::Exited);
        leave(&fixture, *moment, fixture.runtime.remove_container(id)).await;
        after_all(&fixture, || fixture.runtime.remove_container(id)).await;
    }
    pod.remove().await;
}

/// Contract 6, 9: what runs, and what ends meanwhile.
async fn away(fixture: Fixture) {
    let restart = fixture.restart.clone().expect("the check needs it");
    let pod = fixture.sandbox("a").await;
    let id = pod.start("web", &Program::Wait).await;
    let ended = pod.start("ended", &Program::Exit(3)).await;
    fixture.exited(&ended).await;
    let before = (fixture.status(&id).await, fixture.status(&ended).await);
    restart().await;
    assert_eq!((fixture.status(&id).await, fixture.status(&ended).await), before);
    let done = fixture.runtime.exec(&id, &(fixture.command)(&say(0)), None).await.expect("a command runs");
    assert_eq!(done.code, 0);
    fixture.runtime.stop_container(&id, Duration::from_secs(30)).await.expect("a container stops");
    assert_eq!(fixture.status(&id).await.exit.map(|exit| exit.code), Some(0), "the signal was not heard");
    pod.remove().await;
}

/// Contract 1, 4: each step killed, and asked for again.
async fn killed_making(fixture: Fixture) {
    let (clock, restart) = (&*fixture.clock, fixture.restart.clone().expect("the check needs it"));
    let config = fixture.sandbox_config("a");
    for moment in MOMENTS {
        kill(clock, &restart, *moment, fixture.runtime.run_sandbox(&config)).await;
        let id = fixture.settled(&config).await;
        let pod = Pod { fixture: &fixture, config: config.clone(), id };
        let container = fixture.container_config("web", &Program::Wait);
        let create = fixture.runtime.create_container(&pod.id, &container, &pod.config);
        kill(clock, &restart, *moment, create).await;
        pod.settled(&Program::Wait).await;
        pod.remove().await;
    }
}

/// Contract 2, 7: stopped and removed after all.
async fn killed_removing(fixture: Fixture) {
    let (clock, restart) = (&*fixture.clock, fixture.restart.clone().expect("the check needs it"));
    for moment in MOMENTS {
        let pod = fixture.sandbox("a").await;
        pod.start("web", &Program::Wait).await;
        kill(clock, &restart, *moment, fixture.runtime.stop_sandbox(&pod.id)).await;
        fixture.runtime.stop_sandbox(&pod.id).await.expect("a sandbox is stopped after all");
        assert_ne!(pod.state().await, Some(SandboxState::Ready));
        kill(clock, &restart, *moment, fixture.runtime.remove_sandbox(&pod.id)).await;
        fixture.runtime.remove_sandbox(&pod.id).await.expect("a sandbox is removed after all");
        assert_eq!(pod.state().await, None);
    }
}
