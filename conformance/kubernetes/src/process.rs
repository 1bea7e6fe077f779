//! One process with a time limit: its output goes to a file, and it ends with all that it started.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::Path,
    pin::pin,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use windlass_kernel::{ClockExt, Error, ErrorKind, Result, SpawnExt};

use crate::run::Means;

/// How long a suite that is told to end may clean up.
const GRACE: Duration = Duration::from_secs(60);

/// How a process ended.
pub(crate) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It was told to end after its time.
    Late,
}

/// A group of processes, told to end when this is dropped before they did.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // Whoever ended meanwhile hears nothing.
            let _ = killpg(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGINT);
    }
}

/// Runs a command to its end, but no longer than `limit`.
pub(crate) async fn run(mut command: Command, log: &Path, limit: Duration, means: &Means) -> Result<End> {
    let failed =
        |what: String| move |error: std::io::Error| Error::new(ErrorKind::Unavailable, what).with_source(error);
    let output = File::create(log).map_err(failed(format!("cannot write {}", log.display())))?;
    let errors = output.try_clone().map_err(failed(format!("cannot write {}", log.display())))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    let shown = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(failed(format!("cannot run {shown}")))?;
    let mut group = Group(i32::try_from(child.id()).ok().map(Pid::from_raw));
    let mut waiting = pin!(means.spawn.run_blocking("conform.spec", move || child.wait()));
    let mut end = means.clock.within(limit, &mut waiting).await;
    let late = end.is_none();
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        if end.is_none() {
            group.signal(signal);
            end = means.clock.within(GRACE, &mut waiting).await;
        }
    }
    let ended = end.flatten().and_then(std::result::Result::ok);
    if ended.is_some() {
        group.0 = None;
    }
    match ended {
        _ if late => Ok(End::Late),
        Some(status) => Ok(End::Exited(status)),
        None => Err(Error::new(ErrorKind::Unavailable, format!("cannot wait for {shown}"))),
    }
}
