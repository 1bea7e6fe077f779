//! Reads a container's log file, and goes on with what is written later.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use event_listener::EventListener;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either, select},
    stream,
};
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, SpawnExt,
    api::Chunks,
    node::LogRequest,
    runtime::{ContainerFilter, ContainerId, ContainerState},
};

use super::record::{Printer, tail_start};
use crate::{
    agent::{Handle, Inner, uid_of},
    arrivals::Watched,
    make::labels,
};

/// A follower looks for more so often where the kernel does not tell of what is written.
const PAUSE: Duration = Duration::from_secs(1);
/// What is read at once.
const CHUNK: usize = 64 << 10;

/// Opens a log.
pub(crate) async fn logs(inner: &Arc<Inner>, request: LogRequest) -> Result<Chunks> {
    let uid = uid_of(inner, &request.pod, &request.uid)?;
    let labels =
        [(labels::UID.to_owned(), uid.clone()), (labels::CONTAINER.to_owned(), request.container.clone())].into();
    let found = inner.needs.runtime.containers(&ContainerFilter { labels, ..ContainerFilter::default() }).await?;
    let mut found: Vec<_> = found.into_iter().filter(|one| one.state != ContainerState::Created).collect();
    found.sort_by_key(|container| std::cmp::Reverse((container.created, container.key.attempt)));
    let name = &request.container;
    let chosen = found.into_iter().nth(usize::from(request.previous));
    let waiting = || match request.previous {
        true => format!("previous terminated container \"{name}\" in pod \"{}\" not found", request.pod.name),
        false => format!("container \"{name}\" in pod \"{}\" is waiting to start", request.pod.name),
    };
    let chosen = chosen.ok_or_else(|| Error::new(ErrorKind::BadRequest, waiting()))?;
    let status = inner.needs.runtime.container(&chosen.id).await?;
    let path = status.map(|status| status.log_path).filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("container {name} keeps no log")))?;
    let printer = Printer::new(request.timestamps, request.since, request.limit_bytes);
    let path = PathBuf::from(path);
    let folder = path.parent().filter(|_| request.follow);
    let reader = Reader {
        inner: Arc::clone(inner),
        container: chosen.id,
        watched: folder.and_then(|folder| inner.arrivals.watch(folder, &*inner.needs.spawn)),
        news: inner.handle(&uid).map(|handle| News { handle, next: None }),
        file: Open { path, file: None, inode: 0, rest: vec![] },
        printer,
        tail: request.tail_lines,
        follow: request.follow,
        ended: false,
        over: false,
    };
    Ok(Chunks(stream::unfold(reader, Reader::next).boxed()))
}

struct Reader {
    inner: Arc<Inner>,
    container: ContainerId,
    file: Open,
    /// Tells of what is written.
    watched: Option<Watched>,
    /// Tells that the container may have ended.
    news: Option<News>,
    printer: Printer,
    tail: Option<u64>,
    follow: bool,
    ended: bool,
    over: bool,
}

/// What happens to a pod.
struct News {
    handle: Arc<Handle>,
    /// Kept from look to look, so that nothing is missed between them.
    next: Option<EventListener>,
}

impl News {
    /// Whether something happened since this was asked last.
    fn came(&mut self) -> bool {
        let came = self.next.as_mut().is_none_or(|next| next.now_or_never().is_some());
        if came {
            self.next = Some(self.handle.listen());
        }
        came
    }
}

/// A log file that is being read.
struct Open {
    path: PathBuf,
    file: Option<fs::File>,
    inode: u64,
    /// A line whose end is not there yet.
    rest: Vec<u8>,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Bytes>, Self)> {
        loop {
            if self.over || self.printer.done() {
                return None;
            }
            let written = self.watched.as_ref().map(Watched::listen);
            // Asked first: what an ended container has written is all there when it is read afterwards.
            if self.follow && !self.ended && self.news.as_mut().is_none_or(News::came) {
                self.ended = !self.running().await;
            }
            let (spawn, tail) = (Arc::clone(&self.inner.needs.spawn), self.tail.take());
            let mut file =
                std::mem::replace(&mut self.file, Open { path: PathBuf::new(), file: None, inode: 0, rest: vec![] });
            let read = spawn.run_blocking("node.log", move || {
                let read = file.read(tail);
                (file, read)
            });
            let Some((file, read)) = read.await else {
                self.over = true;
                return Some((Err(Error::new(ErrorKind::Internal, "reading a log was interrupted")), self));
            };
            self.file = file;
            match read {
                Err(error) => {
                    self.over = true;
                    let message = format!("cannot read the log {}", self.file.path.display());
                    return Some((Err(Error::new(ErrorKind::Internal, message).with_source(error)), self));
                }
                Ok(bytes) if bytes.is_empty() => {
                    if !self.follow || self.ended {
                        return None;
                    }
                    self.more(written).await;
                }
                Ok(bytes) => {
                    let mut out = vec![];
                    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        self.printer.print(line, &mut out);
                    }
                    if !out.is_empty() {
                        return Some((Ok(out.into()), self));
                    }
                }
            }
        }
    }

    /// Waits until there may be more to read, or nothing more to come.
    async fn more(&mut self, written: Option<EventListener>) {
        let sleep = || self.inner.needs.clock.sleep(PAUSE);
        let written: BoxFuture<'_, ()> = written.map_or_else(sleep, FutureExt::boxed);
        let told = match self.news.as_mut().and_then(|news| news.next.as_mut()) {
            Some(news) => matches!(select(written, news).await, Either::Right(_)),
            None => matches!(select(written, self.inner.needs.clock.sleep(PAUSE)).await, Either::Right(_)),
        };
        // A listener that has ended cannot be asked again whether it has: the next look takes a new one.
        if told && let Some(news) = &mut self.news {
            news.next = None;
        }
    }

    async fn running(&self) -> bool {
        let status = self.inner.needs.runtime.container(&self.container).await;
        // A runtime that is away says nothing: what it runs may well go on.
        status.map_or(true, |status| status.is_some_and(|status| status.container.state == ContainerState::Running))
    }
}

impl Open {
    /// Reads on: whole lines; nothing at the end of what is written.
    fn read(&mut self, tail: Option<u64>) -> std::io::Result<Vec<u8>> {
        loop {
            if self.file.is_none() {
                match fs::File::open(&self.path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
                    other => self.file = Some(other?),
                }
            }
            let Some(file) = self.file.as_mut() else { return Ok(vec![]) };
            self.inode = file.metadata()?.ino();
            if let Some(lines) = tail {
                let start = start_of_tail(file, lines)?;
                file.seek(SeekFrom::Start(start))?;
            }
            let mut bytes = std::mem::take(&mut self.rest);
            let before = bytes.len();
            file.take(CHUNK as u64).read_to_end(&mut bytes)?;
            let got = bytes.len() > before;
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            self.rest = bytes.split_off(end);
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            if got {
                continue;
            }
            // A file that was put in its place is read from its beginning.
            let replaced = fs::metadata(&self.path).is_ok_and(|meta| meta.ino() != self.inode);
            if !replaced {
                return Ok(vec![]);
            }
            self.file = None;
            self.rest.clear();
        }
    }
}

/// Where the last lines begin: looks at ever larger ends of the file.
fn start_of_tail(file: &mut fs::File, lines: u64) -> std::io::Result<u64> {
    let len = file.metadata()?.len();
    let mut window = CHUNK as u64;
    loop {
        let from = len.saturating_sub(window);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = vec![];
        Read::by_ref(file).take(len - from).read_to_end(&mut bytes)?;
        let start = tail_start(&bytes, lines);
        if start > 0 || from == 0 {
            return Ok(from + start as u64);
        }
        window = window.saturating_mul(4);
    }
}

/// The last lines of a log as text, at most so many bytes of it.
pub(crate) fn tail(path: &Path, lines: usize, limit: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let start = start_of_tail(&mut file, lines as u64)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![];
        file.read_to_end(&mut bytes)?;
        let mut out = vec![];
        let mut printer = Printer::new(false, None, None);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            printer.print(line, &mut out);
        }
        Ok(out.split_off(out.len().saturating_sub(limit)))
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
