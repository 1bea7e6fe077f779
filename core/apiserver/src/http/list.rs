//! A list as a stream of chunks: the bytes of its items are copied, never decoded.

use bytes::{BufMut, Bytes, BytesMut};
use windlass_kernel::{Document, api::List};

use super::shape::list_meta;

const CHUNK: usize = 64 * 1024;

/// The chunks of a list's JSON.
pub(super) struct Chunks {
    head: Option<String>,
    items: std::vec::IntoIter<Document>,
    first: bool,
    done: bool,
}

/// How many bytes the list takes, nearly.
pub(super) fn size(list: &List) -> usize {
    128 + list.items.iter().map(|document| document.len() + 1).sum::<usize>()
}

impl Chunks {
    pub(super) fn new(list: List) -> Self {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let head = format!(
            r#"{{"kind":{},"apiVersion":{},"metadata":{},"items":["#,
            text(&list.kind),
            text(&list.api_version),
            list_meta(&list)
        );
        Self { head: Some(head), items: list.items.into_iter(), first: true, done: false }
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let waiting = self.items.as_slice().iter().take(8).map(Document::len).sum::<usize>();
        let mut out = BytesMut::with_capacity(if waiting < CHUNK / 8 && self.items.len() <= 8 {
            waiting + 512
        } else {
            CHUNK + CHUNK / 4
        });
        if let Some(head) = self.head.take() {
            out.put_slice(head.as_bytes());
        }
        while out.len() < CHUNK {
            let Some(document) = self.items.next() else {
                out.put_slice(b"]}\n");
                self.done = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                out.put_u8(b',');
            }
            document.write_to(&mut out);
        }
        Some(out.freeze())
    }
}
