//! One object at one revision, as bytes: what the API server stores, sends and hands out.
//!
//! The stored form is canonical JSON without a resource version, behind a small header for indexes. The resource version
//! is spliced in when the bytes are read, because only the store knows it.

mod encoder;
mod json;
mod received;
mod recent;

use std::{any::Any, fmt, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::{
    encoder::{Encoder, Index},
    recent::Recent,
};
use crate::{
    controller::ObjectKey,
    error::{Error, ErrorKind, Result},
    store::{Entry, Key, Revision},
};

const FORMAT: u8 = 1;
const PREFIX: usize = 1 + 4 + 4;

/// One object at one revision.
///
/// Cheap to clone. Decoding to a type happens at most once while anyone holds the result.
#[derive(Clone)]
pub struct Document {
    entry: Arc<Entry>,
    revision: Revision,
    recent: Option<Arc<Recent>>,
}

impl Document {
    /// The object that `entry` holds.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where the entry's value is not in the stored form.
    pub fn stored(entry: Arc<Entry>) -> Result<Self> {
        let revision = entry.modified;
        let value = &entry.value;
        let sound =
            value.len() > PREFIX && value[0] == FORMAT && PREFIX + number(value, 5) + number(value, 1) <= value.len();
        if !sound {
            return Err(Error::new(ErrorKind::Corrupt, format!("cannot read the stored object {:?}", entry.key)));
        }
        Ok(Self { entry, revision, recent: None })
    }

    /// The last state of an object that the transaction `revision` deleted.
    ///
    /// # Errors
    ///
    /// Those of [`stored`](Self::stored).
    pub fn deleted(entry: Arc<Entry>, revision: Revision) -> Result<Self> {
        Ok(Self { revision, ..Self::stored(entry)? })
    }

    /// An object that did not come from this process's store, such as a remote server's answer.
    ///
    /// Its revision is read from `metadata.resourceVersion`; 0 where that is absent or not a number.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) where the object has no `metadata`.
    pub fn foreign(object: &Value) -> Result<Self> {
        let mut object = object.clone();
        let mut encoder = Encoder::new();
        let mut revision = Revision(0);
        if let Some(meta) = object.get_mut("metadata") {
            if let Some(Value::String(text)) = meta.as_object_mut().and_then(|meta| meta.remove("resourceVersion")) {
                revision = Revision(text.parse().unwrap_or(0));
            }
            encoder.metadata(meta);
        }
        let value = encoder.finish(&object)?;
        Self::stored(Arc::new(Entry::new(Key::from(""), revision, revision, value, None)))
    }

    /// The same from JSON, which is not decoded for it. `kind` is the object's API version and kind where it does not say
    /// them, as items of lists do not; they may be empty.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) where it is not the JSON of an object with `metadata`.
    pub fn received(json: &str, kind: (&str, &str)) -> Result<Self> {
        let (value, revision) = received::stored_form(json, kind)?;
        Self::stored(Arc::new(Entry::new(Key::from(""), revision, revision, value, None)))
    }

    /// The revision: the object's resource version.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The store entry behind it.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The JSON length, with the resource version.
    #[must_use]
    pub fn len(&self) -> usize {
        self.json().len() + 24 + decimal_digits(self.revision.0)
    }

    /// Never: an object has at least metadata.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Appends the object as JSON, with its resource version.
    pub fn write_to(&self, out: &mut (impl BufMut + ?Sized)) {
        let json = self.json();
        let (before, after) = json.split_at(number(&self.entry.value, 1));
        out.put_slice(before);
        if self.revision.0 > 0 {
            out.put_slice(b"\"resourceVersion\":\"");
            let mut digits = [0; 20];
            out.put_slice(decimal(self.revision.0, &mut digits));
            out.put_slice(if after.first() == Some(&b'}') { b"\"" } else { b"\"," });
        }
        out.put_slice(after);
    }

    /// The object as JSON, with its resource version.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.len());
        self.write_to(&mut out);
        out.freeze()
    }

    /// The object as a JSON tree, with its resource version.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where the stored bytes are not JSON.
    pub fn value(&self) -> Result<Value> {
        self.decode()
    }

    /// The same document; what it is decoded to is held for others among the latest ones of `recent`.
    #[must_use]
    pub fn shared(self, recent: &Arc<Recent>) -> Self {
        Self { recent: Some(Arc::clone(recent)), ..self }
    }

    /// The same document, shared at least with those who are shown this very value or a clone of it.
    #[must_use]
    pub fn keeping(&self) -> Self {
        let recent = self.recent.clone().unwrap_or_else(|| Arc::new(Recent::of(1)));
        Self { recent: Some(recent), ..self.clone() }
    }

    /// The object as a type; shared with everyone who holds it decoded.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where the object does not have the type's form.
    pub fn typed<T: DeserializeOwned + Any + Send + Sync>(&self) -> Result<Arc<T>> {
        if self.revision != self.entry.modified {
            return self.decode().map(Arc::new);
        }
        let typed = self.entry.decoded(|_| self.decode())?;
        if let Some(recent) = &self.recent {
            recent.hold(&self.entry, &typed);
        }
        Ok(typed)
    }

    /// Decodes the object, with its resource version.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where the object does not have the type's form.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.to_bytes()).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("cannot decode the object {:?}", self.entry.key)).with_source(error)
        })
    }

    /// Decodes the object's metadata alone, without the resource version.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where the metadata does not have the type's form.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T> {
        let json = self.json();
        // The splice point lies behind the brace that opens the metadata.
        let meta = number(&self.entry.value, 1).checked_sub(1).and_then(|at| json.get(at..)).unwrap_or_default();
        T::deserialize(&mut serde_json::Deserializer::from_slice(meta)).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("cannot decode the metadata of {:?}", self.entry.key))
                .with_source(error)
        })
    }

    /// The object's namespace and name.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) where they are not texts.
    pub fn object_key(&self) -> Result<ObjectKey> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Named {
            namespace: String,
            name: String,
        }
        if let Some((namespace, name)) = self.indexed(Index::Key).next() {
            return Ok(ObjectKey::new(namespace, name));
        }
        // Stores that are older than this line of the header.
        self.metadata().map(|Named { namespace, name }| ObjectKey { namespace, name })
    }

    /// The header's lines of one kind, in their order, as name and value.
    pub fn indexed(&self, index: Index) -> impl Iterator<Item = (&str, &str)> {
        let header = &self.entry.value[PREFIX..PREFIX + number(&self.entry.value, 5)];
        Lines { rest: header }.filter(move |line| line.0 == index as u8).map(|line| (line.1, line.2))
    }

    /// One header value by kind and name.
    #[must_use]
    pub fn find(&self, index: Index, name: &str) -> Option<&str> {
        self.indexed(index).find(|line| line.0 == name).map(|line| line.1)
    }

    /// The object's uid; empty where it has none.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.find(Index::Uid, "").unwrap_or_default()
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.find(Index::Label, name)
    }

    /// Whether the object's JSON has this text somewhere. Cheaper than looking where: a no spares the decoding.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        std::str::from_utf8(self.json()).is_ok_and(|json| json.contains(text))
    }

    fn json(&self) -> &[u8] {
        &self.entry.value[PREFIX + number(&self.entry.value, 5)..]
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("key", &self.entry.key).field("revision", &self.revision.0).finish()
    }
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = (u8, &'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (&index, rest) = self.rest.split_first()?;
        let (name, rest) = text(rest)?;
        let (value, rest) = text(rest)?;
        self.rest = rest;
        Some((index, name, value))
    }
}

fn text(from: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn number(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, |four| u32::from_le_bytes(four) as usize)
}

fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

fn decimal_digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests;
