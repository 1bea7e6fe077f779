//! The NodeAgent suite over the agents there are.

use std::sync::Arc;

use libtest_mimic::Trial;
use windlass_conformance::node::{Check, Fixture, checks};
use windlass_kernel::NodeAgent;
use windlass_lab::{BUSYBOX, Lab, rim};
use windlass_node::{Config, EvictionLimits, Needs, PodAgent};
use windlass_testkit::{FakeAgent, FakeNode, FakeRuntime, SeededEntropy};

use crate::{bench, context::Objects};

/// The suite for agents that need nothing of the machine.
pub(crate) fn trials() -> Vec<Trial> {
    let fake = |check: Check| match check.need {
        Some(need) => Trial::test(check.name, || Ok(()))
            .with_kind(format!("fake agent: {}", need.reason()))
            .with_ignored_flag(true),
        None => Trial::test(check.name, move || with_fake_agent(check)).with_kind("fake agent"),
    };
    let pods = |check: Check| Trial::test(check.name, move || with_fake_runtime(check)).with_kind("fake runtime");
    checks().into_iter().flat_map(|check| [fake(check), pods(check)]).collect()
}

fn with_fake_agent(check: Check) -> Result<(), libtest_mimic::Failed> {
    let tokio = tokio::runtime::Runtime::new()?;
    let rim = rim(tokio.handle());
    let done = tokio.block_on(check.run(Fixture {
        agent: Arc::new(FakeAgent::new(FakeNode::new("n", 1), rim.clock.clone(), rim.spawn.clone())),
        clock: rim.clock,
        image: "image:1".into(),
        command: vec!["run".into()],
        prefix: "p".into(),
        restart: None,
    }));
    done.map_err(|not_run| not_run.to_string().into())
}

fn with_fake_runtime(check: Check) -> Result<(), libtest_mimic::Failed> {
    let tokio = tokio::runtime::Runtime::new()?;
    let rim = rim(tokio.handle());
    let folder = std::env::temp_dir().join(format!("windlass-node-{}-{}", std::process::id(), check.name));
    let runtime = FakeRuntime::new(rim.clock.clone(), rim.spawn.clone());
    runtime.add_image("image:1");
    let needs = Needs {
        runtime: Arc::new(runtime.clone()),
        images: Arc::new(runtime),
        context: Arc::new(Objects::default()),
        clock: rim.clock.clone(),
        spawn: rim.spawn.clone(),
        entropy: Arc::new(SeededEntropy::new(1)),
        dial: rim.dial.clone(),
    };
    let config = Config {
        cgroups: String::new(),
        images: bench::no_collection(),
        eviction: EvictionLimits::none(),
        ..Config::new("n", &folder)
    };
    let done = tokio.block_on(async {
        let fixture = fixture(config, needs, "image:1", vec!["run".into()], "p").await;
        check.run(fixture).await
    });
    std::fs::remove_dir_all(&folder)?;
    done.map_err(|not_run| not_run.to_string().into())
}

/// A fixture over the lab's containerd.
pub(crate) async fn real(lab: &Lab, prefix: &str) -> Fixture {
    let (config, needs) = bench::parts(lab, prefix, Arc::new(Objects::default()));
    let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    fixture(config, needs, BUSYBOX, vec!["/bin/sh".into(), "-c".into(), script.into()], prefix).await
}

async fn fixture(config: Config, needs: Needs, image: &str, command: Vec<String>, prefix: &str) -> Fixture {
    let clock = needs.clock.clone();
    let agent = PodAgent::start(config.clone(), needs.clone()).await.expect("an agent starts");
    let agent: Arc<dyn NodeAgent> = Arc::new(agent);
    let restart = move |old: Arc<dyn NodeAgent>| -> futures::future::BoxFuture<'static, Arc<dyn NodeAgent>> {
        drop(old);
        Box::pin(async move {
            let agent: Arc<dyn NodeAgent> = Arc::new(PodAgent::start(config, needs).await.expect("an agent starts"));
            agent
        })
    };
    Fixture { agent, clock, image: image.into(), command, prefix: prefix.into(), restart: Some(Box::new(restart)) }
}
