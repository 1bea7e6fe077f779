//! Port-forward over SPDY: pairs of a data and an error stream that the client opens as it needs them, each pair one connection to
//! a port.

use std::{collections::BTreeMap, future::pending, io, pin::pin, time::Duration};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, SinkExt, StreamExt, future::BoxFuture, io::copy,
    select_biased, stream::FuturesUnordered,
};

use super::{Input, Keeping, Output, process::drain, pump};
use crate::{
    clock::ClockExt,
    dial::ByteStream,
    error::Result,
    node::Ports,
    spdy::{Connection, ResetReason, Role, Stream},
};

/// How long half of a pair waits for the other.
const PAIRING: Duration = Duration::from_secs(30);
/// How long the last frames may take.
const LEAVING: Duration = Duration::from_secs(5);

/// Forwards whatever pairs the client opens, until it or the server ends.
pub async fn ports_over_spdy<T>(io: T, ports: &dyn Ports, pod: &str, keeping: &Keeping)
where
    T: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (connection, driver) = Connection::new(io, Role::Server);
    let mut driver = pin!(driver.fuse());
    {
        let (mut pairs, mut stopped) =
            (pin!(pairs(&connection, ports, pod, keeping).fuse()), pin!(keeping.stop.wait().fuse()));
        select_biased! {
            _ = driver => return,
            () = stopped => {}
            () = pairs => {}
        }
    }
    connection.close();
    let _ = keeping.clock.within(LEAVING, driver).await;
}

#[derive(Debug, Default)]
struct Pair {
    data: Option<Stream>,
    error: Option<Stream>,
}

async fn pairs(connection: &Connection, ports: &dyn Ports, pod: &str, keeping: &Keeping) {
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
            let (waiting, name) = (keeping.clock.sleep(PAIRING), name.clone());
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
            running.push(stream_pair(connecting, (data, error), pod, keeping).map(|()| None).boxed());
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
    keeping: &Keeping,
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
    let _ = keeping.clock.within(LEAVING, drain(&mut input)).await;
}

/// Carries both ways until the pod's side has ended. The end of the client's is passed on.
///
/// # Errors
///
/// Those of reading from the pod, and of writing to the client.
pub async fn forward(target: ByteStream, input: &mut Input, output: &mut Output) -> io::Result<()> {
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
