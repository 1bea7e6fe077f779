//! What a controller wrote and must see again before it decides anew, so that a stale cache never makes it repeat itself.
//!
//! Nothing here is state that must survive: who starts anew reads everything anew.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use windlass_client::{Cache, Client};
use windlass_kernel::{
    Result, Revision,
    api::{Answer, GroupVersionResource, Verb},
    controller::ObjectKey,
    error::Certainty,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The last write has this revision.
    At(Revision),
    /// Writes were begun, and how they ended is not known.
    Begun,
}

/// How far one resource's cache must be, by the key that the writes were for.
#[derive(Debug)]
pub(crate) struct Written {
    resource: GroupVersionResource,
    marks: Mutex<BTreeMap<ObjectKey, Mark>>,
}

/// Writes for one key. Where it is dropped without [`end`](Writing::end), their outcome counts as unknown.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    written: &'a Written,
    key: &'a ObjectKey,
    last: Mutex<Revision>,
}

impl Written {
    pub(crate) fn new(resource: GroupVersionResource) -> Self {
        Self { resource, marks: Mutex::default() }
    }

    /// Announces writes for a key.
    pub(crate) fn begin<'a>(&'a self, key: &'a ObjectKey) -> Writing<'a> {
        self.marks.lock().insert(key.clone(), Mark::Begun);
        Writing { written: self, key, last: Mutex::new(Revision(0)) }
    }

    /// Waits until `cache` holds what there was when it began, and has seen all writes that were made for a key.
    ///
    /// # Errors
    ///
    /// Those of the API, which is asked how far it is where the outcome of a write is not known.
    pub(crate) async fn seen_in<P>(&self, key: &ObjectKey, cache: &Cache<P>, client: &Client) -> Result<()>
    where
        P: Clone + Send + Sync + 'static,
    {
        cache.synced().await;
        let mark = self.marks.lock().get(key).copied();
        let revision = match mark {
            None => return Ok(()),
            Some(Mark::At(revision)) => revision,
            Some(Mark::Begun) => self.latest(client).await?,
        };
        cache.caught_up(revision).await;
        let mut marks = self.marks.lock();
        if marks.get(key).copied() == mark {
            marks.remove(key);
        }
        Ok(())
    }

    async fn latest(&self, client: &Client) -> Result<Revision> {
        let mut request = client.request(Verb::List, self.resource.clone());
        request.options.limit = 1;
        match client.call(request).await?.answer {
            Answer::List(list) => Ok(list.revision),
            Answer::Object(_) | Answer::Value(_) | Answer::Stream(_) | Answer::Session(_) | Answer::Destination(_) => {
                Ok(Revision(0))
            }
        }
    }
}

impl Writing<'_> {
    /// Notes the revision of a write.
    pub(crate) fn wrote(&self, revision: Revision) {
        let mut last = self.last.lock();
        *last = revision.max(*last);
    }

    /// Notes the revision of an object that was written.
    pub(crate) fn wrote_version(&self, version: Option<&str>) {
        self.wrote(Revision(version.and_then(|text| text.parse().ok()).unwrap_or(0)));
    }

    /// Ends the writes, of which `done` is the result. Their outcome counts as known unless an error says otherwise.
    pub(crate) fn end<T>(self, done: &Result<T>) {
        if done.as_ref().err().is_none_or(|error| error.certainty() == Certainty::NotApplied) {
            self.done();
        }
    }

    /// Says that the outcome of every write is known.
    fn done(self) {
        let mut marks = self.written.marks.lock();
        match *self.last.lock() {
            Revision(0) => marks.remove(self.key),
            last => marks.insert(self.key.clone(), Mark::At(last)),
        };
    }
}
