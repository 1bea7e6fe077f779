//! Sessions into a pod: exec, attach and port-forward, as plain byte streams. Framing is the servers' business.

use std::fmt;

use futures::{
    channel::mpsc,
    future::BoxFuture,
    io::{AsyncRead, AsyncWrite},
};

use crate::{controller::ObjectKey, dial::ByteStream, error::Result};

/// What kind of session to open, and into what.
#[derive(Clone, Debug)]
pub enum SessionRequest {
    /// Runs a command in a container (`PodExecOptions`).
    Exec {
        /// The pod.
        pod: ObjectKey,
        /// The pod's uid.
        uid: String,
        /// The container's name.
        container: String,
        /// The command and its arguments.
        command: Vec<String>,
        /// Which streams are wanted.
        streams: Streams,
    },
    /// Joins a container's main process (`PodAttachOptions`).
    Attach {
        /// The pod.
        pod: ObjectKey,
        /// The pod's uid.
        uid: String,
        /// The container's name.
        container: String,
        /// Which streams are wanted.
        streams: Streams,
    },
    /// Opens connections to ports of a pod (`PodPortForwardOptions`).
    PortForward {
        /// The pod.
        pod: ObjectKey,
        /// The pod's uid.
        uid: String,
    },
}

/// Which streams a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error. Never with a terminal.
    pub stderr: bool,
    /// Whether a terminal is allocated.
    pub tty: bool,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With an exit code; 0 is success.
    Code(i32),
    /// It could not be run, or its end is not known.
    Failed(String),
}

/// An open session. Dropping it ends it.
pub enum Session {
    /// A process: exec or attach.
    Process(Process),
    /// Ports of a pod.
    Ports(Box<dyn Ports>),
}

/// The streams of a process.
pub struct Process {
    /// Standard input, where asked for. Closing it is the end of the input.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output, where asked for.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Standard error, where asked for.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Where changes of the terminal's size go.
    pub resize: Option<mpsc::Sender<TermSize>>,
    /// How it ended. Ready after the outputs have ended.
    pub exit: BoxFuture<'static, Exit>,
}

/// Opens connections to ports of a pod.
pub trait Ports: Send + Sync {
    /// Connects to a TCP port inside the pod.
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>>;
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(process) => process.fmt(f),
            Self::Ports(_) => f.write_str("Ports"),
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("stdin", &self.stdin.is_some())
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .finish_non_exhaustive()
    }
}
