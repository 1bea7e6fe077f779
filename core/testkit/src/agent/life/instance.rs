//! One run of a container: its log, its ports and commands, and what is known of its health.

use std::{
    collections::BTreeMap,
    fmt,
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use event_listener::Event;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use parking_lot::Mutex;
use windlass_kernel::{api::Chunks, node::LogRequest};

use super::super::{
    pod::Signs,
    program::{Commands, Serve},
};

/// One run of a container.
#[derive(Default)]
pub(in super::super) struct Instance {
    log: Mutex<Log>,
    news: Event,
    ports: Mutex<BTreeMap<u16, Serve>>,
    commands: Mutex<Option<Commands>>,
    signs: Mutex<Signs>,
    mounts: OnceLock<Vec<(String, PathBuf)>>,
}

#[derive(Default)]
struct Log {
    lines: Vec<(Timestamp, String)>,
    /// Whether the last line goes on.
    open: bool,
    ended: bool,
}

impl Instance {
    pub(in super::super) fn write(&self, text: &str, now: Timestamp) {
        let mut held = self.log.lock();
        let log = &mut *held;
        if log.ended {
            return;
        }
        for piece in text.split_inclusive('\n') {
            let (line, whole) = piece.strip_suffix('\n').map_or((piece, false), |line| (line, true));
            match log.lines.last_mut() {
                Some((_, last)) if log.open => last.push_str(line),
                _ => log.lines.push((now, line.to_owned())),
            }
            log.open = !whole;
        }
        drop(held);
        self.news.notify(usize::MAX);
    }

    pub(in super::super) fn serve(&self, port: u16, serve: Serve) {
        if !self.ended() {
            self.ports.lock().insert(port, serve);
        }
    }

    pub(in super::super) fn carry_out(&self, run: Commands) {
        if !self.ended() {
            *self.commands.lock() = Some(run);
        }
    }

    /// What carries out commands, if something does.
    pub(in super::super) fn commands(&self) -> Option<Commands> {
        self.commands.lock().clone()
    }

    /// Changes what is known of its health, and says what that is then.
    pub(in super::super) fn sign(&self, change: impl FnOnce(&mut Signs)) -> Signs {
        let mut signs = self.signs.lock();
        change(&mut signs);
        *signs
    }

    pub(super) fn mount(&self, mounts: &[(String, PathBuf)]) {
        // There is one set of mounts for each run.
        let _ = self.mounts.set(mounts.to_vec());
    }

    /// What is at a path of the container, where something is mounted.
    pub(in super::super) fn path(&self, path: &str) -> Option<PathBuf> {
        let mounts = self.mounts.get()?;
        let inside = |at: &str| -> Option<String> {
            let rest = path.strip_prefix(at.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
        };
        let found = mounts.iter().filter_map(|(at, there)| Some((at.len(), there, inside(at)?)));
        let (_, there, rest) = found.max_by_key(|(length, ..)| *length)?;
        Some(if rest.is_empty() { there.clone() } else { there.join(rest) })
    }

    pub(in super::super) fn ended(&self) -> bool {
        self.log.lock().ended
    }

    pub(super) fn served(&self, port: u16) -> Option<Serve> {
        self.ports.lock().get(&port).cloned()
    }

    fn end(&self) {
        self.log.lock().ended = true;
        self.ports.lock().clear();
        self.commands.lock().take();
        self.news.notify(usize::MAX);
    }

    pub(super) fn logs(self: Arc<Self>, request: LogRequest) -> Chunks {
        let lines = self.log.lock().lines.len();
        let tail = request.tail_lines.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let first = lines.saturating_sub(tail);
        if !request.follow {
            let (mut text, ..) = self.text(first, &request);
            if let Some(limit) = request.limit_bytes.and_then(|limit| usize::try_from(limit).ok()) {
                text.truncate((0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
            }
            return Chunks(stream::iter((!text.is_empty()).then(|| Ok(Bytes::from(text)))).boxed());
        }
        let follow = stream::unfold((self, first, request), |(instance, first, request)| async move {
            loop {
                let news = instance.news.listen();
                let (text, next, ended) = instance.text(first, &request);
                if !text.is_empty() {
                    return Some((Ok(Bytes::from(text)), (instance, next, request)));
                }
                if ended {
                    return None;
                }
                news.await;
            }
        });
        Chunks(follow.boxed())
    }

    /// The text of whole lines from a number on, the number behind them, and whether that is all there will be.
    fn text(&self, first: usize, request: &LogRequest) -> (String, usize, bool) {
        let log = self.log.lock();
        let whole = if log.open && !log.ended && request.follow { log.lines.len() - 1 } else { log.lines.len() };
        let mut text = String::new();
        for (at, line) in log.lines.iter().take(whole).skip(first) {
            if request.since.is_some_and(|since| *at < since) {
                continue;
            }
            if request.timestamps {
                // Writing to a string cannot fail.
                let _ = write!(text, "{at} ");
            }
            text.push_str(line);
            text.push('\n');
        }
        (text, whole, log.ended)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("lines", &self.log.lock().lines.len()).finish_non_exhaustive()
    }
}

/// Ends the log of a run and closes its ports when it is dropped.
pub(super) struct Ended(pub(super) Arc<Instance>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}
