//! The machine's time, tasks, chance and connections, for a program that is nothing but a plugin.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::{
    net::{TcpStream, UnixStream},
    runtime::Handle,
};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Clock, Dial, Entropy, Error, ErrorKind, Result, Spawn,
    dial::{ByteStream, Target},
};

/// The machine, on a tokio runtime. Of targets it dials sockets and hosts.
#[derive(Debug)]
pub struct Machine {
    start: Instant,
    runtime: Handle,
}

impl Machine {
    /// The machine, whose tasks run there.
    #[allow(clippy::disallowed_methods, reason = "a plugin's program is where its time comes from")]
    #[must_use]
    pub fn on(runtime: Handle) -> Self {
        Self { start: Instant::now(), runtime }
    }
}

impl Clock for Machine {
    #[allow(clippy::disallowed_methods, reason = "a plugin's program is where its time comes from")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "a plugin's program is where its time comes from")]
    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let end = self.start.checked_add(end);
        Box::pin(async move {
            match end {
                Some(end) => tokio::time::sleep_until(end.into()).await,
                None => futures::future::pending().await,
            }
        })
    }
}

impl Spawn for Machine {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }
}

impl Entropy for Machine {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}

#[async_trait]
impl Dial for Machine {
    #[allow(clippy::disallowed_methods, reason = "a plugin's program is where its connections come from")]
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        let failed = |error| Error::new(ErrorKind::Unavailable, format!("cannot reach {target:?}")).with_source(error);
        match target {
            Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?.compat())),
            Target::Host { host, port } => {
                Ok(Box::new(TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?.compat()))
            }
            _ => Err(Error::new(ErrorKind::NotSupported, format!("{target:?} is not of this machine"))),
        }
    }
}
