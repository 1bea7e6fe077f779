//! The volume suite against a CSI driver at a socket: one that runs, or one that is started here and killed.

use std::{fs, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use futures::FutureExt;
use windlass::{
    csi::host::RemoteDriver,
    kernel::{
        Clock, Dial, VolumeDriver,
        volume::{CapacityRange, CreateVolume, Secrets},
    },
    rim::{SystemClock, SystemDial},
};
use windlass_conformance::{
    report::Trace,
    volume::{Fixture, Offers, Raw, Restart, Traced, cases, probe},
};

use super::{
    Suite,
    started::{Folder, Started, socket},
};
use crate::args::ConformCsi;

pub(super) fn run(args: &ConformCsi) -> Result<ExitCode> {
    let socket = socket(&args.endpoint)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let started =
        args.command.as_ref().map(|command| Arc::new(Started::new("driver", command, "CSI_ENDPOINT", &socket)));
    let folder = Folder::make("csi", args.folder.as_deref())?;
    let done = runtime.block_on(async {
        let suite = suite(args, &socket, started.clone(), folder.path()).await?;
        super::report(suite, &args.reports).await
    });
    if let Some(started) = started {
        started.end();
    }
    folder.remove();
    done
}

async fn suite(args: &ConformCsi, socket: &Path, started: Option<Arc<Started>>, folder: &Path) -> Result<Suite> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let dial: Arc<dyn Dial> = Arc::new(SystemDial);
    if let Some(started) = &started {
        started.start()?;
    }
    let name = socket.display().to_string();
    let driver = match &started {
        None => RemoteDriver::connect(name, dial).await?,
        Some(started) => started.connected(&*clock, || RemoteDriver::connect(name.clone(), Arc::clone(&dial))).await?,
    };
    let secret = |(key, variable): &(String, String)| {
        let value =
            std::env::var(variable).with_context(|| format!("the variable {variable} of --secret is not set"))?;
        Ok((key.clone(), value))
    };
    let secrets = Secrets(args.secrets.iter().map(secret).collect::<Result<_>>()?);
    let wanted = CreateVolume {
        name: format!("windlass-conform-{}", std::process::id()),
        capacity: CapacityRange::at_least(args.size),
        parameters: args.parameters.iter().cloned().collect(),
        secrets: secrets.clone(),
        ..CreateVolume::default()
    };
    let offers = probe(&driver, &wanted).await.context("a first volume cannot be made and deleted")?;
    let offers = Offers { ephemeral: args.ephemeral, ..offers };
    let info = driver.info().await?;
    let restart = started.map(|started| restart(started, driver.clone(), Arc::clone(&clock)));
    let raw = raw(driver.clone());
    let trace = Trace::default();
    let traced: Arc<dyn VolumeDriver> = Arc::new(Traced::new(Arc::new(driver), trace.clone()));
    let own = Arc::clone(&clock);
    let cases = cases(|prefix| {
        let folder = folder.join(&prefix);
        // A check that finds no folder says so.
        let _ = fs::create_dir(&folder);
        Fixture {
            driver: Arc::clone(&traced),
            clock: Arc::clone(&own),
            prefix: format!("{}-{prefix}", wanted.name),
            folder,
            state: args.state.clone(),
            parameters: wanted.parameters.clone(),
            secrets: secrets.clone(),
            size: args.size,
            fs_type: args.fs_type.clone(),
            offers,
            restart: restart.clone(),
            raw: Some(raw.clone()),
        }
    });
    let subject = format!("CSI driver {} {} at {}", info.name, info.version, socket.display());
    Ok(Suite { subject, cases, trace, clock })
}

fn raw(driver: RemoteDriver) -> Raw {
    Arc::new(move |method, message| {
        let driver = driver.clone();
        async move { driver.raw(method, message.into()).await.expect("the driver can be reached").code }.boxed()
    })
}

fn restart(started: Arc<Started>, driver: RemoteDriver, clock: Arc<dyn Clock>) -> Restart {
    Arc::new(move || {
        let (started, driver, clock) = (Arc::clone(&started), driver.clone(), Arc::clone(&clock));
        async move {
            started.end();
            started.start().expect("the driver starts again");
            started.connected(&*clock, || driver.info()).await.expect("the driver answers again");
        }
        .boxed()
    })
}
