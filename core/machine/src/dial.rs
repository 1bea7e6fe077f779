//! Connections from this machine: TCP and socket files.

use async_trait::async_trait;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Dial, Error, ErrorKind, Result,
    dial::{ByteStream, Target},
};

/// Connects to hosts by TCP and to socket files. It knows no nodes, pods or services.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDial;

#[async_trait]
impl Dial for SystemDial {
    #[allow(clippy::disallowed_methods, reason = "this crate is where the kernel's connections come from")]
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        let unreachable = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("cannot connect to {target}")).with_source(error)
        };
        match target {
            Target::Host { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                // Small frames go out at once; a socket that cannot do so still works.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream.compat()))
            }
            Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?.compat())),
            Target::Node { .. } | Target::Pod { .. } | Target::Service { .. } => {
                Err(Error::new(ErrorKind::NotSupported, format!("cannot connect to {target} without a cluster")))
            }
        }
    }
}
