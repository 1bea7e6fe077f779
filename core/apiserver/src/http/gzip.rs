//! Large answers in gzip, chunk by chunk.

use std::io::Write;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::{HeaderMap, header};

/// Answers below this size are sent as they are, as upstream.
pub(super) const THRESHOLD: usize = 128 * 1024;

/// Whether the client takes gzip.
pub(super) fn accepted(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|part| {
        let (name, quality) = part.trim().split_once(';').unwrap_or((part.trim(), ""));
        name == "gzip" && !matches!(quality.trim(), "q=0" | "q=0.0")
    })
}

/// All bytes at once, at a level for documents that are made once and sent often.
pub(super) fn pack(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    write(&mut encoder)?;
    encoder.finish().map(Bytes::from)
}

/// The bytes behind [`pack`].
pub(super) fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    decoder.write_all(packed)?;
    decoder.finish()
}

/// Packs chunks as they are asked for.
pub(super) struct Packed<I> {
    chunks: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I> Packed<I> {
    pub(super) fn new(chunks: I) -> Self {
        Self { chunks, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Packed<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let encoder = self.encoder.as_mut()?;
        for chunk in self.chunks.by_ref() {
            encoder.write_all(&chunk).expect("memory takes all bytes");
            if encoder.get_ref().len() > 32 * 1024 {
                return Some(std::mem::take(encoder.get_mut()).into());
            }
        }
        let encoder = self.encoder.take()?;
        Some(encoder.finish().expect("memory takes all bytes").into())
    }
}
