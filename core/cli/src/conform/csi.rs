//! The volume suite against a CSI driver at a socket: one that runs, or one that is started here and killed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use futures::FutureExt;
use windlass::{
    csi::host::RemoteDriver,
    kernel::{
        Clock, ClockExt, Dial, Error, ErrorKind, VolumeDriver,
        volume::{CapacityRange, CreateVolume, Secrets},
    },
    rim::{SystemClock, SystemDial},
};
use windlass_conformance::{
    report::Trace,
    volume::{Fixture, Offers, Raw, Restart, Traced, cases, probe},
};

use super::Suite;
use crate::args::ConformCsi;

/// How long a driver may take to answer after it was started.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn run(args: &ConformCsi) -> Result<ExitCode> {
    let endpoint = args.endpoint.as_str();
    let socket = endpoint.strip_prefix("unix://").or(endpoint.strip_prefix("unix:")).unwrap_or(endpoint);
    let socket = std::path::absolute(socket).context("the endpoint is no path")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let started = args.command.as_ref().map(|command| Arc::new(Started::new(command, &socket)));
    let folder = Folder::make(args.folder.as_deref())?;
    let done = runtime.block_on(async {
        let suite = suite(args, &socket, started.clone(), &folder.0).await?;
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

/// A driver that is started here.
#[derive(Debug)]
struct Started {
    command: String,
    socket: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Started {
    fn new(command: &str, socket: &Path) -> Self {
        Self { command: command.into(), socket: socket.into(), child: Mutex::default() }
    }

    fn start(&self) -> Result<()> {
        let mut words = self.command.split_whitespace();
        let program = words.next().context("--command is empty")?;
        let child = Command::new(program)
            .args(words)
            .env("CSI_ENDPOINT", format!("unix://{}", self.socket.display()))
            // The output is the verdicts'; what goes wrong is told beside it.
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(())
    }

    /// Kills it, with SIGKILL.
    fn end(&self) {
        if let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that has ended by itself is as good as killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// What the driver answers as soon as it answers.
    async fn connected<T: Send, F: Future<Output = windlass::kernel::Result<T>> + Send>(
        &self,
        clock: &dyn Clock,
        ask: impl Fn() -> F,
    ) -> windlass::kernel::Result<T> {
        let give_up = clock.uptime() + PATIENCE;
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if self.ended() => {
                    let message = format!("the driver ended before it answered: {}", self.command);
                    return Err(Error::new(ErrorKind::Unavailable, message).with_source(error));
                }
                Err(error) if clock.uptime() >= give_up => return Err(error),
                Err(_) => clock.sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

/// Where volumes are staged and published.
#[derive(Debug)]
struct Folder(PathBuf, bool);

impl Folder {
    fn make(given: Option<&Path>) -> Result<Self> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("windlass-conform-csi-{}", std::process::id())),
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path.canonicalize().context("the folder is gone")?, given.is_none()))
    }

    /// What a failed check left mounted stays, for whoever looks into it.
    fn remove(self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        if self.1 {
            let _ = fs::remove_dir(&self.0);
        }
    }
}
