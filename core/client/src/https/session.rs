//! Sessions over WebSockets: exec and attach (`v5.channel.k8s.io`) and port-forward (`v4.channel.k8s.io`).
//!
//! Every message begins with the number of its channel. Proxying is not supported.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{BoxFuture, pending},
    pin_mut, select_biased,
    stream::{SplitSink, SplitStream},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use tokio_util::compat::TokioAsyncReadCompatExt;
use windlass_kernel::{
    Result, Spawn, SpawnExt,
    api::Request,
    carry::ends_as_told,
    dial::ByteStream,
    node::{Exit, Ports, Process, Session, TermSize},
};

use super::{
    connect::{Server, Stream},
    url,
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// Its one byte names a channel that ends.
const CLOSE: u8 = 255;
const PORT_DATA: u8 = 0;

/// How many bytes may wait on their way in or out.
const BUFFER: usize = 64 * 1024;

type Socket = WebSocketStream<Stream>;

/// Opens an exec or attach session.
pub(super) async fn process(
    server: &Server,
    spawn: &Arc<dyn Spawn>,
    request: &Request,
    message: &url::Message,
) -> Result<Session> {
    let socket = server.upgrade(message, "v5.channel.k8s.io").await?;
    let wanted = |name: &str| matches!(request.options.parameter(name), Some("true" | "1"));
    let pipe = |name: &str| wanted(name).then(|| duplex(BUFFER)).unzip();
    let ((stdin, input), (stdout, out), (stderr, err)) = (pipe("stdin"), pipe("stdout"), pipe("stderr"));
    let (resize, sizes) = wanted("tty").then(|| mpsc::channel(1)).unzip();
    let (give, take) = oneshot::channel();
    let task = spawn.spawn("client.session", async move {
        let exit = run(socket, input, sizes, [out, err]).await;
        // Nobody asks how it ended.
        let _ = give.send(exit);
    });
    Ok(Session::Process(Process {
        stdin: stdin.map(|near| Box::new(near.compat()) as _),
        stdout: stdout.map(|near| Box::new(near.compat()) as _),
        stderr: stderr.map(|near| Box::new(near.compat()) as _),
        resize,
        exit: Box::pin(async move {
            let exit = take.await.unwrap_or_else(|_| Exit::Failed("the session was ended".into()));
            drop(task);
            exit
        }),
    }))
}

async fn run(
    socket: Socket,
    input: Option<DuplexStream>,
    sizes: Option<mpsc::Receiver<TermSize>>,
    mut outputs: [Option<DuplexStream>; 2],
) -> Exit {
    let (sink, mut stream) = socket.split();
    let sent = send(sink, input, sizes).fuse();
    let received = receive(&mut stream, &mut outputs).fuse();
    pin_mut!(sent, received);
    loop {
        select_biased! {
            exit = received => return exit,
            // The server ends a session by closing it, which is heard above.
            () = sent => {}
        }
    }
}

async fn send(
    mut sink: SplitSink<Socket, Message>,
    mut input: Option<DuplexStream>,
    mut sizes: Option<mpsc::Receiver<TermSize>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let (channel, data) = {
            let read = read(input.as_mut(), &mut buffer).fuse();
            let size = size(sizes.as_mut()).fuse();
            pin_mut!(read, size);
            select_biased! {
                size = size => match size {
                    Some(TermSize { width, height }) => (RESIZE, json!({"Width": width, "Height": height}).to_string().into()),
                    None => (RESIZE, Bytes::new()),
                },
                read = read => (STDIN, read),
            }
        };
        let frame = match (channel, data.is_empty()) {
            (STDIN, true) => {
                input = None;
                frame(CLOSE, &[STDIN])
            }
            (_, true) => {
                sizes = None;
                continue;
            }
            (channel, false) => frame(channel, &data),
        };
        if sink.send(frame).await.is_err() {
            return;
        }
    }
}

/// What is to be sent; empty at the end of the input.
async fn read(input: Option<&mut DuplexStream>, buffer: &mut [u8]) -> Bytes {
    let Some(input) = input else { return pending().await };
    let count = input.read(buffer).await.unwrap_or(0);
    Bytes::copy_from_slice(&buffer[..count])
}

async fn size(sizes: Option<&mut mpsc::Receiver<TermSize>>) -> Option<TermSize> {
    match sizes {
        Some(sizes) => sizes.next().await,
        None => pending().await,
    }
}

async fn receive(stream: &mut SplitStream<Socket>, outputs: &mut [Option<DuplexStream>; 2]) -> Exit {
    let mut exit = Exit::Failed("the connection ended before the command".into());
    while let Some(Ok(message)) = stream.next().await {
        let Message::Binary(data) = message else { continue };
        match data.split_first() {
            Some((&(STDOUT | STDERR), text)) => {
                let output = &mut outputs[usize::from(data[0] - STDOUT)];
                write(output, text).await;
            }
            Some((&STATUS, status)) => exit = read_status(status),
            Some(_) | None => {}
        }
    }
    outputs.iter_mut().for_each(|output| drop(output.take()));
    exit
}

/// Writes to somebody who may have gone.
async fn write(output: &mut Option<DuplexStream>, data: &[u8]) {
    if let Some(open) = output
        && open.write_all(data).await.is_err()
    {
        *output = None;
    }
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

/// How a command ended, from the Status that the server sends last.
fn read_status(status: &[u8]) -> Exit {
    let status: Value = serde_json::from_slice(status).unwrap_or_default();
    if status["status"] == "Success" {
        return Exit::Code(0);
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let mut codes = causes.filter(|cause| cause["reason"] == "ExitCode");
    let code = codes.find_map(|cause| cause["message"].as_str()?.parse().ok());
    match code {
        Some(code) if status["reason"] == "NonZeroExitCode" => Exit::Code(code),
        _ => Exit::Failed(status["message"].as_str().unwrap_or("the server did not say why").into()),
    }
}

/// Ports of a pod, each connection over a socket of its own.
pub(super) struct RemotePorts {
    pub(super) server: Arc<Server>,
    pub(super) spawn: Arc<dyn Spawn>,
    pub(super) message: url::Message,
}

impl Ports for RemotePorts {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        let (server, spawn, mut message) = (Arc::clone(&self.server), Arc::clone(&self.spawn), self.message.clone());
        let path = message.target.split('?').next().unwrap_or_default();
        message.target = format!("{path}?ports={port}");
        Box::pin(async move {
            let socket = server.upgrade(&message, "v4.channel.k8s.io").await?;
            let (near, far) = duplex(BUFFER);
            let (tell, told) = oneshot::channel();
            // Ends with either side of the connection.
            spawn.start("client.port", Box::pin(forward(socket, far, tell)));
            Ok(ends_as_told(near.compat(), told.map(Result::ok).boxed()))
        })
    }
}

async fn forward(socket: Socket, far: DuplexStream, tell: oneshot::Sender<String>) {
    let (sink, mut stream) = socket.split();
    let (reader, writer) = tokio::io::split(far);
    let sent = upload(sink, reader).fuse();
    let received = async move {
        let (mut writer, mut greeted) = (writer, false);
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(data) = message else { continue };
            match data.split_first() {
                // The first message of each channel only names the port.
                Some((&PORT_DATA, _)) if !greeted => greeted = true,
                Some((&PORT_DATA, data)) if writer.write_all(data).await.is_ok() => {}
                Some((&PORT_DATA, _)) => return,
                Some((_, error)) if error.len() > 2 => {
                    // Whoever asked may have gone.
                    let _ = tell.send(String::from_utf8_lossy(error).into_owned());
                    return;
                }
                Some(_) | None => {}
            }
        }
    }
    .fuse();
    pin_mut!(sent, received);
    select_biased! {
        () = received => {}
        () = sent => {}
    }
}

/// Sends until the connection's owner is done. The protocol cannot say that only one direction ended.
async fn upload(mut sink: SplitSink<Socket, Message>, mut reader: tokio::io::ReadHalf<DuplexStream>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        if sink.send(frame(PORT_DATA, &buffer[..count])).await.is_err() {
            return;
        }
    }
    // A refused farewell is a connection that is gone.
    let _ = sink.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_how_a_command_ended() {
        let code = json!({"status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
        for (status, expect) in [
            (json!({"status": "Success"}), Exit::Code(0)),
            (code, Exit::Code(3)),
            (json!({"status": "Failure", "message": "no such container"}), Exit::Failed("no such container".into())),
        ] {
            assert_eq!(read_status(status.to_string().as_bytes()), expect);
        }
    }
}
