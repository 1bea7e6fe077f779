//! Sessions: CRI answers with a URL, behind which SPDY is spoken; here it becomes plain streams.

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, channel::mpsc, future::BoxFuture, io::AsyncRead};
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use windlass_kernel::{
    Error, ErrorKind, Result, SpawnExt,
    dial::{ByteStream, Target},
    node::{Exit, Ports, Process, Session, Streams, TermSize},
    runtime::Opening,
    spdy::{self, Connection, Headers, Role, Stream},
};

use super::{RemoteRuntime, Rim};
use crate::wire::{error_from_wire, wire as cri};

/// How an exec or attach session speaks: its exit is a Status in JSON.
const PROCESS: &str = "v4.channel.k8s.io";
const FORWARD: &str = "portforward.k8s.io";

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
                let connection = upgrade(&self.rim, &url, FORWARD).await?;
                Ok(Session::Ports(Box::new(Forward { connection, next: Arc::default() })))
            }
        }
    }
}

/// Turns a URL into a SPDY connection.
async fn upgrade(rim: &Rim, url: &str, protocol: &str) -> Result<Connection> {
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
    let (connection, driver) = Connection::new(TokioIo::new(upgraded).compat(), Role::Client);
    // Ends by itself when the last stream is dropped.
    rim.spawn.spawn("cri.session", driver.map(drop)).detach();
    Ok(connection)
}

/// The streams of an exec or attach. The server waits for all of them, so they are opened at once.
async fn process(rim: &Rim, url: &str, streams: Streams) -> Result<Session> {
    let connection = upgrade(rim, url, PROCESS).await?;
    let open = |wanted: bool, kind: &str| {
        let opened = wanted.then(|| connection.open(&Headers::of(&[("streamtype", kind)])));
        async move {
            match opened {
                Some(opened) => opened.await.map(Some),
                None => Ok(None),
            }
        }
    };
    let (errors, stdin, stdout, stderr, resize) = futures::try_join!(
        open(true, "error"),
        open(streams.stdin, "stdin"),
        open(streams.stdout, "stdout"),
        open(streams.stderr && !streams.tty, "stderr"),
        open(streams.tty, "resize"),
    )?;
    let output = |stream: Option<Stream>| stream.map(|stream| Box::new(stream.ends_with_reset()) as Box<_>);
    let exit = errors.map_or_else(|| unknown().boxed(), |errors| exit(errors).boxed());
    Ok(Session::Process(Process {
        stdin: stdin.map(|stdin| Box::new(stdin) as Box<_>),
        stdout: output(stdout),
        stderr: output(stderr),
        resize: resize.map(|resize| sizes(rim, resize)),
        exit,
    }))
}

async fn unknown() -> Exit {
    Exit::Failed("the end of the process is not known".into())
}

/// Sends sizes until nobody gives any more.
fn sizes(rim: &Rim, mut stream: Stream) -> mpsc::Sender<TermSize> {
    let (give, mut take) = mpsc::channel::<TermSize>(4);
    let forward = async move {
        while let Some(size) = take.next().await {
            let line = format!("{{\"Width\":{},\"Height\":{}}}\n", size.width, size.height);
            if stream.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    rim.spawn.spawn("cri.resize", forward).detach();
    give
}

/// Reads a Status from the error stream: it is there when the process has ended and its outputs have been sent.
async fn exit(errors: impl AsyncRead + Unpin) -> Exit {
    let mut text = Vec::new();
    // The stream may be reset after the status; without one the end is not known.
    let _ = errors.take(64 << 10).read_to_end(&mut text).await;
    let Ok(status) = serde_json::from_slice::<serde_json::Value>(&text) else {
        return match text.is_empty() {
            true => unknown().await,
            false => Exit::Failed(String::from_utf8_lossy(&text).into_owned()),
        };
    };
    if status["status"] == "Success" {
        return Exit::Code(0);
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code =
        causes.filter(|cause| cause["reason"] == "ExitCode").find_map(|cause| cause["message"].as_str()?.parse().ok());
    match code {
        Some(code) if status["reason"] == "NonZeroExitCode" => Exit::Code(code),
        _ => Exit::Failed(status["message"].as_str().unwrap_or("the process failed").to_owned()),
    }
}

/// Ports of a sandbox over one connection.
struct Forward {
    connection: Connection,
    next: Arc<AtomicU32>,
}

impl Ports for Forward {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        let connection = self.connection.clone();
        let request = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        async move {
            let port = port.to_string();
            let headers =
                |kind| Headers::of(&[("streamtype", kind), ("port", port.as_str()), ("requestid", request.as_str())]);
            let (mut errors, data) =
                futures::try_join!(connection.open(&headers("error")), connection.open(&headers("data")))?;
            // Nothing is ever said on this half.
            errors.close().await.map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot open a connection to a port").with_source(error)
            })?;
            Ok(Box::new(Forwarded { data: data.ends_with_reset(), errors: Some(errors), told: Vec::new() })
                as ByteStream)
        }
        .boxed()
    }
}

/// A connection to a port. What goes wrong at its other end is told on a stream of its own, and turned into an error of
/// reading where the data would end.
struct Forwarded<T> {
    data: T,
    errors: Option<Stream>,
    told: Vec<u8>,
}

mod forwarded {
    //! Reading and writing of a [`Forwarded`].

    use std::{
        io,
        pin::Pin,
        task::{Context, Poll, ready},
    };

    use futures::io::{AsyncRead, AsyncWrite};

    use super::Forwarded;

    impl<T: AsyncRead + Unpin> AsyncRead for Forwarded<T> {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            let this = &mut *self;
            let read = ready!(Pin::new(&mut this.data).poll_read(cx, buffer))?;
            if read > 0 || buffer.is_empty() {
                return Poll::Ready(Ok(read));
            }
            while let Some(errors) = &mut this.errors {
                let mut text = [0; 512];
                match ready!(Pin::new(errors).poll_read(cx, &mut text)) {
                    Ok(0) | Err(_) => this.errors = None,
                    Ok(len) => this.told.extend_from_slice(&text[..len]),
                }
            }
            match this.told.is_empty() {
                true => Poll::Ready(Ok(0)),
                false => Poll::Ready(Err(io::Error::other(String::from_utf8_lossy(&this.told).into_owned()))),
            }
        }
    }

    impl<T: AsyncWrite + Unpin> AsyncWrite for Forwarded<T> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.data).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.data).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.data).poll_close(cx)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn check(status: &str, expect: &Exit) {
        assert_eq!(exit(status.as_bytes()).now_or_never().as_ref(), Some(expect), "{status}");
    }

    #[test]
    fn a_status_tells_how_a_process_ended() {
        check(r#"{"metadata":{},"status":"Success"}"#, &Exit::Code(0));
        check(
            r#"{"status":"Failure","reason":"NonZeroExitCode","message":"m","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#,
            &Exit::Code(3),
        );
        check(r#"{"status":"Failure","message":"no such file"}"#, &Exit::Failed("no such file".into()));
        check("not a status", &Exit::Failed("not a status".into()));
        check("", &Exit::Failed("the end of the process is not known".into()));
    }
}
