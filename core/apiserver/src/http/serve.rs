//! Connections: accepted, encrypted, served in HTTP/1.1 or HTTP/2, and drained at the end.

use std::{convert::Infallible, future::Future, result, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use windlass_kernel::{Clock, ClockExt, Identity, Result, Spawn, dial::ByteStream};
use windlass_transport::tcp;

use super::{
    body::{Body, received},
    handler::{Peer, Server},
};

const HANDSHAKE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(30);

/// Runs hyper's tasks where ours run.
#[derive(Clone, Debug)]
struct Tasks(Arc<dyn Spawn>);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.start("http.stream", Box::pin(async move { drop(future.await) }));
    }
}

impl Server {
    /// Serves connections until the server is to stop; then ends watches, lets requests finish and returns.
    ///
    /// # Errors
    ///
    /// None so far: what fails concerns one connection.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Arc<ServerConfig>) -> Result<()> {
        let acceptor = TlsAcceptor::from(tls);
        let graceful = GracefulShutdown::new();
        let clock = Arc::clone(&self.parts().clock);
        while let Some(stream) = self.stop().race(tcp::accept(&listener, &*clock)).await {
            let task = Arc::clone(&self).connection(stream, acceptor.clone(), graceful.watcher());
            self.parts().spawn.start("http.connection", Box::pin(task));
        }
        drop(listener);
        if self.parts().clock.within(DRAIN, graceful.shutdown()).await.is_none() {
            tracing::warn!("connections were still open at the end");
        }
        Ok(())
    }

    /// Serves one connection from someone in this process, in HTTP/1.1, until either side ends it.
    ///
    /// It is `identity` that asks, unless a request has a bearer token of its own. Sessions can be opened on it.
    pub async fn serve_in_process(self: Arc<Self>, identity: Identity, stream: ByteStream) {
        let peer = Peer { certificate: None, known: Some(identity) };
        let mut builder = http1::Builder::new();
        // The date would be the machine's, whatever the cluster's clock says.
        builder.auto_date_header(false);
        let io = TokioIo::new(stream.compat());
        let connection = builder.serve_connection(io, service_fn(self.answers(peer))).with_upgrades().boxed();
        if let Some(Err(error)) = self.stop().race(connection).await {
            tracing::debug!(%error, "connection ended");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor, watcher: Watcher) {
        let clock: &dyn Clock = &*self.parts().clock;
        let Ok(Ok(stream)) = clock.timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer { certificate: certificate.map(|der| Arc::new(der.to_vec())), known: None };
        let service = service_fn(self.answers(peer));
        let mut builder = auto::Builder::new(Tasks(Arc::clone(&self.parts().spawn)));
        builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(250)
            .keep_alive_interval(Duration::from_secs(30));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// What answers the requests of one connection.
    fn answers(
        self: &Arc<Self>,
        peer: Peer,
    ) -> impl Fn(Request<Incoming>) -> BoxFuture<'static, result::Result<Response<Body>, Infallible>> + use<> {
        let server = Arc::clone(self);
        move |request| {
            let (server, peer) = (Arc::clone(&server), peer.clone());
            let request = request.map(received);
            // Boxed where it is made: what answers a request is large, and is handed on several times.
            async move { Ok(server.handle(&peer, request).await) }.boxed()
        }
    }
}
