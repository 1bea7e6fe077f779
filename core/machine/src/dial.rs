//! Connections from this machine: TCP and socket files.

use std::io;

use async_trait::async_trait;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Dial, Error, ErrorKind, Result,
    dial::{ByteStream, Target},
};
use windlass_transport::tcp;

/// Connects to hosts by TCP and to socket files. It knows no nodes, pods or services.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDial;

#[async_trait]
impl Dial for SystemDial {
    #[allow(clippy::disallowed_methods, reason = "this crate is where the kernel's connections come from")]
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        let unreachable = |error: io::Error| {
            Error::new(ErrorKind::Unavailable, format!("cannot connect to {target}")).with_source(error)
        };
        match target {
            Target::Host { host, port } => Ok(Box::new(connect(host, *port).await.map_err(unreachable)?.compat())),
            Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?.compat())),
            Target::Node { .. } | Target::Pod { .. } | Target::Service { .. } => {
                Err(Error::new(ErrorKind::NotSupported, format!("cannot connect to {target} without a cluster")))
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "this crate is where the kernel's connections come from")]
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    tcp::prepare(&stream);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::join;
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;
    use crate::SystemClock;

    fn kept(stream: &TcpStream) {
        let socket = SockRef::from(stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        let every = Duration::from_secs(15);
        assert_eq!((socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()), (every, every));
    }

    #[test]
    fn connections_of_either_side_are_asked_whether_the_other_is_there() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let clock = SystemClock::default();
            let (near, far) =
                join!(connect("127.0.0.1", listener.local_addr().unwrap().port()), tcp::accept(&listener, &clock));
            kept(&near.unwrap());
            kept(&far);
        });
    }
}
