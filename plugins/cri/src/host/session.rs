//! Sessions: CRI answers with a URL, behind which SPDY is spoken; here it becomes plain streams.

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use windlass_kernel::{
    Error, ErrorKind, Result, SpawnExt,
    carry::{PORTS_PROTOCOL, PROCESS_PROTOCOL, ports_from_spdy, process_from_spdy},
    dial::{ByteStream, Target},
    node::{Session, Streams},
    runtime::Opening,
    spdy,
};

use super::{RemoteRuntime, Rim};
use crate::wire::{error_from_wire, wire as cri};

impl RemoteRuntime {
    pub(super) async fn open_session(&self, opening: Opening) -> Result<Session> {
        match opening {
            Opening::Exec { container, command, streams } => {
                let request = cri::ExecRequest {
                    container_id: container.to_string(),
                    cmd: command,
                    tty: streams.tty,
                    stdin: streams.stdin,
                    stdout: streams.stdout,
                    stderr: streams.stderr && !streams.tty,
                };
                match self.client().exec(request).await {
                    Ok(answer) => process(&self.rim, &answer.into_inner().url, streams).await,
                    Err(status) => {
                        Err(self.because_not_running(&container, error_from_wire("open an exec", status)).await?)
                    }
                }
            }
            Opening::Attach { container, streams } => {
                let request = cri::AttachRequest {
                    container_id: container.to_string(),
                    tty: streams.tty,
                    stdin: streams.stdin,
                    stdout: streams.stdout,
                    stderr: streams.stderr && !streams.tty,
                };
                match self.client().attach(request).await {
                    Ok(answer) => process(&self.rim, &answer.into_inner().url, streams).await,
                    Err(status) => Err(self.because_not_running(&container, error_from_wire("attach", status)).await?),
                }
            }
            Opening::PortForward { sandbox } => {
                let request = cri::PortForwardRequest { pod_sandbox_id: sandbox.to_string(), port: Vec::new() };
                let answer = self.client().port_forward(request).await;
                let url = answer.map_err(|status| error_from_wire("forward ports", status))?.into_inner().url;
                Ok(ports_from_spdy(upgrade(&self.rim, &url, PORTS_PROTOCOL).await?, &self.rim.spawn))
            }
        }
    }
}

/// Turns a URL into a connection that speaks SPDY.
async fn upgrade(rim: &Rim, url: &str, protocol: &str) -> Result<ByteStream> {
    let broken = |what: &str| Error::new(ErrorKind::Internal, format!("the runtime's streaming server {what}"));
    let uri: Uri = url.parse().map_err(|error| broken("has a URL that is none").with_source(error))?;
    let host = uri.host().ok_or_else(|| broken("has no address"))?.to_owned();
    let target = Target::Host { host: host.clone(), port: uri.port_u16().unwrap_or(80) };
    let stream = rim.dial.dial(&target).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream.compat()))
        .await
        .map_err(|error| broken("does not speak HTTP").with_source(error))?;
    // Ends with the upgrade: the bytes are handed over.
    rim.spawn.spawn("cri.upgrade", connection.with_upgrades().map(drop)).detach();
    let request = Request::post(uri.path())
        .header(header::HOST, uri.authority().map_or(host.as_str(), |authority| authority.as_str()))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, spdy::UPGRADE)
        .header("X-Stream-Protocol-Version", protocol)
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken("has a URL that is none").with_source(error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| broken("did not answer").with_source(error).maybe_applied())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(broken(&format!("answered {}", answer.status())));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(|error| broken("did not upgrade").with_source(error))?;
    Ok(Box::new(TokioIo::new(upgraded).compat()))
}

async fn process(rim: &Rim, url: &str, streams: Streams) -> Result<Session> {
    process_from_spdy(upgrade(rim, url, PROCESS_PROTOCOL).await?, streams, &rim.spawn).await
}
