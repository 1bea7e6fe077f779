//! Exec and attach over WebSockets: which stream of a process is which channel.

use futures::SinkExt;
use tokio::io::{AsyncRead, AsyncWrite};

use super::socket::{Channels, Socket};
use windlass_kernel::{
    carry::{Keeping, Remote, Telling, carry},
    node::{Process, Streams},
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Carries a process over the channels of a WebSocket.
pub(super) async fn over_socket<T>(
    socket: Socket<T>,
    protocol: &str,
    process: Process,
    streams: Streams,
    keeping: &Keeping,
) where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut channels = Channels::new(protocol);
    let mut remote = Remote {
        stdin: streams.stdin.then(|| channels.input(STDIN)),
        stdout: streams.stdout.then(|| channels.output(STDOUT)),
        stderr: streams.stderr.then(|| channels.output(STDERR)),
        resize: streams.tty.then(|| channels.input(RESIZE)),
        error: channels.output(ERROR),
    };
    let telling = Telling::of(protocol);
    let session = async move {
        // An empty message on the first channel tells the client that the session is open.
        let Remote { stdout, stderr, error, .. } = &mut remote;
        let first = stdout.as_mut().or(stderr.as_mut()).unwrap_or(error);
        if first.send(bytes::Bytes::new()).await.is_ok() {
            carry(process, &mut remote, telling).await;
        }
    };
    channels.serve(socket, keeping, session).await;
}
