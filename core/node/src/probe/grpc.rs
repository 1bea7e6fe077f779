//! Asks over gRPC's health protocol (`grpc.health.v1`, GRPCAction).

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Uri, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::TokioIo;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use tonic::{Code, Request, body::Body, client::Grpc, metadata::MetadataValue};
use tonic_prost::ProstCodec;
use tower_service::Service;
use windlass_kernel::{Spawn, SpawnExt, dial::Target as Address};

use super::{ask::Means, whole};

/// What is asked: how a service is; without a name, how the server is.
#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

/// How it is.
#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

/// Asks the server at a host's port how a service is.
pub(super) async fn check(means: &Means, host: &str, port: u16, service: &str) -> Result<(), String> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let refused =
        |error: &dyn std::fmt::Display| format!("error: failed to connect service at \"{authority}\": {error}");
    let address = Address::Host { host: host.to_owned(), port };
    let stream = means.dial.dial(&address).await.map_err(|error| refused(&whole(&error)))?;
    let io = TokioIo::new(stream.compat());
    let handshake = hyper::client::conn::http2::handshake(Tasks(Arc::clone(&means.spawn)), io).await;
    let (sender, connection) = handshake.map_err(|error| refused(&error))?;
    // Ends with this question: its handle goes at the end of the function.
    let _driver = means.spawn.spawn("node.probe.grpc", async move {
        // What goes wrong is seen by the call.
        let _ = connection.await;
    });
    let origin: Uri = format!("http://{authority}").parse().map_err(|error| refused(&error))?;
    let mut client = Grpc::with_origin(Calls(sender), origin);
    client.ready().await.map_err(|error| refused(&error))?;
    let mut request = Request::new(Question { service: service.to_owned() });
    request.metadata_mut().insert("user-agent", MetadataValue::from_static(super::AGENT));
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let answer = client.unary(request, path, ProstCodec::<Question, Health>::default()).await;
    match answer {
        Ok(answer) if answer.get_ref().status == SERVING => Ok(()),
        Ok(answer) => Err(format!("service unhealthy (responded with \"{}\")", word(answer.get_ref().status))),
        Err(status) if status.code() == Code::Unimplemented => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Err(format!("error: health rpc probe failed: {status}")),
    }
}

fn word(status: i32) -> String {
    let words = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
    let known = usize::try_from(status).ok().and_then(|at| words.get(at));
    known.map_or_else(|| status.to_string(), |word| (*word).to_owned())
}

/// Calls over one connection.
struct Calls(SendRequest<Body>);

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, hyper::Result<Self::Response>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.send_request(request).boxed()
    }
}

/// Runs a connection's tasks, which end with it.
#[derive(Clone)]
struct Tasks(Arc<dyn Spawn>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.start("node.probe.grpc", task.boxed());
    }
}
