//! The processes of the fake runtime: containers, commands and sessions.

use std::time::Duration;

use event_listener::Event;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, channel::oneshot, future::BoxFuture};
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, SpawnExt,
    dial::ByteStream,
    node::{Exit, Ports, Process, Session, Streams},
    runtime::{ContainerId, ContainerState, SandboxConfig},
};

use super::{Act, FakeRuntime, Launch, PortScript, act::Ends};
use crate::pipe::{Reader, Writer, pipe};

impl FakeRuntime {
    /// The main process of a container, to its end.
    pub(super) async fn play(self, id: ContainerId, act: Act, stdin: Option<Reader>) {
        self.write(&id, "stdout", &act.stdout).await;
        self.write(&id, "stderr", &act.stderr).await;
        let ticks = async {
            if let Some((every, text)) = &act.every {
                loop {
                    self.write(&id, "stdout", text).await;
                    self.clock.sleep(*every).await;
                }
            }
            futures::future::pending::<()>().await;
        };
        let end = async {
            match act.ends {
                Ends::After(span, code) => {
                    self.clock.sleep(span).await;
                    code
                }
                Ends::WithInput(code) => {
                    if let Some(mut stdin) = stdin {
                        let mut buffer = [0; 4096];
                        while let Ok(read @ 1..) = stdin.read(&mut buffer).await {
                            self.write(&id, "stdout", &buffer[..read]).await;
                        }
                    }
                    code
                }
                Ends::Never => futures::future::pending().await,
            }
        };
        let code = match futures::future::select(Box::pin(end), Box::pin(ticks)).await {
            futures::future::Either::Left((code, _)) => code,
            futures::future::Either::Right(_) => return,
        };
        self.end(&id, code, "");
    }

    /// Writes a container's output to its log and to whoever is attached.
    async fn write(&self, id: &ContainerId, stream: &str, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let attached = self.state.lock().write(id, stream, bytes, self.clock.now());
        let mut listening = Vec::new();
        for mut writer in attached {
            // Whoever has gone is not written to any more.
            if writer.write_all(bytes).await.is_ok() {
                listening.push(writer);
            }
        }
        if let Some(record) = self.state.lock().containers.get_mut(id) {
            record.attached.append(&mut listening);
        }
    }

    /// What a command in a container does; refused where it does not run.
    pub(super) fn command(&self, id: &ContainerId, command: &[String]) -> Result<Act> {
        let state = self.state.lock();
        let record = state.containers.get(id).ok_or_else(|| super::service::no_container(id))?;
        if record.status.container.state != ContainerState::Running {
            return Err(Error::new(ErrorKind::Conflict, format!("container {id} does not run")));
        }
        let act = (self.script)(&Launch { container: &record.config, command, exec: true });
        if act.runs { Ok(act) } else { Err(Error::new(ErrorKind::Internal, "the command cannot be run")) }
    }

    /// How long a command takes, and its code.
    pub(super) async fn outcome(&self, act: &Act) -> i32 {
        match act.ends {
            Ends::After(span, code) => {
                self.clock.sleep(span).await;
                code
            }
            Ends::WithInput(code) => code,
            Ends::Never => futures::future::pending().await,
        }
    }

    /// A command with streams.
    pub(super) fn open_exec(&self, act: Act, streams: Streams) -> Session {
        let end = |wanted: bool| wanted.then(pipe).map_or((None, None), |(write, read)| (Some(write), Some(read)));
        let ((stdin, input), (output, stdout), (errors, stderr)) =
            (end(streams.stdin), end(streams.stdout), end(streams.stderr && !streams.tty));
        let (done, exit) = oneshot::channel();
        let runtime = self.clone();
        let task = self.spawn.spawn("fake.exec", async move {
            let code = runtime.perform(act, input, output, errors).await;
            // Nobody may wait any more.
            let _ = done.send(code);
        });
        Session::Process(Process {
            stdin: stdin.map(|stdin| Box::new(stdin) as Box<_>),
            stdout: stdout.map(|stdout| Box::new(stdout) as Box<_>),
            stderr: stderr.map(|stderr| Box::new(stderr) as Box<_>),
            resize: streams.tty.then(|| futures::channel::mpsc::channel(4).0),
            exit: async move {
                let _task = task;
                exit.await.map_or_else(|_| Exit::Failed("the session ended".into()), Exit::Code)
            }
            .boxed(),
        })
    }

    /// Acts on streams; they have ended when it returns.
    async fn perform(&self, act: Act, input: Option<Reader>, out: Option<Writer>, err: Option<Writer>) -> i32 {
        let (mut out, mut err) = (out, err);
        for (writer, bytes) in [(&mut out, &act.stdout), (&mut err, &act.stderr)] {
            if let Some(writer) = writer {
                // The reader may have gone: processes see that later than we do.
                let _ = writer.write_all(bytes).await;
            }
        }
        if let (Ends::WithInput(_), Some(mut input)) = (act.ends, input) {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = input.read(&mut buffer).await {
                if let Some(out) = &mut out
                    && out.write_all(&buffer[..read]).await.is_err()
                {
                    break;
                }
            }
        }
        self.outcome(&act).await
    }

    /// Joins a container's process.
    pub(super) fn attach(&self, id: &ContainerId, streams: Streams) -> Result<Session> {
        let mut state = self.state.lock();
        let ended = state.ended.clone();
        let record = state.containers.get_mut(id).ok_or_else(|| super::service::no_container(id))?;
        if record.status.container.state != ContainerState::Running {
            return Err(Error::new(ErrorKind::Conflict, format!("container {id} does not run")));
        }
        let stdin = if streams.stdin { record.stdin.0.take() } else { None };
        let stdout = streams.stdout.then(|| {
            let (write, read) = pipe();
            record.attached.push(write);
            Box::new(read) as Box<_>
        });
        let (runtime, id) = (self.clone(), id.clone());
        Ok(Session::Process(Process {
            stdin: stdin.map(|stdin| Box::new(stdin) as Box<_>),
            stdout,
            stderr: None,
            resize: streams.tty.then(|| futures::channel::mpsc::channel(4).0),
            exit: async move { runtime.exit_of(&id, &ended).await }.boxed(),
        }))
    }

    async fn exit_of(&self, id: &ContainerId, ended: &Event) -> Exit {
        loop {
            let listener = ended.listen();
            match self.state.lock().containers.get(id).map(|record| record.status.exit) {
                Some(None) => {}
                Some(Some(exit)) => return Exit::Code(exit.code),
                None => return Exit::Failed("the container is gone".into()),
            }
            listener.await;
        }
    }

    pub(super) fn open_ports(&self, config: SandboxConfig) -> Session {
        Session::Ports(Box::new(FakePorts { config, ports: self.ports.clone() }))
    }

    /// The usage of CPU that is made up for a process: one hundredth of its time.
    pub(super) fn cpu(&self, started_at: Duration) -> Duration {
        self.clock.uptime().saturating_sub(started_at) / 100
    }
}

struct FakePorts {
    config: SandboxConfig,
    ports: PortScript,
}

impl Ports for FakePorts {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        futures::future::ready((self.ports)(&self.config, port)).boxed()
    }
}
