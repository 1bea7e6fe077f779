//! Carries bytes between a process and a client, whatever frames them, and says how the process ended.

use std::{fmt, io, pin::Pin, pin::pin};

use bytes::Bytes;
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, Sink, SinkExt, channel::mpsc, future::join,
    io::copy, select_biased,
};
use serde::Deserialize;
use serde_json::{Deserializer, Value, json};

use crate::node::{Exit, Process, TermSize};

/// Bytes to a client. Closing it ends the stream, where the framing knows ends.
pub type Output = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;

/// Bytes from a client.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;

/// How much is read at once.
const CHUNK: usize = 32 * 1024;

/// A text longer than this is no terminal's size.
const SIZE_LIMIT: usize = 4096;

/// The client's end of a process.
pub struct Remote {
    /// What it gives the process.
    pub stdin: Option<Input>,
    /// Where the output goes.
    pub stdout: Option<Output>,
    /// Where the second output goes.
    pub stderr: Option<Output>,
    /// Sizes of its terminal, as JSON.
    pub resize: Option<Input>,
    /// Where the end of the process is told.
    pub error: Output,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// How the end of a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// As a Status in JSON, success too.
    Status,
    /// As a text, and failures only.
    Text,
}

impl Telling {
    /// What a protocol wants: from version 4 on it is a Status.
    #[must_use]
    pub fn of(protocol: &str) -> Self {
        if protocol.starts_with("v5.") || protocol.starts_with("v4.") { Self::Status } else { Self::Text }
    }

    fn tell(self, exit: &Exit) -> Bytes {
        let message = match exit {
            Exit::Code(0) => String::new(),
            Exit::Code(code) => format!("command terminated with non-zero exit code: exit status {code}"),
            Exit::Failed(why) => format!("Internal error occurred: {why}"),
        };
        match self {
            Self::Text => message.into(),
            Self::Status => status(exit, &message).to_string().into(),
        }
    }
}

fn status(exit: &Exit, message: &str) -> Value {
    match exit {
        Exit::Code(0) => json!({"metadata": {}, "status": "Success"}),
        Exit::Code(code) => json!({
            "metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Exit::Failed(why) => json!({
            "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
            "details": {"causes": [{"message": why}]}, "code": 500,
        }),
    }
}

/// Runs a session until its process has ended and the client was told so.
///
/// Input that comes later, or that nobody wants, goes nowhere: it must not stop what else the client sends.
pub async fn carry(process: Process, remote: &mut Remote, telling: Telling) {
    let Process { stdin, stdout, stderr, resize, exit } = process;
    let outputs = join(output(stdout, remote.stdout.as_mut()), output(stderr, remote.stderr.as_mut()));
    let mut running = pin!(join(outputs, exit).map(|(_, exit)| exit).fuse());
    let inputs = join(input(remote.stdin.as_mut(), stdin), sizes(remote.resize.as_mut(), resize));
    let mut fed = pin!(inputs.fuse());
    let exit = loop {
        select_biased! {
            exit = running => break exit,
            _ = fed => {}
        }
    };
    let told = telling.tell(&exit);
    if !told.is_empty() {
        // A client that is not there needs no telling.
        let _ = remote.error.send(told).await;
    }
    let _ = remote.error.close().await;
}

/// Sends what is read until it ends, then says that it ended. A client that takes no more breaks the reader's pipe.
///
/// # Errors
///
/// Those of reading, and of the client's stream.
pub async fn pump(mut from: impl AsyncRead + Unpin, to: &mut Output) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.close().await;
        }
        to.send(Bytes::copy_from_slice(&buffer[..count])).await?;
    }
}

async fn output(from: Option<Input>, to: Option<&mut Output>) {
    match (from, to) {
        (Some(from), Some(to)) => {
            if let Err(error) = pump(from, to).await {
                tracing::debug!(%error, "an output of a session broke");
            }
        }
        // A stream that the process lacks is at its end.
        (None, Some(to)) => drop(to.close().await),
        (_, None) => {}
    }
}

async fn input(from: Option<&mut Input>, to: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    let Some(from) = from else { return };
    if let Some(mut to) = to {
        // A process that has stopped reading is not an error, and neither is a client that left.
        let _ = copy(&mut *from, &mut to).await;
        let _ = to.close().await;
    }
    drain(from).await;
}

/// Reads to the end, for nothing.
pub async fn drain(from: &mut Input) {
    let _ = copy(from, &mut futures::io::sink()).await;
}

async fn sizes(from: Option<&mut Input>, to: Option<mpsc::Sender<TermSize>>) {
    let Some(from) = from else { return };
    if let Some(mut to) = to {
        let (mut buffer, mut text) = (vec![0; 1024], Vec::new());
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            text.extend_from_slice(&buffer[..count]);
            for size in take_sizes(&mut text) {
                if to.send(size).await.is_err() {
                    return drain(from).await;
                }
            }
            if text.len() > SIZE_LIMIT {
                text.clear();
            }
        }
    }
    drain(from).await;
}

#[derive(Deserialize)]
struct WireSize {
    #[serde(rename = "Width", alias = "width", default)]
    width: u16,
    #[serde(rename = "Height", alias = "height", default)]
    height: u16,
}

/// Takes the sizes that are complete off the front of a text.
fn take_sizes(text: &mut Vec<u8>) -> Vec<TermSize> {
    let mut sizes = Deserializer::from_slice(text).into_iter::<WireSize>();
    let mut found = Vec::new();
    let mut used = 0;
    loop {
        match sizes.next() {
            Some(Ok(WireSize { width, height })) => found.push(TermSize { width, height }),
            Some(Err(error)) if error.is_eof() => break,
            // What makes no sense now will not later.
            Some(Err(_)) | None => {
                used = text.len();
                break;
            }
        }
        used = sizes.byte_offset();
    }
    text.drain(..used);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_become_complete() {
        let mut text = br#"{"Width":80,"Height":24}
            {"width":1,"height":2}{"Width":3,"#
            .to_vec();
        let size = |width, height| TermSize { width, height };
        assert_eq!(take_sizes(&mut text), [size(80, 24), size(1, 2)]);
        assert_eq!(take_sizes(&mut text), []);
        text.extend_from_slice(br#""Height":4}"#);
        assert_eq!(take_sizes(&mut text), [size(3, 4)]);
        text.extend_from_slice(b"nonsense");
        assert_eq!(take_sizes(&mut text), []);
        assert!(text.is_empty());
    }

    #[test]
    fn the_end_of_a_process_is_told_as_its_protocol_says() {
        for (protocol, exit, expect) in [
            ("v5.channel.k8s.io", Exit::Code(0), r#"{"metadata":{},"status":"Success"}"#),
            ("channel.k8s.io", Exit::Code(0), ""),
            ("", Exit::Code(3), "command terminated with non-zero exit code: exit status 3"),
        ] {
            assert_eq!(Telling::of(protocol).tell(&exit), expect);
        }
        let told: Value = serde_json::from_slice(&Telling::Status.tell(&Exit::Code(3))).unwrap();
        assert_eq!(told["reason"], "NonZeroExitCode");
        assert_eq!(told["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
    }
}
