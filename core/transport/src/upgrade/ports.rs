//! Port-forward over a WebSocket's channels: a pair of a data and an error channel for each port asked for.

use bytes::Bytes;
use futures::{
    FutureExt, SinkExt,
    future::{BoxFuture, join_all},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::socket::{Channels, Socket};
use windlass_kernel::{
    carry::{Input, Keeping, Output, forward},
    dial::ByteStream,
    error::{Error, ErrorKind, Result},
    node::Ports,
};

/// More ports than this have no channels: two each, and one byte to number them.
const MOST: usize = 127;

/// The ports that a parameter of a query names, one by one or with commas between.
///
/// # Errors
///
/// [`BadRequest`](ErrorKind::BadRequest) where it names none, too many, or what is no port.
pub fn named_ports<'a>(parameter: &str, values: impl Iterator<Item = &'a str>) -> Result<Vec<u16>> {
    let bad = |message: String| Error::new(ErrorKind::BadRequest, message);
    let texts = values.flat_map(|value| value.split(',')).filter(|text| !text.is_empty());
    let ports = texts.map(|text| {
        let port = text.parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| bad(format!("invalid port {text:?}: must be from 1 to 65535")))
    });
    let ports: Vec<u16> = ports.collect::<Result<_>>()?;
    match ports.len() {
        0 => Err(bad(format!("query parameter {parameter:?} is required"))),
        1..=MOST => Ok(ports),
        _ => Err(bad(format!("no more than {MOST} ports can be forwarded at once"))),
    }
}

/// Forwards the ports asked for over the channels of a WebSocket. Ends when the last connection has.
pub(super) async fn over_socket<T>(
    socket: Socket<T>,
    protocol: &str,
    ports: &dyn Ports,
    asked: &[u16],
    keeping: &Keeping,
) where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut channels = Channels::new(protocol);
    let mut pairs = Vec::new();
    for (channel, port) in (0u8..).step_by(2).zip(asked) {
        let data = (channels.input(channel), channels.output(channel));
        pairs.push(channel_pair(ports.connect(*port), *port, data, channels.output(channel + 1)));
    }
    channels.serve(socket, keeping, join_all(pairs).map(drop)).await;
}

async fn channel_pair(
    connecting: BoxFuture<'static, Result<ByteStream>>,
    port: u16,
    (mut input, mut output): (Input, Output),
    mut error: Output,
) {
    let name = Bytes::copy_from_slice(&port.to_le_bytes());
    if output.send(name.clone()).await.is_err() || error.send(name).await.is_err() {
        return;
    }
    let failed = match connecting.await {
        Ok(target) => forward(target, &mut input, &mut output).await.err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = failed {
        // The client may have gone, which ends the session anyway.
        let _ = error.send(format!("error forwarding port {port}: {why}").into()).await;
    }
}
