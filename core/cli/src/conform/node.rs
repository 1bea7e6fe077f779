//! The suite of node agents on the agent of Windlass, over anybody's container runtime.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use windlass::{
    api::{
        Value,
        core::v1::{Pod, Service},
    },
    cri::host::{RemoteRuntime, Rim},
    kernel::{
        ContainerRuntime, Error, ErrorKind, NodeAgent,
        controller::ObjectKey,
        node::{About, NodeContext, Notice, Token, Versions},
        runtime::{ImageRef, SandboxFilter},
    },
    node::{Config, EvictionLimits, ImageLimits, Needs, PodAgent},
    rim::{SystemClock, SystemDial, SystemEntropy, TokioSpawn},
};
use windlass_conformance::{
    node::{Fixture, Restart, cases},
    report::Trace,
    runtime::Program,
};

use super::{
    Suite, cri,
    started::{Folder, socket},
};
use crate::args::ConformNode;

pub(super) fn run(args: &ConformNode) -> Result<ExitCode> {
    let socket = socket(&args.endpoint)?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let rim = Rim {
        dial: Arc::new(SystemDial),
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(TokioSpawn::on(tokio.handle().clone())),
    };
    let folder = Folder::make("node", args.folder.as_deref())?;
    let done = tokio.block_on(async {
        let suite = suite(args, &socket, folder.path(), rim).await?;
        super::report(suite, &args.reports).await
    });
    folder.remove();
    done
}

async fn suite(args: &ConformNode, socket: &Path, folder: &Path, rim: Rim) -> Result<Suite> {
    let runtime = RemoteRuntime::connect(socket.display().to_string(), rim.clone()).await?;
    let there = runtime.sandboxes(&SandboxFilter::default()).await?.len();
    if there > 0 {
        bail!("the runtime holds {there} pods, which the agent would end: name one that holds none");
    }
    cri::prepare(&runtime, &ImageRef::from(args.image.as_str())).await?;
    let version = runtime.version().await?;
    let (trace, clock) = (Trace::default(), Arc::clone(&rim.clock));
    let runtime = Arc::new(runtime);
    let needs = Needs {
        runtime: Arc::clone(&runtime) as _,
        images: runtime,
        context: Arc::new(Alone(trace.clone())),
        clock: Arc::clone(&clock),
        spawn: rim.spawn,
        entropy: Arc::new(SystemEntropy),
        dial: rim.dial,
    };
    let cases = cases(true, |prefix| {
        let config = Config {
            cgroups: args.cgroups.clone(),
            // Pods that look for the API find nobody.
            api: Some(("127.0.0.1".into(), 443)),
            // Nothing of the machine's own is collected.
            images: ImageLimits { high: 100, ..ImageLimits::default() },
            eviction: EvictionLimits::none(),
            ..Config::new("conform", folder.join(&prefix))
        };
        let prefix = format!("conform-{}-{prefix}", std::process::id());
        fixture(config, needs.clone(), args.image.clone(), prefix).boxed()
    });
    let (name, version) = (version.name, version.version);
    let subject = format!("the node agent over {name} {version} at {}", socket.display());
    Ok(Suite { subject, cases, trace, clock })
}

async fn fixture(config: Config, needs: Needs, image: String, prefix: String) -> Fixture {
    let clock = Arc::clone(&needs.clock);
    let agent = start(config.clone(), needs.clone()).await;
    let restart: Restart = Box::new(move |old| {
        drop(old);
        start(config, needs)
    });
    Fixture { agent, clock, image, command: Program::Wait.shell(), prefix, restart: Some(restart) }
}

fn start(config: Config, needs: Needs) -> BoxFuture<'static, Arc<dyn NodeAgent>> {
    async move {
        let agent = PodAgent::start(config, needs).await.expect("an agent starts");
        Arc::new(agent) as Arc<dyn NodeAgent>
    }
    .boxed()
}

/// A cluster with nothing in it, which notes what it is told.
#[derive(Debug)]
struct Alone(Trace);

#[async_trait]
impl NodeContext for Alone {
    async fn read(&self, _: &'static str, _: &ObjectKey) -> windlass::kernel::Result<Option<Value>> {
        Ok(None)
    }

    fn versions(&self, _: &'static str, _: &ObjectKey) -> Versions {
        stream::iter([None]).chain(stream::pending()).boxed()
    }

    async fn patch_status(&self, resource: &'static str, key: &ObjectKey, _: Value) -> windlass::kernel::Result<()> {
        Err(Error::new(ErrorKind::NotFound, format!("there is no cluster that has {resource} {key}")))
    }

    async fn services(&self, _: &str) -> windlass::kernel::Result<Vec<Arc<Service>>> {
        Ok(Vec::new())
    }

    async fn token(&self, _: &Pod, _: &[String], _: Duration) -> windlass::kernel::Result<Token> {
        Err(Error::new(ErrorKind::NotSupported, "there is no cluster that could give a token"))
    }

    fn notice(&self, notice: Notice) {
        let about = match &notice.about {
            About::Pod(pod) => pod.metadata.name.clone().unwrap_or_default(),
            About::Node => "the node".into(),
        };
        self.0.note(format!("{about}: {} {}: {}", notice.kind, notice.reason, notice.message));
    }
}
