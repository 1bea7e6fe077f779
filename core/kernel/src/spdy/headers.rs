//! Header blocks: name-value pairs, compressed by one context per direction for the life of a connection.

use std::io;

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::dictionary::dictionary;

/// Most bytes that a header block may have when it is not compressed.
const LIMIT: usize = 64 << 10;

/// Name-value pairs. Names know no case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Headers from pairs.
    #[must_use]
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect())
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn to_block(&self) -> Vec<u8> {
        // The protocol has each name once; several values are one with NULs between.
        let mut merged: Vec<(&str, String)> = Vec::new();
        for (name, value) in self.iter() {
            match merged.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => {
                    values.push('\0');
                    values.push_str(value);
                }
                None => merged.push((name, value.to_owned())),
            }
        }
        let mut block = Vec::new();
        let number = |block: &mut Vec<u8>, len: usize| block.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        number(&mut block, merged.len());
        for (name, value) in &merged {
            number(&mut block, name.len());
            block.extend_from_slice(name.as_bytes());
            number(&mut block, value.len());
            block.extend_from_slice(value.as_bytes());
        }
        block
    }

    fn from_block(mut block: &[u8]) -> io::Result<Self> {
        fn text(block: &mut &[u8]) -> io::Result<String> {
            let len = block.try_get_u32().map_err(|_| invalid("a header block ends early"))? as usize;
            let text = block.get(..len).ok_or_else(|| invalid("a header block ends early"))?;
            let text = String::from_utf8_lossy(text).into_owned();
            block.advance(len);
            Ok(text)
        }
        let count = block.try_get_u32().map_err(|_| invalid("a header block ends early"))?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = text(&mut block)?;
            for value in text(&mut block)?.split('\0') {
                pairs.push((name.clone(), value.to_owned()));
            }
        }
        Ok(Self(pairs))
    }
}

/// The compressor of one direction.
#[derive(Debug)]
pub(super) struct Deflate(Compress);

impl Deflate {
    pub(super) fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&dictionary()).expect("a new compressor takes a dictionary");
        Self(compress)
    }

    pub(super) fn block(&mut self, headers: &Headers) -> Vec<u8> {
        let plain = headers.to_block();
        let mut packed = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - start).unwrap_or(usize::MAX).min(plain.len());
            let room = packed.capacity();
            self.0.compress_vec(&plain[done..], &mut packed, FlushCompress::Sync).expect("memory is all it needs");
            // A flush that did not fill its room has written everything.
            if packed.len() < room {
                return packed;
            }
            packed.reserve(256);
        }
    }
}

/// The decompressor of one direction.
#[derive(Debug)]
pub(super) struct Inflate(Decompress);

impl Inflate {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn headers(&mut self, packed: &[u8]) -> io::Result<Headers> {
        let mut plain = Vec::with_capacity(1024);
        let start = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - start).unwrap_or(usize::MAX).min(packed.len());
            let (before, room) = (plain.len(), plain.capacity());
            if let Err(error) = self.0.decompress_vec(&packed[done..], &mut plain, FlushDecompress::Sync) {
                if error.needs_dictionary().is_none() {
                    return Err(invalid("a header block cannot be decompressed"));
                }
                self.0.set_dictionary(&dictionary()).map_err(|_| invalid("a peer has another dictionary"))?;
                continue;
            }
            let done = usize::try_from(self.0.total_in() - start).unwrap_or(usize::MAX);
            if done >= packed.len() && plain.len() < room {
                return Headers::from_block(&plain);
            }
            if plain.len() > LIMIT {
                return Err(invalid("a header block is too large"));
            }
            if plain.len() == before && plain.len() < room {
                return Err(invalid("a header block cannot be decompressed"));
            }
            plain.reserve(1024);
        }
    }
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_out_of_a_connections_compressors_as_they_went_in() {
        let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
        let large = "x".repeat(20_000);
        for headers in [
            Headers::of(&[("streamType", "error"), ("port", "80"), ("requestID", "0")]),
            Headers::new(),
            Headers::of(&[("a", "1"), ("a", "2"), ("empty", "")]),
            Headers::of(&[("large", &large)]),
            Headers::of(&[("streamType", "error"), ("port", "80"), ("requestID", "1")]),
        ] {
            let packed = deflate.block(&headers);
            assert_eq!(inflate.headers(&packed).unwrap(), headers);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Inflate::new().headers(b"nonsense").is_err());
        let bomb = Deflate::new().block(&Headers::of(&[("large", &"x".repeat(1 << 20))]));
        assert!(Inflate::new().headers(&bomb).is_err());
        let cut = Deflate::new().block(&Headers::of(&[("a", "b")]));
        assert!(Inflate::new().headers(&cut[..cut.len() / 2]).is_err());
    }
}
