//! Commands, sessions and ports.

use std::{process::Stdio, time::Duration};

use futures::{FutureExt, TryStreamExt, future::BoxFuture};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};
use windlass::kernel::{
    ClockExt, Error, ErrorKind, Result,
    dial::{ByteStream, Target},
    node::{Exit, Ports, Process, Session, Streams},
    runtime::{ContainerConfig, ContainerId, ContainerState, ExecOutput, Opening},
};

use super::{
    life::{code, command, end_group, pid_of},
    runtime::Processes,
    state::no_sandbox,
};

impl Processes {
    /// What a container that runs was made with.
    fn running(&self, id: &ContainerId) -> Result<ContainerConfig> {
        let mut state = self.state.lock();
        let record = state.container(id)?;
        match record.status.container.state {
            ContainerState::Running => Ok(record.config.clone()),
            _ => Err(Error::new(ErrorKind::Conflict, format!("container {id} does not run"))),
        }
    }

    pub(crate) async fn run(
        &self,
        id: &ContainerId,
        words: &[String],
        timeout: Option<Duration>,
    ) -> Result<ExecOutput> {
        let mut command = command(words, &self.running(id)?)?;
        let failed = |error| Error::new(ErrorKind::Internal, format!("cannot run {words:?}")).with_source(error);
        let child = command.spawn().map_err(failed)?;
        // Also when the caller goes away: dropping this ends the command.
        let group = Group(pid_of(&child));
        let output = child.wait_with_output();
        let output = match timeout {
            Some(timeout) => self.clock.timeout(timeout, output).await?,
            None => output.await,
        };
        drop(group);
        let output = output.map_err(failed)?;
        Ok(ExecOutput { code: code(output.status), stdout: output.stdout.into(), stderr: output.stderr.into() })
    }

    pub(crate) async fn open(&self, opening: Opening) -> Result<Session> {
        match opening {
            Opening::Exec { container, command, streams } => self.exec(&container, &command, streams),
            Opening::Attach { container, streams } => self.attach(&container, streams),
            Opening::PortForward { sandbox } => {
                let known = self.state.lock().sandboxes.contains_key(&sandbox);
                known.then(|| Session::Ports(Box::new(Local(self.clone())))).ok_or_else(|| no_sandbox(&sandbox))
            }
        }
    }

    fn exec(&self, id: &ContainerId, words: &[String], streams: Streams) -> Result<Session> {
        if streams.tty {
            return Err(Error::new(ErrorKind::NotSupported, "this runtime has no terminals"));
        }
        let mut command = command(words, &self.running(id)?)?;
        let wanted = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
        command.stdin(wanted(streams.stdin)).stdout(wanted(streams.stdout)).stderr(wanted(streams.stderr));
        let mut child = command
            .spawn()
            .map_err(|error| Error::new(ErrorKind::Internal, format!("cannot run {words:?}")).with_source(error))?;
        let group = Group(pid_of(&child));
        Ok(Session::Process(Process {
            stdin: child.stdin.take().map(|stdin| Box::new(stdin.compat_write()) as _),
            stdout: child.stdout.take().map(|stdout| Box::new(stdout.compat()) as _),
            stderr: child.stderr.take().map(|stderr| Box::new(stderr.compat()) as _),
            resize: None,
            exit: async move {
                let _group = group;
                match child.wait().await {
                    Ok(status) => Exit::Code(code(status)),
                    Err(error) => Exit::Failed(error.to_string()),
                }
            }
            .boxed(),
        }))
    }

    fn attach(&self, id: &ContainerId, streams: Streams) -> Result<Session> {
        self.running(id)?;
        let mut state = self.state.lock();
        let record = state.container(id)?;
        let hear = |wanted: bool, stream| {
            wanted.then(|| {
                Box::new(record.log.attach(stream).into_async_read()) as Box<dyn futures::AsyncRead + Send + Unpin>
            })
        };
        let (stdout, stderr) = (hear(streams.stdout, "stdout"), hear(streams.stderr, "stderr"));
        // The first session has the input; it ends with that session.
        let stdin = if streams.stdin { record.stdin.take() } else { None };
        let (this, id, mut ended) = (self.clone(), id.clone(), record.ended.subscribe());
        let exit = async move {
            // The sender is dropped with the record: then the container is gone.
            let _ = ended.wait_for(|ended| *ended).await;
            let exit = this.state.lock().containers.get(&id).and_then(|record| record.status.exit);
            exit.map_or_else(|| Exit::Failed("the container is gone".into()), |exit| Exit::Code(exit.code))
        };
        Ok(Session::Process(Process {
            stdin: stdin.map(|stdin| Box::new(stdin.compat_write()) as _),
            stdout,
            stderr,
            resize: None,
            exit: exit.boxed(),
        }))
    }
}

/// Ends a process group when it is dropped.
struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        end_group(self.0);
    }
}

/// The ports of every sandbox are the machine's.
struct Local(Processes);

impl Ports for Local {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        let dial = std::sync::Arc::clone(&self.0.dial);
        async move { dial.dial(&Target::Host { host: "127.0.0.1".into(), port }).await }.boxed()
    }
}
