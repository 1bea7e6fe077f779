//! The client's end of sessions over SPDY: what an exec, attach or port-forward of another server becomes here.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt,
    channel::mpsc,
    future::BoxFuture,
    io::{AsyncRead, AsyncWrite},
};

use super::ends_as_told;
use crate::{
    dial::ByteStream,
    error::{Error, ErrorKind, Result},
    node::{Exit, Ports, Process, Session, Streams, TermSize},
    spawn::{Spawn, SpawnExt},
    spdy::{Connection, Headers, Role, Stream},
};

/// The header that names protocols of sessions over SPDY: those that a client speaks, then the one that is spoken.
pub const PROTOCOL_HEADER: &str = "x-stream-protocol-version";
/// The protocol of exec and attach whose exit is a Status in JSON, which [`process_from_spdy`] speaks.
pub const PROCESS_PROTOCOL: &str = "v4.channel.k8s.io";
/// The protocol of port-forward, which [`ports_from_spdy`] speaks.
pub const PORTS_PROTOCOL: &str = "portforward.k8s.io";

/// A process whose server speaks SPDY on `io`, after the HTTP upgrade: exec or attach.
///
/// The server waits for all streams, so they are opened at once.
///
/// # Errors
///
/// Those of the connection.
pub async fn process_from_spdy<T>(io: T, streams: Streams, spawn: &Arc<dyn Spawn>) -> Result<Session>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connection = connect(io, spawn);
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
        resize: resize.map(|resize| sizes(spawn, resize)),
        exit,
    }))
}

async fn unknown() -> Exit {
    Exit::Failed("the end of the process is not known".into())
}

/// Sends sizes until nobody gives any more.
fn sizes(spawn: &Arc<dyn Spawn>, mut stream: Stream) -> mpsc::Sender<TermSize> {
    let (give, mut take) = mpsc::channel::<TermSize>(4);
    let forward = async move {
        while let Some(size) = take.next().await {
            let line = format!("{{\"Width\":{},\"Height\":{}}}\n", size.width, size.height);
            if stream.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    spawn.spawn("session.resize", forward).detach();
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

/// Ports of a pod whose server speaks SPDY on `io`, after the HTTP upgrade: one connection carries all.
pub fn ports_from_spdy<T>(io: T, spawn: &Arc<dyn Spawn>) -> Session
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Session::Ports(Box::new(Forward { connection: connect(io, spawn), next: Arc::default() }))
}

fn connect<T>(io: T, spawn: &Arc<dyn Spawn>) -> Connection
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (connection, driver) = Connection::new(io, Role::Client);
    // Ends by itself when the last stream is dropped.
    spawn.spawn("session.spdy", driver.map(drop)).detach();
    connection
}

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
            Ok(ends_as_told(data.ends_with_reset(), said(errors).boxed()))
        }
        .boxed()
    }
}

/// What was said on the stream for errors, once the data has ended.
async fn said(mut errors: Stream) -> Option<String> {
    let mut text = Vec::new();
    // What came before it broke was said.
    let _ = (&mut errors).take(64 << 10).read_to_end(&mut text).await;
    (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
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
