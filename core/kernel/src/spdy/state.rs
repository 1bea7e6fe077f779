//! What a connection knows: its streams, what came in, and the bytes that are to go out. No I/O.

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    task::Waker,
};

use bytes::{Bytes, BytesMut};

use super::{
    frame::{Frame, ResetReason},
    headers::{Deflate, Headers, Inflate},
};

/// A stream that holds so many unread bytes stops its connection until they are read.
pub const RECEIVE_LIMIT: usize = 1 << 20;

/// Senders wait while so many bytes are to go out.
const SEND_LIMIT: usize = 64 << 10;

/// The window of a stream until something else is said.
const WINDOW: i64 = 64 << 10;

/// So many streams may be opened by the peer at once.
const STREAM_LIMIT: usize = 4096;

/// Which side of a connection one is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that dialled.
    Client,
    /// The one that was dialled.
    Server,
}

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) received: VecDeque<Bytes>,
    pub(super) unread: usize,
    /// The peer's half is over.
    pub(super) ended: bool,
    /// Our half is over.
    pub(super) closed: bool,
    pub(super) reset: Option<ResetReason>,
    pub(super) replied: bool,
    /// What may still be sent, if the peer keeps windows.
    pub(super) window: i64,
    /// What was read and not granted again yet.
    pub(super) ungranted: u32,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) opener: Option<Waker>,
}

impl Flow {
    fn wake(&mut self) {
        [self.reader.take(), self.writer.take(), self.opener.take()].into_iter().flatten().for_each(Waker::wake);
    }
}

#[derive(Debug)]
pub(super) struct State {
    role: Role,
    next: u32,
    last_accepted: u32,
    pub(super) flows: BTreeMap<u32, Flow>,
    pub(super) arrived: VecDeque<(u32, Headers)>,
    pub(super) acceptors: Vec<Waker>,
    pub(super) out: BytesMut,
    deflate: Deflate,
    inflate: Inflate,
    /// The initial window of streams, once the peer has shown that it keeps windows.
    keeps_windows: bool,
    initial: i64,
    session: i64,
    session_ungranted: u32,
    pub(super) driver: Option<Waker>,
    /// How many handles are left; without any the connection ends.
    pub(super) handles: usize,
    /// We are leaving: what is to go out goes out, then the connection ends.
    pub(super) closing: bool,
    /// The peer takes no new streams.
    peer_leaves: bool,
    /// Why nothing goes in or out any more.
    pub(super) over: Option<io::ErrorKind>,
}

impl State {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            next: if role == Role::Client { 1 } else { 2 },
            last_accepted: 0,
            flows: BTreeMap::new(),
            arrived: VecDeque::new(),
            acceptors: Vec::new(),
            out: BytesMut::new(),
            deflate: Deflate::new(),
            inflate: Inflate::new(),
            keeps_windows: false,
            initial: WINDOW,
            session: WINDOW,
            session_ungranted: 0,
            driver: None,
            handles: 0,
            closing: false,
            peer_leaves: false,
            over: None,
        }
    }

    pub(super) fn send(&mut self, frame: &Frame) {
        if self.over.is_none() {
            frame.encode(&mut self.out);
            self.wake_driver();
        }
    }

    pub(super) fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Opens a stream. `None` when the connection is over.
    pub(super) fn open(&mut self, headers: &Headers) -> Option<u32> {
        if self.over.is_some() || self.closing || self.peer_leaves || self.next > i32::MAX as u32 {
            return None;
        }
        let id = self.next;
        self.next += 2;
        self.flows.insert(id, Flow { window: self.initial, ..Flow::default() });
        let block = self.deflate.block(headers).into();
        self.send(&Frame::SynStream { id, fin: false, unidirectional: false, block });
        Some(id)
    }

    /// Answers a stream that the peer opened.
    pub(super) fn reply(&mut self, id: u32) {
        let block = self.deflate.block(&Headers::new()).into();
        self.send(&Frame::SynReply { id, fin: false, block });
    }

    /// How many bytes may be sent on a stream now.
    pub(super) fn room(&self, id: u32) -> usize {
        let Some(flow) = self.flows.get(&id) else { return 0 };
        let window = if self.keeps_windows { flow.window.min(self.session) } else { i64::MAX };
        let queue = SEND_LIMIT.saturating_sub(self.out.len());
        queue.min(usize::try_from(window.max(0)).unwrap_or(usize::MAX))
    }

    pub(super) fn send_data(&mut self, id: u32, data: &[u8]) {
        let spent = i64::try_from(data.len()).unwrap_or(i64::MAX);
        self.session -= spent;
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.window -= spent;
        }
        self.send(&Frame::Data { id, fin: false, data: Bytes::copy_from_slice(data) });
    }

    /// Ends our half of a stream.
    pub(super) fn finish(&mut self, id: u32) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if !mem::replace(&mut flow.closed, true) && flow.reset.is_none() {
            self.send(&Frame::Data { id, fin: true, data: Bytes::new() });
        }
    }

    /// Resets a stream.
    pub(super) fn reset(&mut self, id: u32, reason: ResetReason) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if flow.reset.is_none() && !(flow.closed && flow.ended) {
            flow.reset = Some(reason);
            flow.wake();
            self.send(&Frame::Reset { id, reason });
        }
    }

    /// Forgets a stream whose handle is gone.
    pub(super) fn forget(&mut self, id: u32) {
        self.reset(id, ResetReason::CANCEL);
        self.flows.remove(&id);
        // It may have been what stopped the reading.
        self.wake_driver();
    }

    /// Counts bytes as read, and grants them again.
    pub(super) fn consumed(&mut self, id: u32, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let mut grant = None;
        if let Some(flow) = self.flows.get_mut(&id) {
            flow.unread = flow.unread.saturating_sub(len as usize);
            flow.ungranted = flow.ungranted.saturating_add(len);
            if i64::from(flow.ungranted) >= WINDOW / 2 && !flow.ended {
                grant = Some(mem::take(&mut flow.ungranted));
            }
        }
        if let Some(delta) = grant {
            self.send(&Frame::WindowUpdate { id, delta });
        }
        self.wake_driver();
    }

    /// Whether some stream has so much unread that nothing more is taken in.
    pub(super) fn stalled(&self) -> bool {
        self.flows.values().any(|flow| flow.unread >= RECEIVE_LIMIT)
    }

    /// Lets senders go on after bytes have gone out.
    pub(super) fn sent(&mut self) {
        if self.out.len() < SEND_LIMIT {
            self.flows.values_mut().filter_map(|flow| flow.writer.take()).for_each(Waker::wake);
        }
    }

    /// Takes in a frame.
    pub(super) fn receive(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::SynStream { id, fin, unidirectional, block } => {
                // Every block has to pass the decompressor, or later ones cannot be read.
                let headers = self.inflate.headers(&block)?;
                let theirs = if self.role == Role::Client { 0 } else { 1 };
                if id == 0 || id % 2 != theirs || id <= self.last_accepted {
                    return Err(super::headers::invalid("a stream has an id that it cannot have"));
                }
                self.last_accepted = id;
                if self.closing || self.flows.len() >= STREAM_LIMIT {
                    self.send(&Frame::Reset { id, reason: ResetReason::REFUSED_STREAM });
                    return Ok(());
                }
                let flow = Flow { window: self.initial, ended: fin, closed: unidirectional, ..Flow::default() };
                self.flows.insert(id, flow);
                self.arrived.push_back((id, headers));
                mem::take(&mut self.acceptors).into_iter().for_each(Waker::wake);
            }
            Frame::SynReply { id, fin, block } => {
                self.inflate.headers(&block)?;
                self.with(id, |flow| {
                    flow.replied = true;
                    flow.ended |= fin;
                    flow.wake();
                });
            }
            Frame::Headers { id, fin, block } => {
                self.inflate.headers(&block)?;
                self.with(id, |flow| {
                    flow.ended |= fin;
                    flow.wake();
                });
            }
            Frame::Data { id, fin, data } => self.data(id, fin, data),
            Frame::Reset { id, reason } => self.with(id, |flow| {
                flow.reset.get_or_insert(reason);
                flow.wake();
            }),
            Frame::WindowUpdate { id, delta } => {
                self.keeps_windows = true;
                if id == 0 {
                    self.session += i64::from(delta);
                    self.flows.values_mut().filter_map(|flow| flow.writer.take()).for_each(Waker::wake);
                } else {
                    self.with(id, |flow| {
                        flow.window += i64::from(delta);
                        flow.wake();
                    });
                }
            }
            Frame::Settings { window: Some(window) } => {
                self.keeps_windows = true;
                let change = i64::from(window) - self.initial;
                self.initial += change;
                self.flows.values_mut().for_each(|flow| {
                    flow.window += change;
                    flow.wake();
                });
            }
            Frame::Ping { id } => {
                let theirs = if self.role == Role::Client { 0 } else { 1 };
                if id % 2 == theirs {
                    self.send(&Frame::Ping { id });
                }
            }
            Frame::GoAway { .. } => self.peer_leaves = true,
            Frame::Settings { window: None } | Frame::Unknown => {}
        }
        Ok(())
    }

    fn data(&mut self, id: u32, fin: bool, data: Bytes) {
        let len = data.len();
        // The connection's window is granted again at once: one stream that nobody reads must not stop the others. It
        // also tells the peer early that windows are kept.
        self.session_ungranted += u32::try_from(len).unwrap_or(u32::MAX);
        if i64::from(self.session_ungranted) >= WINDOW / 2 {
            let delta = mem::take(&mut self.session_ungranted);
            self.send(&Frame::WindowUpdate { id: 0, delta });
        }
        let Some(flow) = self.flows.get_mut(&id).filter(|flow| !flow.ended && flow.reset.is_none()) else { return };
        flow.ended = fin;
        if !data.is_empty() {
            flow.unread += len;
            flow.received.push_back(data);
        }
        if let Some(reader) = flow.reader.take() {
            reader.wake();
        }
    }

    fn with(&mut self, id: u32, change: impl FnOnce(&mut Flow)) {
        if let Some(flow) = self.flows.get_mut(&id) {
            change(flow);
        }
    }

    /// Ends everything. What was received can still be read.
    pub(super) fn end(&mut self, why: io::ErrorKind) {
        if self.over.is_none() {
            self.over = Some(why);
            self.out.clear();
            self.flows.values_mut().for_each(Flow::wake);
            mem::take(&mut self.acceptors).into_iter().for_each(Waker::wake);
        }
    }

    /// Says goodbye once; the driver ends when it has gone out.
    pub(super) fn close(&mut self) {
        if !mem::replace(&mut self.closing, true) {
            self.send(&Frame::GoAway { last: self.last_accepted, status: 0 });
        }
        self.wake_driver();
    }
}
