//! The runtime suite against a CRI server at a socket: one that runs, or one that is started here and killed.

use std::{fs, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use futures::FutureExt;
use windlass::{
    cri::host::{RemoteRuntime, Rim},
    kernel::{
        Clock, ContainerRuntime, ImageStore,
        runtime::{ImageRef, Pull, RegistryAuth},
    },
    rim::{SystemClock, SystemDial, TokioSpawn},
};
use windlass_conformance::{
    report::Trace,
    runtime::{Fixture, Machine, Offers, Program, Raw, RawAnswer, Restart, cases, warm_up},
};

use super::{
    Suite,
    started::{Folder, Started, socket},
};
use crate::args::{ConformCri, Lacking};

/// Where programs of sandboxes listen: a port that nothing on a node has by custom.
const PORT: u16 = 47_080;

pub(super) fn run(args: &ConformCri) -> Result<ExitCode> {
    let socket = socket(&args.endpoint)?;
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let rim = Rim {
        dial: Arc::new(SystemDial),
        clock: Arc::new(SystemClock::new()),
        spawn: Arc::new(TokioSpawn::on(tokio.handle().clone())),
    };
    let started = args.command.as_ref();
    let started =
        started.map(|command| Arc::new(Started::new("runtime", command, "CONTAINER_RUNTIME_ENDPOINT", &socket)));
    let folder = Folder::make("cri", args.folder.as_deref())?;
    let done = tokio.block_on(async {
        let suite = suite(args, &socket, started.clone(), folder.path(), rim).await?;
        super::report(suite, &args.reports).await
    });
    if let Some(started) = started {
        started.end();
    }
    folder.remove();
    done
}

async fn suite(
    args: &ConformCri,
    socket: &Path,
    started: Option<Arc<Started>>,
    folder: &Path,
    rim: Rim,
) -> Result<Suite> {
    let clock = Arc::clone(&rim.clock);
    if let Some(started) = &started {
        started.start()?;
    }
    let name = socket.display().to_string();
    let connect = || RemoteRuntime::connect(name.clone(), rim.clone());
    let runtime = match &started {
        None => connect().await?,
        Some(started) => started.connected(&*clock, connect).await?,
    };
    let image = ImageRef::from(args.image.as_str());
    prepare(&runtime, &image).await?;
    let offers = Offers {
        events: runtime.tells_events().await,
        terminals: !args.without.contains(&Lacking::Terminals),
        containers: !args.without.contains(&Lacking::Containers),
        port: (!args.without.contains(&Lacking::Ports)).then_some(PORT),
    };
    let version = runtime.version().await?;
    let pull = pull(args)?;
    let restart = started.map(|started| restart(started, runtime.clone(), Arc::clone(&clock)));
    let (trace, raw) = (Trace::default(), raw(runtime.clone()));
    let runtime = Arc::new(runtime);
    let fixture = |prefix: String| Fixture {
        runtime: Arc::clone(&runtime) as _,
        images: Arc::clone(&runtime) as _,
        clock: Arc::clone(&clock),
        image: image.clone(),
        command: Program::shell,
        prefix: format!("conform-{}-{prefix}", std::process::id()),
        cgroup_parent: args.cgroup_parent.clone(),
        handler: args.handler.clone(),
        logs: folder.display().to_string(),
        read: Arc::new(|path| fs::read_to_string(path).ok()),
        rename: Arc::new(|from, to| fs::rename(from, to).expect("a log can be renamed")),
        offers,
        pull: pull.clone(),
        machine: Some(Machine { state: args.state.clone(), alone: !args.shared }),
        restart: restart.clone(),
        raw: Some(Arc::clone(&raw)),
        trace: trace.clone(),
    };
    // What is wrong is told by the checks.
    let _ = warm_up(&fixture("warm".into())).await;
    let cases = cases(fixture);
    let subject = format!("container runtime {} {} at {}", version.name, version.version, socket.display());
    Ok(Suite { subject, cases, trace, clock })
}

/// The image of the checks has to be there.
pub(super) async fn prepare(runtime: &RemoteRuntime, image: &ImageRef) -> Result<()> {
    if runtime.image(image).await?.is_some() {
        return Ok(());
    }
    let pulled = runtime.pull(&Pull { image: image.clone(), ..Pull::default() }).await;
    let cure = || format!("the runtime has no image {image}; name one that it has with --image");
    pulled.map(drop).with_context(cure)
}

fn pull(args: &ConformCri) -> Result<Option<Pull>> {
    let Some(image) = &args.pull else { return Ok(None) };
    let auth = match &args.pull_secret {
        None => None,
        Some((username, variable)) => {
            let password = std::env::var(variable)
                .with_context(|| format!("the variable {variable} of --pull-secret is not set"))?;
            Some(RegistryAuth { username: username.clone(), password, ..RegistryAuth::default() })
        }
    };
    Ok(Some(Pull { image: image.as_str().into(), auth, ..Pull::default() }))
}

fn raw(runtime: RemoteRuntime) -> Raw {
    Arc::new(move |call| {
        let runtime = runtime.clone();
        async move {
            let answer = runtime.raw(call.method, call.message.into(), call.deadline).await;
            let answer = answer.expect("the runtime can be reached");
            RawAnswer { code: answer.code, body: answer.body.into() }
        }
        .boxed()
    })
}

fn restart(started: Arc<Started>, runtime: RemoteRuntime, clock: Arc<dyn Clock>) -> Restart {
    Arc::new(move || {
        let (started, runtime, clock) = (Arc::clone(&started), runtime.clone(), Arc::clone(&clock));
        async move {
            started.end();
            started.start().expect("the runtime starts again");
            let answered = started.connected(&*clock, || runtime.status()).await;
            answered.expect("the runtime answers again");
        }
        .boxed()
    })
}
