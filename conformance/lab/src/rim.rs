//! The machine's time, tasks and connections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::{
    net::{TcpStream, UnixStream},
    runtime::Handle,
};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_cri::host::Rim;
use windlass_kernel::{
    Clock, Dial, Error, ErrorKind, Result, Spawn,
    dial::{ByteStream, Target},
};

#[derive(Debug)]
struct Machine {
    start: Instant,
    runtime: Handle,
}

/// A rim on a tokio runtime.
#[allow(clippy::disallowed_methods, reason = "this is where the tests' time comes from")]
#[must_use]
pub fn rim(runtime: &Handle) -> Rim {
    let machine = Arc::new(Machine { start: Instant::now(), runtime: runtime.clone() });
    Rim { dial: machine.clone(), clock: machine.clone(), spawn: machine }
}

impl Clock for Machine {
    #[allow(clippy::disallowed_methods, reason = "this is where the tests' time comes from")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "this is where the tests' time comes from")]
    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let end = self.start + end;
        Box::pin(async move { tokio::time::sleep_until(end.into()).await })
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

#[async_trait]
impl Dial for Machine {
    #[allow(clippy::disallowed_methods, reason = "this is where the tests' connections come from")]
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
