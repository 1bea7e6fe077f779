//! Port-forward: pairs of a data and an error stream, each pair one connection to a port of the pod.
//!
//! Over SPDY the client opens pairs as it needs them; over a WebSocket's channels there is one for each port asked for.

use std::{collections::BTreeMap, future::pending, io, pin::pin, time::Duration};

use bytes::Bytes;
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, SinkExt, StreamExt,
    future::{BoxFuture, join_all},
    io::copy,
    select_biased,
    stream::FuturesUnordered,
};
use windlass_kernel::{
    ClockExt, Result,
    api::Options,
    dial::ByteStream,
    node::Ports,
    spdy::{Connection, ResetReason, Role, Stream},
};

use super::{
    carry::{Input, Output, drain, pump},
    sessions::Rim,
    socket::{Channels, Socket},
};
use crate::errors;

/// How long half of a pair waits for the other.
const PAIRING: Duration = Duration::from_secs(30);
/// How long the last frames may take.
const LEAVING: Duration = Duration::from_secs(5);
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
pub(super) async fn over_socket(socket: Socket, protocol: &str, ports: &dyn Ports, asked: &[u16], rim: &Rim) {
    let mut channels = Channels::new(protocol);
    let mut pairs = Vec::new();
    for (channel, port) in (0u8..).step_by(2).zip(asked) {
        let data = (channels.input(channel), channels.output(channel));
        pairs.push(channel_pair(ports.connect(*port), *port, data, channels.output(channel + 1)));
    }
    channels.serve(socket, rim, join_all(pairs).map(drop)).await;
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

/// Forwards whatever pairs the client opens, until it or the server ends.
pub(super) async fn over_spdy<T>(io: T, ports: &dyn Ports, pod: &str, rim: &Rim)
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (connection, driver) = Connection::new(io, Role::Server);
    let mut driver = pin!(driver.fuse());
    {
        let (mut pairs, mut stopped) = (pin!(pairs(&connection, ports, pod, rim).fuse()), pin!(rim.stop.wait().fuse()));
        select_biased! {
            _ = driver => return,
            () = stopped => {}
            () = pairs => {}
        }
    }
    connection.close();
    let _ = rim.clock.within(LEAVING, driver).await;
}

#[derive(Debug, Default)]
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
}

async fn pairs(connection: &Connection, ports: &dyn Ports, pod: &str, rim: &Rim) {
    let mut halves: BTreeMap<String, Pair> = BTreeMap::new();
    // Connections, which end with nothing to say, and waits for the other half, which end with its name.
    let mut running: FuturesUnordered<BoxFuture<'_, Option<String>>> = FuturesUnordered::new();
    running.push(pending().boxed());
    loop {
        let mut accepting = pin!(connection.accept().fuse());
        let stream = select_biased! {
            stream = accepting => stream,
            ended = running.select_next_some() => {
                // Dropped streams are reset.
                ended.and_then(|name| halves.remove(&name));
                continue;
            }
        };
        let Some(stream) = stream else { return };
        let Some(name) = request_name(&stream) else {
            stream.reset(ResetReason::REFUSED_STREAM);
            continue;
        };
        if !halves.contains_key(&name) {
            let (waiting, name) = (rim.clock.sleep(PAIRING), name.clone());
            running.push(waiting.map(move |()| Some(name)).boxed());
        }
        let pair = halves.entry(name.clone()).or_default();
        if stream.headers().get("streamtype") == Some("error") {
            pair.error = Some(stream);
        } else {
            pair.data = Some(stream);
        }
        if pair.data.is_some()
            && pair.error.is_some()
            && let Some(Pair { data: Some(data), error: Some(error) }) = halves.remove(&name)
        {
            let port = data.headers().get("port").and_then(|port| port.parse().ok()).filter(|port| *port > 0);
            let connecting = port.map(|port| ports.connect(port));
            running.push(stream_pair(connecting, (data, error), pod, rim).map(|()| None).boxed());
        }
    }
}

/// What the two streams of a pair have in common.
fn request_name(stream: &Stream) -> Option<String> {
    match (stream.headers().get("requestid"), stream.headers().get("streamtype")?) {
        (Some(id), "data" | "error") => Some(id.to_owned()),
        // Old clients name none, and open the error stream just before its data stream.
        (None, "error") => Some(stream.id().to_string()),
        (None, "data") => Some(stream.id().checked_sub(2)?.to_string()),
        _ => None,
    }
}

async fn stream_pair(
    connecting: Option<BoxFuture<'static, Result<ByteStream>>>,
    (data, mut error): (Stream, Stream),
    pod: &str,
    rim: &Rim,
) {
    let port = data.headers().get("port").unwrap_or_default().to_owned();
    let (from, to) = data.split();
    let mut input: Input = Box::new(from);
    let mut output: Output = Box::pin(to.into_sink());
    let failed = match connecting {
        None => Some(format!("invalid port {port:?}")),
        Some(connecting) => match connecting.await {
            Ok(target) => forward(target, &mut input, &mut output).await.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        },
    };
    if let Some(why) = failed {
        let text = format!("error forwarding port {port} to pod {pod}: {why}");
        // The client may have gone, which ends the session anyway.
        let _ = error.write_all(text.as_bytes()).await;
    }
    let _ = error.close().await;
    let _ = output.close().await;
    // Dropping the stream before the client has ended its half would reset it.
    let _ = rim.clock.within(LEAVING, drain(&mut input)).await;
}

/// Carries both ways until the pod's side has ended. The end of the client's is passed on.
async fn forward(target: ByteStream, input: &mut Input, output: &mut Output) -> io::Result<()> {
    let (from, mut to) = target.split();
    let sending = async {
        // A target that takes no more may still have something to say.
        let _ = copy(input, &mut to).await;
        let _ = to.close().await;
    };
    let (mut sending, mut received) = (pin!(sending.fuse()), pin!(pump(from, output).fuse()));
    loop {
        select_biased! {
            done = received => return done,
            () = sending => {}
        }
    }
}
