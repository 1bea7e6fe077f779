//! Frames as bytes. Header blocks stay compressed here.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::headers::invalid;

/// Frames larger than this are refused.
const FRAME_LIMIT: usize = 1 << 20;

/// Most bytes of data in a frame that is sent.
pub(super) const DATA_LIMIT: usize = 32 << 10;

const CONTROL: u32 = 0x8003_0000;
const FIN: u8 = 1;

/// Why a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetReason(pub u32);

impl ResetReason {
    /// A frame that makes no sense.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// A frame for a stream that is not there.
    pub const INVALID_STREAM: Self = Self(2);
    /// The stream is not wanted.
    pub const REFUSED_STREAM: Self = Self(3);
    /// The stream is no longer needed.
    pub const CANCEL: Self = Self(5);
    /// Something went wrong inside.
    pub const INTERNAL_ERROR: Self = Self(6);
}

/// A frame. `fin` ends the sender's half of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    SynStream {
        id: u32,
        fin: bool,
        unidirectional: bool,
        block: Bytes,
    },
    SynReply {
        id: u32,
        fin: bool,
        block: Bytes,
    },
    Reset {
        id: u32,
        reason: ResetReason,
    },
    /// Only the initial window is of interest.
    Settings {
        window: Option<u32>,
    },
    Ping {
        id: u32,
    },
    GoAway {
        last: u32,
        status: u32,
    },
    Headers {
        id: u32,
        fin: bool,
        block: Bytes,
    },
    WindowUpdate {
        id: u32,
        delta: u32,
    },
    Data {
        id: u32,
        fin: bool,
        data: Bytes,
    },
    /// A control frame of a type that is not known: to be skipped.
    Unknown,
}

impl Frame {
    /// Appends the frame's bytes.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let mut control = |kind: u32, fin: bool, words: &[u32], rest: &[u8]| {
            out.put_u32(CONTROL | kind);
            put_length(out, if fin { FIN } else { 0 }, words.len() * 4 + rest.len());
            words.iter().for_each(|word| out.put_u32(*word));
            out.put_slice(rest);
        };
        match self {
            Self::SynStream { id, fin, unidirectional, block } => {
                let start = out.len();
                out.put_u32(CONTROL | 1);
                put_length(out, u8::from(*fin) | u8::from(*unidirectional) << 1, 10 + block.len());
                out.put_u32(*id);
                out.put_u32(0);
                out.put_u16(0);
                out.put_slice(block);
                debug_assert_eq!(out.len() - start, 18 + block.len());
            }
            Self::SynReply { id, fin, block } => control(2, *fin, &[*id], block),
            Self::Reset { id, reason } => control(3, false, &[*id, reason.0], &[]),
            Self::Settings { window } => match window {
                Some(window) => control(4, false, &[1, 7, *window], &[]),
                None => control(4, false, &[0], &[]),
            },
            Self::Ping { id } => control(6, false, &[*id], &[]),
            Self::GoAway { last, status } => control(7, false, &[*last, *status], &[]),
            Self::Headers { id, fin, block } => control(8, *fin, &[*id], block),
            Self::WindowUpdate { id, delta } => control(9, false, &[*id, *delta], &[]),
            Self::Data { id, fin, data } => {
                out.put_u32(*id);
                put_length(out, if *fin { FIN } else { 0 }, data.len());
                out.put_slice(data);
            }
            Self::Unknown => {}
        }
    }

    /// Takes one frame off the front; `None` if it is not complete yet.
    pub(super) fn decode(buffer: &mut BytesMut) -> io::Result<Option<Self>> {
        if buffer.len() < 8 {
            return Ok(None);
        }
        let first = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
        let flags = buffer[4];
        let len = u32::from_be_bytes([0, buffer[5], buffer[6], buffer[7]]) as usize;
        if len > FRAME_LIMIT {
            return Err(invalid("a frame is too large"));
        }
        if buffer.len() < 8 + len {
            return Ok(None);
        }
        buffer.advance(8);
        let mut body = buffer.split_to(len).freeze();
        let fin = flags & FIN != 0;
        if first >> 31 == 0 {
            return Ok(Some(Self::Data { id: first, fin, data: body }));
        }
        if first & 0xffff_0000 != CONTROL {
            return Err(invalid("a frame has another version"));
        }
        let mut word = || body.try_get_u32().map_err(|_| invalid("a frame is too short"));
        Ok(Some(match first & 0xffff {
            1 => {
                let (id, _associated) = (word()? & ID, word()?);
                body.try_get_u16().map_err(|_| invalid("a frame is too short"))?;
                Self::SynStream { id, fin, unidirectional: flags & 2 != 0, block: body }
            }
            2 => Self::SynReply { id: word()? & ID, fin, block: body },
            3 => Self::Reset { id: word()? & ID, reason: ResetReason(word()?) },
            4 => {
                let mut window = None;
                for _ in 0..word()? {
                    let (setting, value) = (word()? & 0x00ff_ffff, word()?);
                    if setting == 7 {
                        window = Some(value);
                    }
                }
                Self::Settings { window }
            }
            6 => Self::Ping { id: word()? },
            7 => Self::GoAway { last: word()? & ID, status: word()? },
            8 => Self::Headers { id: word()? & ID, fin, block: body },
            9 => Self::WindowUpdate { id: word()? & ID, delta: word()? & ID },
            _ => Self::Unknown,
        }))
    }
}

const ID: u32 = 0x7fff_ffff;

fn put_length(out: &mut BytesMut, flags: u8, len: usize) {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    out.put_u32(u32::from(flags) << 24 | len & 0x00ff_ffff);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_read_as_it_was_written_however_it_is_cut() {
        let block = Bytes::from_static(b"block");
        let frames = [
            Frame::SynStream { id: 1, fin: false, unidirectional: true, block: block.clone() },
            Frame::SynReply { id: 1, fin: true, block: block.clone() },
            Frame::Reset { id: 3, reason: ResetReason::CANCEL },
            Frame::Settings { window: Some(7) },
            Frame::Settings { window: None },
            Frame::Ping { id: 9 },
            Frame::GoAway { last: 5, status: 0 },
            Frame::Headers { id: 1, fin: false, block },
            Frame::WindowUpdate { id: 1, delta: 100 },
            Frame::Data { id: 1, fin: true, data: Bytes::from_static(b"data") },
        ];
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        let (mut fed, mut read) = (BytesMut::new(), Vec::new());
        for byte in bytes {
            fed.put_u8(byte);
            read.extend(Frame::decode(&mut fed).unwrap());
        }
        assert_eq!(read, frames);
    }

    #[test]
    fn frames_that_cannot_be_are_refused() {
        for bad in [&[0x80, 2, 0, 1, 0, 0, 0, 0][..], &[0, 0, 0, 1, 0, 0xff, 0, 0], &[0x80, 3, 0, 6, 0, 0, 0, 0]] {
            assert!(Frame::decode(&mut BytesMut::from(bad)).is_err(), "{bad:?}");
        }
    }
}
