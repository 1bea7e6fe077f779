//! Port-forward over a WebSocket's channels: a pair of a data and an error channel for each port asked for. Over SPDY the kernel
//! carries it.

use bytes::Bytes;
use futures::{
    FutureExt, SinkExt,
    future::{BoxFuture, join_all},
};
use windlass_kernel::{
    Result,
    api::Options,
    carry::{Input, Keeping, Output, forward},
    dial::ByteStream,
    node::Ports,
};

use super::socket::{Channels, Socket};
use crate::errors;

/// More ports than this have no channels: two each, and one byte to number them.
const MOST: usize = 127;

/// The ports that a query names, one by one or with commas between.
pub(super) fn asked(options: &Options) -> Result<Vec<u16>> {
    let named = options.query.iter().filter(|(key, _)| key == "ports");
    let texts = named.flat_map(|(_, value)| value.split(',')).filter(|text| !text.is_empty());
    let ports = texts.map(|text| {
        let port = text.parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| errors::bad_request(format!("invalid port {text:?}: must be from 1 to 65535")))
    });
    let ports: Vec<u16> = ports.collect::<Result<_>>()?;
    match ports.len() {
        0 => Err(errors::bad_request("query parameter \"ports\" is required")),
        1..=MOST => Ok(ports),
        _ => Err(errors::bad_request(format!("no more than {MOST} ports can be forwarded at once"))),
    }
}

/// Forwards the ports asked for over the channels of a WebSocket. Ends when the last connection has.
pub(super) async fn over_socket(socket: Socket, protocol: &str, ports: &dyn Ports, asked: &[u16], keeping: &Keeping) {
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
