//! OpenAPI documents as they are sent: made when first asked for, kept packed, forgotten when what is served changes.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use windlass_kernel::{
    Result,
    error::{Error, ErrorKind},
};

use super::gzip;
use crate::discovery::{self, Snapshot, Texts};

/// A packed document and its name.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) tag: String,
    pub(super) gzip: Bytes,
}

/// The documents of one server.
#[derive(Debug)]
pub(super) struct Documents {
    texts: Arc<dyn Texts>,
    /// By path and generation; only those of the latest generation that was asked for.
    kept: Mutex<(u64, BTreeMap<String, Packed>)>,
}

impl Documents {
    pub(super) fn new(texts: Arc<dyn Texts>) -> Self {
        Self { texts, kept: Mutex::default() }
    }

    /// Where the OpenAPI 3 documents are.
    pub(super) fn index(&self, snapshot: &Snapshot) -> serde_json::Value {
        discovery::index(snapshot, self.texts.edition())
    }

    /// The OpenAPI 3 document of a group and version.
    pub(super) fn v3(&self, snapshot: &Snapshot, group: &str, version: &str) -> Result<Packed> {
        self.get(snapshot, &format!("v3/{group}/{version}"), || {
            let tag = discovery::fingerprint(snapshot, self.texts.edition(), group, version);
            (tag, gzip::pack(|out| discovery::v3(snapshot, group, version, &*self.texts, out)))
        })
    }

    /// The OpenAPI 2 document, as JSON.
    pub(super) fn v2(&self, snapshot: &Snapshot) -> Result<Packed> {
        self.get(snapshot, "v2", || {
            (self.whole_tag(snapshot), gzip::pack(|out| discovery::v2(snapshot, &*self.texts, out)))
        })
    }

    /// The OpenAPI 2 document, as protobuf.
    pub(super) fn v2_protobuf(&self, snapshot: &Snapshot) -> Result<Packed> {
        self.get(snapshot, "v2.pb", || {
            // The other form of the same document is another entity (RFC 9110, 8.8.1).
            let tag = format!("{}-PB", self.whole_tag(snapshot));
            (tag, gzip::pack(|out| discovery::v2_protobuf(snapshot, &*self.texts, out)))
        })
    }

    /// What the document of everything is known by.
    fn whole_tag(&self, snapshot: &Snapshot) -> String {
        let parts = snapshot.versions.iter().map(|(g, v)| discovery::fingerprint(snapshot, self.texts.edition(), g, v));
        let tag =
            parts.fold(0_u64, |sum, part| sum.rotate_left(5) ^ u64::from_str_radix(&part, 16).unwrap_or_default());
        format!("{tag:016X}")
    }

    fn get(
        &self,
        snapshot: &Snapshot,
        path: &str,
        make: impl FnOnce() -> (String, std::io::Result<Bytes>),
    ) -> Result<Packed> {
        {
            let mut kept = self.kept.lock();
            if kept.0 != snapshot.generation {
                *kept = (snapshot.generation, BTreeMap::new());
            }
            if let Some(packed) = kept.1.get(path) {
                return Ok(packed.clone());
            }
        }
        let (tag, gzip) = make();
        let gzip =
            gzip.map_err(|error| Error::new(ErrorKind::Internal, "cannot write a document").with_source(error))?;
        let packed = Packed { tag, gzip };
        let mut kept = self.kept.lock();
        if kept.0 == snapshot.generation {
            kept.1.insert(path.to_owned(), packed.clone());
        }
        Ok(packed)
    }
}
