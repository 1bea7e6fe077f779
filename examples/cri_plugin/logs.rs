//! What a container writes: to its log in CRI's format, and to the sessions that are attached.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use futures::channel::mpsc;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use windlass::kernel::{Clock, Error, ErrorKind, Result};

/// What a session hears.
pub(crate) type Heard = mpsc::UnboundedSender<io::Result<Vec<u8>>>;

#[derive(Default)]
struct Open {
    file: Option<File>,
    attached: Vec<(&'static str, Heard)>,
}

/// A container's log. Without a path nothing is kept.
pub(crate) struct Log {
    path: Option<PathBuf>,
    open: Mutex<Open>,
}

impl Log {
    pub(crate) fn at(path: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { path, open: Mutex::default() })
    }

    /// Opens the file at the path, a new one if there is none.
    pub(crate) fn reopen(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("cannot open the log {}", path.display())).with_source(error)
        })?;
        self.lock().file = Some(file);
        Ok(())
    }

    /// Lets a session hear one of the two streams.
    pub(crate) fn attach(&self, stream: &'static str) -> mpsc::UnboundedReceiver<io::Result<Vec<u8>>> {
        let (give, take) = mpsc::unbounded();
        self.lock().attached.push((stream, give));
        take
    }

    /// Nothing comes any more: sessions end.
    pub(crate) fn end(&self) {
        self.lock().attached.clear();
    }

    /// Copies an output, line by line, until it ends.
    pub(crate) async fn copy(&self, stream: &'static str, output: impl AsyncRead + Unpin, clock: &dyn Clock) {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line).await, Ok(1..)) {
            self.write(stream, &line, clock);
            line.clear();
        }
    }

    fn write(&self, stream: &'static str, line: &[u8], clock: &dyn Clock) {
        let mut open = self.lock();
        open.attached.retain(|(wanted, heard)| *wanted != stream || heard.unbounded_send(Ok(line.to_vec())).is_ok());
        let Some(file) = &mut open.file else { return };
        let (tag, text) = line.strip_suffix(b"\n").map_or(("P", line), |text| ("F", text));
        let mut record = format!("{} {stream} {tag} ", clock.now()).into_bytes();
        record.extend(text);
        record.push(b'\n');
        if let Err(error) = file.write_all(&record) {
            eprintln!("a log is not written any more: {error}");
            open.file = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
