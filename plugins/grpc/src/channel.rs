//! A gRPC channel over connections from the kernel's `Dial`.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;
use windlass_kernel::{
    Dial,
    dial::{ByteStream, Target},
};

/// A channel to a socket file. It connects with the first call, and again after a loss.
pub fn open(socket: Arc<str>, dial: Arc<dyn Dial>) -> Channel {
    // The name is never looked up: the connector knows where to go.
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(Connector { socket, dial })
}

struct Connector {
    socket: Arc<str>,
    dial: Arc<dyn Dial>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Compat<ByteStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (socket, dial) = (Arc::clone(&self.socket), Arc::clone(&self.dial));
        async move {
            let stream = dial.dial(&Target::Unix(socket.to_string())).await.map_err(io::Error::other)?;
            Ok(TokioIo::new(stream.compat()))
        }
        .boxed()
    }
}
