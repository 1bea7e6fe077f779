//! Exec and attach over SPDY: which stream of a process is which stream of a connection.

use std::{future::pending, pin::pin, time::Duration};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt, FutureExt, select_biased};

use super::{Keeping, Output, Remote, Telling, carry, process::drain};
use crate::{
    clock::ClockExt,
    node::{Process, Streams},
    spdy::{Connection, ResetReason, Role, Stream},
};

/// How long a client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// How long a client may take to leave after it was told the end. Leaving first would cut off what it has not read yet.
const LEAVING: Duration = Duration::from_secs(10);

/// Carries a process over the streams of a SPDY connection.
pub async fn exec_over_spdy<T>(io: T, protocol: &str, process: Process, streams: Streams, keeping: &Keeping)
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (connection, driver) = Connection::new(io, Role::Server);
    // Sizes came with version 3.
    let sized = streams.tty && !matches!(protocol, "" | "channel.k8s.io" | "v2.channel.k8s.io");
    let session = async {
        let Some(Some(mut remote)) = keeping.clock.within(OPENING, collect(&connection, streams, sized)).await else {
            tracing::debug!("a client did not open the streams of its session");
            return;
        };
        carry(process, &mut remote, Telling::of(protocol)).await;
        let rest = async {
            if let Some(stdin) = &mut remote.stdin {
                drain(stdin).await;
            }
            pending::<()>().await;
        };
        // The streams stay until the client has gone: dropping them now would reset them.
        let _ = keeping.clock.within(LEAVING, rest).await;
    };
    let mut driver = pin!(driver.fuse());
    {
        let (mut session, mut stopped) = (pin!(session.fuse()), pin!(keeping.stop.wait().fuse()));
        select_biased! {
            _ = driver => return,
            () = stopped => {}
            () = session => {}
        }
    }
    connection.close();
    let _ = keeping.clock.within(LEAVING, driver).await;
}

/// Waits until the client has opened all streams that it asked for.
async fn collect(connection: &Connection, wanted: Streams, sized: bool) -> Option<Remote> {
    let (mut error, mut stdin, mut stdout, mut stderr, mut resize) = (None, None, None, None, None);
    loop {
        let complete = error.is_some()
            && stdin.is_some() == wanted.stdin
            && stdout.is_some() == wanted.stdout
            && stderr.is_some() == wanted.stderr
            && resize.is_some() == sized;
        if complete {
            let input = |stream: Stream| Box::new(stream.ends_with_reset()) as _;
            return Some(Remote {
                stdin: stdin.map(input),
                stdout: stdout.map(output),
                stderr: stderr.map(output),
                resize: resize.map(input),
                error: output(error?),
            });
        }
        let stream = connection.accept().await?;
        let slot = match stream.headers().get("streamtype").unwrap_or_default() {
            "error" => Some(&mut error),
            "stdin" if wanted.stdin => Some(&mut stdin),
            "stdout" if wanted.stdout => Some(&mut stdout),
            "stderr" if wanted.stderr => Some(&mut stderr),
            "resize" if sized => Some(&mut resize),
            _ => None,
        };
        match slot {
            Some(slot @ None) => *slot = Some(stream),
            _ => stream.reset(ResetReason::REFUSED_STREAM),
        }
    }
}

fn output(stream: Stream) -> Output {
    Box::pin(stream.into_sink())
}
