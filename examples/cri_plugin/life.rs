//! Processes: how they are started, followed to their end, asked to end, and killed with all that came from them.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::process::{Child, Command};
use windlass::kernel::{
    ClockExt, Error, ErrorKind, Result,
    runtime::{Change, ContainerConfig, ContainerExit, ContainerId, ContainerState, Subject},
};

use super::{runtime::Processes, state::ContainerRecord};

/// A command in a process group of its own, so that what it starts can be ended with it.
pub(crate) fn command(words: &[String], config: &ContainerConfig) -> Result<Command> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Error::new(ErrorKind::Invalid, "there is no command to run"))?;
    let mut command = Command::new(program);
    command.args(arguments).envs(config.env.iter().map(|(key, value)| (key, value)));
    if !config.working_dir.is_empty() {
        command.current_dir(&config.working_dir);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    Ok(command)
}

/// As a shell tells it: 128 and the signal's number when a signal ended it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Everything in a process group. It may have ended by itself.
pub(crate) fn end_group(pid: i32) {
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
}

pub(crate) fn pid_of(child: &Child) -> i32 {
    child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default()
}

impl Processes {
    pub(crate) fn start(&self, id: &ContainerId) -> Result<()> {
        let mut state = self.state.lock();
        let record = state.container(id)?;
        match record.status.container.state {
            ContainerState::Created => {}
            ContainerState::Running => return Ok(()),
            _ => return Err(Error::new(ErrorKind::Conflict, format!("container {id} has exited"))),
        }
        record.log.reopen()?;
        let words: Vec<String> = record.config.command.iter().chain(&record.config.args).cloned().collect();
        let mut command = command(&words, &record.config)?;
        if record.config.stdin {
            command.stdin(Stdio::piped());
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                state.exited(id, ContainerExit { code: 128, finished: self.clock.now() }, "StartError");
                return Err(Error::new(ErrorKind::Internal, format!("cannot run {words:?}")).with_source(error));
            }
        };
        record.status.container.state = ContainerState::Running;
        record.status.started = Some(self.clock.now());
        record.pid = Some(pid_of(&child));
        record.stdin = child.stdin.take();
        let log = Arc::clone(&record.log);
        state.tell(Subject::Container(id.clone()), Change::Started);
        drop(state);
        let (this, id) = (self.clone(), id.clone());
        self.spawn.start("process", Box::pin(async move { this.follow(id, child, log).await }));
        Ok(())
    }

    /// Copies the outputs until the process has ended, and writes down how it did.
    async fn follow(self, id: ContainerId, mut child: Child, log: Arc<super::logs::Log>) {
        let (pid, stdout, stderr) = (pid_of(&child), child.stdout.take(), child.stderr.take());
        let copy = async {
            let out = async {
                if let Some(stdout) = stdout {
                    log.copy("stdout", stdout, &*self.clock).await
                }
            };
            let err = async {
                if let Some(stderr) = stderr {
                    log.copy("stderr", stderr, &*self.clock).await
                }
            };
            futures::join!(out, err);
        };
        let wait = async {
            let status = child.wait().await;
            // A container ends as a whole: what its first process left behind goes with it.
            end_group(pid);
            status
        };
        let (status, ()) = futures::join!(wait, copy);
        let code = status.map_or(255, code);
        let reason = if code == 0 { "Completed" } else { "Error" };
        log.end();
        self.state.lock().exited(&id, ContainerExit { code, finished: self.clock.now() }, reason);
    }

    /// Asks a process to end, and kills it after a while. It has ended when this returns.
    pub(crate) async fn stop(&self, id: &ContainerId, grace: Duration) {
        let Some((pid, signal, mut ended)) = self.state.lock().containers.get(id).and_then(running) else { return };
        let over = async move { ended.wait_for(|ended| *ended).await.map(drop) };
        let mut over = std::pin::pin!(over);
        if !grace.is_zero() {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(pid), signal);
            if self.clock.within(grace, over.as_mut()).await.is_some() {
                return;
            }
        }
        end_group(pid);
        // The sender is dropped with the record: then it is gone, too.
        let _ = over.await;
    }
}

fn running(record: &ContainerRecord) -> Option<(i32, Signal, tokio::sync::watch::Receiver<bool>)> {
    let signal = record.config.stop_signal.parse().unwrap_or(Signal::SIGTERM);
    Some((record.pid?, signal, record.ended.subscribe()))
}
