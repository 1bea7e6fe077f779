//! Ports of a sandbox: connections that are made inside its network.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use nix::sched::{CloneFlags, setns};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Error, ErrorKind, Result,
    dial::ByteStream,
    node::Ports,
    runtime::{Namespace, SandboxId, SandboxState},
};

use super::{Containerd, files};

/// How long a port of a pod may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ports of one sandbox.
struct Inside {
    runtime: Containerd,
    /// `None` for the node's own.
    network: Option<PathBuf>,
}

impl Containerd {
    pub(super) async fn open_ports(&self, id: &SandboxId) -> Result<Box<dyn Ports>> {
        let kept = self.need_sandbox(id).await?;
        if self.sandbox_state(&kept).await? != SandboxState::Ready {
            return Err(Error::new(ErrorKind::Conflict, format!("sandbox {id} does not run")));
        }
        let node = kept.sandbox_config()?.security.namespaces.network == Namespace::Node;
        let network = (!node).then(|| files::network(&self.sandbox_folder(id.as_str())));
        Ok(Box::new(Inside { runtime: self.clone(), network }))
    }
}

impl Ports for Inside {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        let (runtime, network) = (self.runtime.clone(), self.network.clone());
        async move {
            let stream = runtime.blocking(move || connect(network, port)).await?;
            let taken = stream.set_nonblocking(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
            let stream = taken.map_err(|error| unreached(port, error))?;
            Ok(Box::new(stream.compat()) as ByteStream)
        }
        .boxed()
    }
}

fn unreached(port: u16, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("nobody answers at port {port} of the pod")).with_source(error)
}

/// Connects to the loopback inside, on a thread of its own: one that has changed its network is used for nothing else.
fn connect(network: Option<PathBuf>, port: u16) -> Result<TcpStream> {
    let inside = std::thread::Builder::new().name("cri.ports".into()).spawn(move || {
        if let Some(network) = network {
            let file = File::open(&network)?;
            setns(file, CloneFlags::CLONE_NEWNET)?;
        }
        let at = |address: SocketAddr| TcpStream::connect_timeout(&address, PATIENCE);
        at((Ipv4Addr::LOCALHOST, port).into())
            .or_else(|first| at((Ipv6Addr::LOCALHOST, port).into()).map_err(|_| first))
    });
    let inside = inside.map_err(|error| unreached(port, error))?;
    let done = inside.join().map_err(|_| Error::new(ErrorKind::Internal, "connecting to a pod panicked"))?;
    done.map_err(|error| unreached(port, error))
}
