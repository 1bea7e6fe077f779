//! The outer form of files: a header with a format version, then frames with lengths and checksums.
//!
//! A frame is what one sync makes durable, so a crash leaves it whole or not at all. What frames hold is the business
//! of `record`.

use std::fmt;

/// The format that this build writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;
/// The bytes before a file's first frame, and before a frame's payload.
pub(super) const HEADER: usize = 32;

const FRAME: u32 = u32::from_le_bytes(*b"WFRM");

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Log,
    Snapshot,
}

impl Role {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Log => b"WINDLOG\n",
            Self::Snapshot => b"WINDSNP\n",
        }
    }
}

/// Why a file's header cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is not one, or damaged.
    Damaged,
    /// It is of another format.
    Version(u32),
}

pub(super) fn file_header(role: Role, sequence: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(role.magic());
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32fast::hash(&header[16..]);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The sequence number that a file's header names.
pub(super) fn read_file_header(role: Role, bytes: &[u8]) -> Result<u64, BadHeader> {
    if bytes.len() < HEADER || bytes[..8] != *role.magic() {
        return Err(BadHeader::Damaged);
    }
    let version = u32_at(bytes, 8);
    if version != VERSION {
        return Err(BadHeader::Version(version));
    }
    if crc32fast::hash(&bytes[16..HEADER]) != u32_at(bytes, 12) {
        return Err(BadHeader::Damaged);
    }
    Ok(u64_at(bytes, 16))
}

/// A frame under way: its payload grows behind the space for its header.
pub(super) struct Frame(Vec<u8>);

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.len())
    }
}

impl Frame {
    pub(super) fn new() -> Self {
        Self(vec![0; HEADER])
    }

    pub(super) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The finished bytes. `bound` is a number that readers are handed back.
    pub(super) fn seal(mut self, sequence: u64, bound: u64) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - HEADER).expect("a frame holds no more than its writer's limit");
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.0[..4].copy_from_slice(&FRAME.to_le_bytes());
        self.0[8..12].copy_from_slice(&length.to_le_bytes());
        self.0[16..24].copy_from_slice(&sequence.to_le_bytes());
        self.0[24..32].copy_from_slice(&bound.to_le_bytes());
        let crc = crc32fast::hash(&self.0[8..]);
        self.0[4..8].copy_from_slice(&crc.to_le_bytes());
        self.0
    }
}

/// A frame as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read<'a> {
    pub(super) sequence: u64,
    pub(super) bound: u64,
    pub(super) payload: &'a [u8],
    /// The offset after it.
    pub(super) end: usize,
}

/// The frame at an offset, if a whole one is there.
pub(super) fn read(bytes: &[u8], offset: usize) -> Option<Read<'_>> {
    let header = bytes.get(offset..offset + HEADER)?;
    if u32_at(header, 0) != FRAME {
        return None;
    }
    let length = usize::try_from(u32_at(header, 8)).ok()?;
    let end = offset + (HEADER + length).next_multiple_of(8);
    let whole = bytes.get(offset + 8..end)?;
    (crc32fast::hash(whole) == u32_at(header, 4)).then(|| Read {
        sequence: u64_at(header, 16),
        bound: u64_at(header, 24),
        payload: &bytes[offset + HEADER..offset + HEADER + length],
        end,
    })
}

/// Where a whole frame with at least that sequence number lies after an offset.
///
/// A writer starts a frame only when the one before is durable, so such a frame proves that what could not be read
/// before it is damaged and not just torn.
pub(super) fn find_later(bytes: &[u8], offset: usize, sequence: u64) -> Option<usize> {
    let places = (offset.next_multiple_of(8)..bytes.len()).step_by(8);
    places.into_iter().find(|place| read(bytes, *place).is_some_and(|frame| frame.sequence >= sequence))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut frame = Frame::new();
        frame.payload().extend_from_slice(payload);
        frame.seal(sequence, 9)
    }

    #[test]
    fn a_frame_reads_back_and_a_damaged_one_does_not() {
        let bytes = frame(7, b"hello");
        assert_eq!(read(&bytes, 0), Some(Read { sequence: 7, bound: 9, payload: b"hello", end: 40 }));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged, 0), None, "a flipped bit at {at}");
            assert_eq!(read(&bytes[..at], 0), None, "cut at {at}");
        }
    }

    #[test]
    fn a_later_frame_is_found_behind_damage() {
        let mut bytes = [frame(1, b"first"), frame(2, b"second")].concat();
        bytes[33] ^= 1;
        assert_eq!(find_later(&bytes, 0, 2), Some(40));
        assert_eq!(find_later(&bytes, 0, 3), None);
    }

    #[test]
    fn a_file_of_another_version_is_told_from_a_damaged_one() {
        let mut header = file_header(Role::Log, 5);
        assert_eq!(read_file_header(Role::Log, &header), Ok(5));
        assert_eq!(read_file_header(Role::Snapshot, &header), Err(BadHeader::Damaged));
        header[8] = 2;
        assert_eq!(read_file_header(Role::Log, &header), Err(BadHeader::Version(2)));
        header[8] = 1;
        header[17] = 1;
        assert_eq!(read_file_header(Role::Log, &header), Err(BadHeader::Damaged));
    }
}
