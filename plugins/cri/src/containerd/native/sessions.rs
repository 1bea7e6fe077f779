//! Sessions: commands, the streams of a container's process, and ports.

use futures::{FutureExt, StreamExt, channel::mpsc, channel::oneshot, future::Either, future::select};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};
use windlass_kernel::{
    Error, ErrorKind, Result,
    node::{Exit, Process, Session, Streams, TermSize},
    runtime::{ContainerId, Opening},
};

use super::{Containerd, streams::Attached};

impl Containerd {
    pub(super) async fn open(&self, opening: Opening) -> Result<Session> {
        match opening {
            Opening::Exec { container, command, streams } => {
                if command.is_empty() {
                    return Err(Error::new(ErrorKind::Invalid, "there is no command to run"));
                }
                Ok(Session::Process(self.open_command(&container, &command, streams).await?))
            }
            Opening::Attach { container, streams } => Ok(Session::Process(self.attach(container, streams).await?)),
            Opening::PortForward { sandbox } => Ok(Session::Ports(self.open_ports(&sandbox).await?)),
        }
    }

    async fn attach(&self, id: ContainerId, streams: Streams) -> Result<Process> {
        let kept = self.need_running(&id).await?;
        self.ensure_carried(&kept).await?;
        let config = kept.container_config()?;
        if streams.tty && !config.tty {
            return Err(Error::new(ErrorKind::Invalid, format!("container {id} runs on no terminal")));
        }
        let streams = Streams { stdin: streams.stdin && config.stdin, tty: config.tty, ..streams };
        let Attached { stdin, stdout, stderr, carrying } = self.attach_to(&id, streams).await?;
        let (size, mut sizes) = mpsc::channel::<TermSize>(4);
        let (mut give, exit) = oneshot::channel();
        let (this, of) = (self.clone(), id);
        self.detach_work("cri.attach", async move {
            let sizing = async {
                while let Some(size) = sizes.next().await {
                    this.resize(of.as_str(), "", size).await;
                }
                // The session goes on without.
                futures::future::pending::<()>().await;
            };
            let carried = select(carrying, sizing.boxed());
            // Who dropped the session hears nothing any more.
            let heard = matches!(select(carried, give.cancellation().boxed()).await, Either::Left(_));
            if heard {
                let _ = give.send(this.end_of(&of).await);
            }
        });
        let exit = exit.map(|exit| exit.unwrap_or_else(|_| Exit::Failed("the end of the process is not known".into())));
        Ok(Process {
            stdin: stdin.map(|stdin| Box::new(stdin.compat_write()) as Box<_>),
            stdout: stdout.map(|stdout| Box::new(stdout.compat()) as Box<_>),
            stderr: stderr.map(|stderr| Box::new(stderr.compat()) as Box<_>),
            resize: streams.tty.then_some(size),
            exit: exit.boxed(),
        })
    }

    /// How a container ended whose outputs have.
    async fn end_of(&self, id: &ContainerId) -> Exit {
        let ended = async {
            self.wait(id.as_str(), "").await?;
            self.settle(id.as_str()).await?;
            Ok::<_, Error>(self.0.calls.kept_container(id.as_str()).await?.and_then(|kept| kept.exit()))
        };
        match ended.await {
            Ok(Some(exit)) => Exit::Code(exit.code),
            Ok(None) => Exit::Failed("the container is gone".into()),
            Err(error) => Exit::Failed(error.to_string()),
        }
    }
}
