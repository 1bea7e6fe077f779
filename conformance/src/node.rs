//! What every [`NodeAgent`] must keep.
//!
//! Checks wait for reports, never for wall time. What they wait for is bounded by the fixture's clock.

use std::{fmt, sync::Arc, time::Duration};

use futures::{AsyncReadExt, FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use serde_json::json;
use windlass_api::{
    core::v1::{ContainerStatus, Pod},
    types::Time,
};
use windlass_kernel::{
    Clock, ClockExt, NodeAgent,
    controller::ObjectKey,
    node::{Exit, Report, Session, SessionRequest, Streams},
};

use crate::{Need, NotRun, report::Case};

/// How long a check waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(90);

/// Ends an agent as a crash would, and starts a new one over the same runtime.
pub type Restart = Box<dyn FnOnce(Arc<dyn NodeAgent>) -> BoxFuture<'static, Arc<dyn NodeAgent>> + Send + Sync>;

/// A fresh agent without pods, and what a check has to know of its surroundings.
pub struct Fixture {
    /// The agent.
    pub agent: Arc<dyn NodeAgent>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// An image that is there.
    pub image: String,
    /// A command that runs until it is asked to end.
    pub command: Vec<String>,
    /// What names of pods begin with, so that one runtime serves many checks.
    pub prefix: String,
    /// Starts the agent anew; `None` where pods do not outlive their agent.
    pub restart: Option<Restart>,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// One check of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name, a sentence in snake case.
    pub name: &'static str,
    /// What it tests, by a line of the contract, and what Kubernetes says of it.
    pub clause: &'static str,
    /// What it needs that not every fixture has.
    pub need: Option<Need>,
    run: fn(Fixture) -> BoxFuture<'static, ()>,
}

impl Check {
    /// Runs the check on a fresh agent, or says why that is not possible.
    ///
    /// # Errors
    ///
    /// [`NotRun`] where the fixture lacks what the check needs.
    ///
    /// # Panics
    ///
    /// Where the contract is broken.
    pub async fn run(&self, fresh: Fixture) -> Result<(), NotRun> {
        if let Some(need) = self.need.filter(|need| *need == Need::Restart && fresh.restart.is_none()) {
            return Err(NotRun { check: self.name, need });
        }
        (self.run)(fresh).await;
        Ok(())
    }
}

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    macro_rules! checks {
        ($($name:ident: $clause:literal $(needs $need:ident)?),*) => {
            vec![$(Check {
                name: stringify!($name),
                clause: $clause,
                need: [$(Need::$need)?].first().copied(),
                run: |fresh| Box::pin($name(fresh)),
            }),*]
        };
    }
    checks![
        a_repeated_set_starts_a_pod_once: "NodeAgent 1: level-triggered; a lost or repeated call costs time only",
        a_new_listener_hears_of_every_known_pod: "NodeAgent 2: every change is reported, and everything to a new listener",
        a_deleted_pod_ends_and_its_last_report_says_so: "NodeAgent 3: metadata.deletionTimestamp and the grace period",
        a_new_agent_finds_the_containers_of_the_one_before: "NodeAgent 4: a restart stops nothing" needs Restart,
        a_pod_that_left_the_set_is_ended: "NodeAgent 5: a pod that is gone from the API is ended",
        a_dropped_session_ends_alone: "NodeAgent 6: PodExecOptions; a session is nobody's life but its own",
        a_pod_that_replaces_another_of_its_name_is_a_new_pod: "NodeAgent 7: metadata.uid says which pod it is"
    ]
}

/// Runs every check, each on an agent of its own, and tells which ones could not be run.
///
/// # Panics
///
/// Where the contract is broken.
#[must_use = "what was not run has not passed"]
pub async fn run<F: Future<Output = Fixture>>(fresh: impl Fn() -> F) -> Vec<NotRun> {
    let mut not_run = vec![];
    for check in checks() {
        tracing::debug!(check = check.name, "node suite");
        not_run.extend(check.run(fresh().await).await.err());
    }
    not_run
}

/// Every check as a case for [`report::run`](crate::report::run). `fresh` makes a fixture, and is given a prefix that differs
/// for each; `restarts` says whether its fixtures can start their agent anew.
pub fn cases(restarts: bool, fresh: impl Fn(String) -> BoxFuture<'static, Fixture>) -> Vec<Case> {
    let case = |(number, check): (usize, Check)| {
        let skip = check.need.filter(|need| *need == Need::Restart && !restarts).map(|need| need.reason().into());
        let fixture = fresh(format!("c{number}"));
        let work = async move {
            if let Err(not_run) = check.run(fixture.await).await {
                panic!("{not_run}");
            }
        };
        Case { suite: "node", name: check.name, clause: check.clause, skip, work: work.boxed() }
    };
    checks().into_iter().enumerate().map(case).collect()
}

impl Fixture {
    fn pod(&self, name: &str) -> Pod {
        let name = format!("{}-{name}", self.prefix);
        let container = json!({"name": "main", "image": self.image, "command": self.command,
            "imagePullPolicy": "IfNotPresent"});
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "suite", "uid": format!("uid-{name}")},
            "spec": {"containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 5},
        }))
        .expect("a pod")
    }

    async fn sync(&self, pods: &[&Pod]) {
        let pods = pods.iter().map(|pod| Arc::new(Pod::clone(pod))).collect();
        self.agent.sync(pods).await.expect("the agent takes its pods");
    }

    /// The next report of the pod to which `fits` applies.
    async fn hear(
        &self,
        reports: &mut BoxStream<'static, Report>,
        pod: &Pod,
        fits: impl Fn(&Report) -> bool + Send + Sync,
    ) -> Report {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let wait = async {
            loop {
                let report = reports.next().await.expect("reports do not end");
                if report.uid == uid && fits(&report) {
                    return report;
                }
            }
        };
        let heard = self.clock.within(PATIENCE, wait).await;
        heard.unwrap_or_else(|| panic!("pod {uid} was not reported as it should be within {PATIENCE:?}"))
    }

    async fn running(&self, reports: &mut BoxStream<'static, Report>, pod: &Pod) -> ContainerStatus {
        let report = self.hear(reports, pod, runs).await;
        report.status.container_statuses[0].clone()
    }
}

fn runs(report: &Report) -> bool {
    report.status.phase.as_deref() == Some("Running")
        && report.status.container_statuses.first().is_some_and(|status| status.state.running.is_some() && status.ready)
}

fn key(pod: &Pod) -> ObjectKey {
    ObjectKey::new(pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

/// Contract 1: a repeated set costs time only; what runs goes on.
async fn a_repeated_set_starts_a_pod_once(fixture: Fixture) {
    let pod = fixture.pod("repeated");
    let mut reports = fixture.agent.reports();
    fixture.sync(&[&pod]).await;
    fixture.sync(&[&pod]).await;
    let first = fixture.running(&mut reports, &pod).await;
    fixture.sync(&[&pod]).await;
    let other = fixture.pod("other");
    fixture.sync(&[&pod, &other]).await;
    fixture.running(&mut reports, &other).await;
    let mut again = fixture.agent.reports();
    let second = fixture.running(&mut again, &pod).await;
    assert_eq!((second.container_id, second.restart_count), (first.container_id, 0), "the container was started anew");
    fixture.sync(&[]).await;
    fixture.hear(&mut reports, &pod, |report| report.released).await;
    fixture.hear(&mut again, &other, |report| report.released).await;
}

/// Contract 2: every change is reported, and every known pod to whoever asks later.
async fn a_new_listener_hears_of_every_known_pod(fixture: Fixture) {
    let pod = fixture.pod("heard");
    let mut early = fixture.agent.reports();
    fixture.sync(&[&pod]).await;
    fixture.running(&mut early, &pod).await;
    let mut late = fixture.agent.reports();
    fixture.hear(&mut late, &pod, runs).await;
    fixture.sync(&[]).await;
    fixture.hear(&mut early, &pod, |report| report.released).await;
    fixture.hear(&mut late, &pod, |report| report.released).await;
}

/// Contract 3: a pod with a deletion timestamp is ended; its last report is `released`.
async fn a_deleted_pod_ends_and_its_last_report_says_so(fixture: Fixture) {
    let mut pod = fixture.pod("deleted");
    let mut reports = fixture.agent.reports();
    fixture.sync(&[&pod]).await;
    fixture.running(&mut reports, &pod).await;
    pod.metadata.deletion_timestamp = Some(Time(fixture.clock.now()));
    pod.metadata.deletion_grace_period_seconds = Some(5);
    let begin = fixture.clock.uptime();
    fixture.sync(&[&pod]).await;
    let last = fixture.hear(&mut reports, &pod, |report| report.released).await;
    assert!(fixture.clock.uptime() - begin < PATIENCE, "the pod took its time");
    let state = &last.status.container_statuses[0].state;
    assert!(state.running.is_none(), "a released pod has nothing that runs: {state:?}");
    // The pod is still there until the host has removed it: it must not be begun anew.
    fixture.sync(&[&pod]).await;
    let mut late = fixture.agent.reports();
    fixture.sync(&[]).await;
    while let Some(Some(report)) = reports.next().now_or_never().or_else(|| late.next().now_or_never()) {
        assert!(report.uid != last.uid || report.released, "a released pod begins again: {report:?}");
    }
}

/// Contract 4: a new agent over the same runtime finds the containers and lets them run.
async fn a_new_agent_finds_the_containers_of_the_one_before(mut fixture: Fixture) {
    let Some(restart) = fixture.restart.take() else { return };
    let pod = fixture.pod("kept");
    let mut reports = fixture.agent.reports();
    fixture.sync(&[&pod]).await;
    let before = fixture.running(&mut reports, &pod).await;
    drop(reports);
    fixture.agent = restart(Arc::clone(&fixture.agent)).await;
    let mut reports = fixture.agent.reports();
    fixture.sync(&[&pod]).await;
    let after = fixture.running(&mut reports, &pod).await;
    assert_eq!(after.container_id, before.container_id, "the container was not found again");
    assert_eq!(after.state, before.state);
    fixture.sync(&[]).await;
    fixture.hear(&mut reports, &pod, |report| report.released).await;
}

/// Contract 5: a pod that is no longer in the set is ended and released.
async fn a_pod_that_left_the_set_is_ended(fixture: Fixture) {
    let pod = fixture.pod("left");
    let mut reports = fixture.agent.reports();
    fixture.sync(&[&pod]).await;
    fixture.running(&mut reports, &pod).await;
    fixture.sync(&[]).await;
    let last = fixture.hear(&mut reports, &pod, |report| report.released).await;
    assert!(last.status.container_statuses.iter().all(|status| status.state.running.is_none()));
}

/// Contract 6: dropping a session ends it and nothing else.
async fn a_dropped_session_ends_alone(fixture: Fixture) {
    let pod = fixture.pod("session");
    let mut reports = fixture.agent.reports();
    fixture.sync(&[&pod]).await;
    let before = fixture.running(&mut reports, &pod).await;
    let open = |command: &[&str], stdin: bool| {
        fixture.agent.open(SessionRequest::Exec {
            pod: key(&pod),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            container: "main".into(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            streams: Streams { stdin, stdout: true, ..Streams::default() },
        })
    };
    drop(open(&["cat"], true).await.expect("a session is opened"));
    let Session::Process(mut process) = open(&["true"], false).await.expect("another is opened") else {
        panic!("an exec is a process");
    };
    let mut said = vec![];
    if let Some(stdout) = &mut process.stdout {
        stdout.read_to_end(&mut said).await.expect("the output ends");
    }
    assert_eq!(process.exit.await, Exit::Code(0));
    let mut late = fixture.agent.reports();
    let after = fixture.running(&mut late, &pod).await;
    assert_eq!(after.container_id, before.container_id, "the container went with the session");
    fixture.sync(&[]).await;
    fixture.hear(&mut reports, &pod, |report| report.released).await;
}

/// Contract 7: whoever takes the name of a pod that still runs is run too, and the former ends.
async fn a_pod_that_replaces_another_of_its_name_is_a_new_pod(fixture: Fixture) {
    let mut former = fixture.pod("replaced");
    // A pod that is played by script would end at once otherwise.
    former.metadata.annotations.insert("fake.windlass.dev/stop-delay".into(), "1s".into());
    let mut reports = fixture.agent.reports();
    let mut others = fixture.agent.reports();
    fixture.sync(&[&former]).await;
    let before = fixture.running(&mut reports, &former).await;
    let mut pod = former.clone();
    pod.metadata.uid = pod.metadata.uid.map(|uid| format!("{uid}-2"));
    fixture.sync(&[&pod]).await;
    let after = fixture.running(&mut reports, &pod).await;
    assert_ne!(after.container_id, before.container_id, "the new pod has the container of the former");
    assert_eq!(after.restart_count, 0, "the new pod counts the starts of the former");
    fixture.hear(&mut others, &former, |report| report.released).await;
    let mut late = fixture.agent.reports();
    let still = fixture.running(&mut late, &pod).await;
    assert_eq!(still.container_id, after.container_id, "the new pod's container went with the former's");
    fixture.sync(&[]).await;
    fixture.hear(&mut others, &pod, |report| report.released).await;
}
