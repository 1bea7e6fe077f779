//! A WebSocket whose messages are those of channels: shares out what comes in, gathers what goes out, keeps it alive.

use std::{collections::BTreeMap, future::ready, io, pin::pin, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt, TryStreamExt, channel::mpsc, select_biased};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::frames::Encoding;
use windlass_kernel::{
    carry::{Input, Keeping, Output},
    clock::ClockExt,
};

/// A WebSocket over a connection that was upgraded.
pub type Socket<T> = WebSocketStream<T>;

/// The largest message that is read. Clients send what they have at once.
const MESSAGE: usize = 16 << 20;
/// How many messages of a channel wait for their reader.
const WAITING: usize = 8;
/// How often a silent client is asked for a sign of life, so that nothing on the way forgets the connection.
const PING: Duration = Duration::from_secs(30);
/// How long a client may take to answer a goodbye.
const GOODBYE: Duration = Duration::from_secs(5);
/// Its one byte names a channel that the client ends (`v5.channel.k8s.io`).
const CLOSE: u8 = 255;

/// The server's end of a WebSocket, on a connection that was upgraded.
pub async fn open<T: AsyncRead + AsyncWrite + Send + Unpin>(io: T) -> Socket<T> {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// The channels of a socket, before it is served.
#[derive(Debug)]
pub struct Channels {
    encoding: Encoding,
    inputs: BTreeMap<u8, mpsc::Sender<Bytes>>,
    closable: bool,
    sender: mpsc::Sender<Message>,
    messages: mpsc::Receiver<Message>,
}

impl Channels {
    /// No channels yet, of the protocol of that name.
    #[must_use]
    pub fn new(protocol: &str) -> Self {
        let (sender, messages) = mpsc::channel(WAITING);
        let closable = protocol.starts_with("v5.");
        Self { encoding: Encoding::of(protocol), inputs: BTreeMap::new(), closable, sender, messages }
    }

    /// What the client sends on a channel.
    pub fn input(&mut self, channel: u8) -> Input {
        let (give, take) = mpsc::channel(WAITING);
        self.inputs.insert(channel, give);
        Box::new(take.map(Ok::<_, io::Error>).into_async_read())
    }

    /// What goes to the client on a channel.
    #[must_use]
    pub fn output(&self, channel: u8) -> Output {
        let encoding = self.encoding;
        self.raw(move |bytes| encoding.frame(channel, &bytes))
    }

    /// What goes to the client without a channel.
    #[must_use]
    pub fn whole(&self) -> Output {
        let encoding = self.encoding;
        self.raw(move |bytes| encoding.whole(bytes))
    }

    fn raw(&self, message: impl Fn(Bytes) -> Message + Send + 'static) -> Output {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        let sink = self.sender.clone().sink_map_err(gone);
        Box::pin(sink.with(move |bytes| ready(Ok::<_, io::Error>(message(bytes)))))
    }

    /// Carries messages while `session` uses the channels. Ends with the session, the client or the server; what the
    /// session sent before its end goes out.
    pub async fn serve<T>(self, socket: Socket<T>, keeping: &Keeping, session: impl Future<Output = ()>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let Self { encoding, mut inputs, closable, sender, mut messages } = self;
        // Only the session's own senders keep the socket open.
        drop(sender);
        let (mut sink, mut stream) = socket.split();
        {
            let reading = async {
                while let Some(Ok(message)) = stream.next().await {
                    match encoding.read(message) {
                        Some((CLOSE, data)) if closable => {
                            drop(data.first().and_then(|channel| inputs.remove(channel)))
                        }
                        Some((channel, data)) => {
                            // An empty message would read as the end.
                            if let Some(input) = inputs.get_mut(&channel).filter(|_| !data.is_empty()) {
                                // Whoever read the channel may have stopped.
                                let _ = input.send(data).await;
                            }
                        }
                        None => {}
                    }
                }
            };
            let mut reading = pin!(reading.fuse());
            let why = {
                let writing = async {
                    loop {
                        let message = select_biased! {
                            message = messages.next() => match message {
                                Some(message) => message,
                                None => return Ok(()),
                            },
                            () = keeping.clock.sleep(PING).fuse() => Message::Ping(Bytes::new()),
                        };
                        sink.send(message).await?;
                    }
                };
                let (mut writing, mut session) = (pin!(writing.fuse()), pin!(session.fuse()));
                let mut stopped = pin!(keeping.stop.wait().fuse());
                loop {
                    let sent: Result<(), tokio_tungstenite::tungstenite::Error> = select_biased! {
                        () = reading => return,
                        () = stopped => break CloseCode::Away,
                        sent = writing => sent,
                        () = session => continue,
                    };
                    match sent {
                        Ok(()) => break CloseCode::Normal,
                        Err(_) => return,
                    }
                }
            };
            let close = CloseFrame { code: why, reason: "".into() };
            let goodbye = async {
                if sink.send(Message::Close(Some(close))).await.is_ok() {
                    reading.await;
                }
            };
            // The connection ends in either case.
            let _ = keeping.clock.within(GOODBYE, goodbye).await;
        }
        // Without it, TLS would take the end for one that somebody forced.
        if let Ok(mut socket) = sink.reunite(stream) {
            let _ = keeping.clock.within(GOODBYE, socket.get_mut().shutdown()).await;
        }
    }
}
