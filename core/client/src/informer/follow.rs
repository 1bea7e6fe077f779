//! Following one selection: the initial state, then changes without a gap, then again when the history is gone.
//!
//! Asks for a watch that begins with the present objects, and lists where a server does not know that.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use event_listener::Event;
use futures::{FutureExt, StreamExt, future::Either, pin_mut, select_biased};
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, ClockExt, Document, Entropy, Error, ErrorKind, Result, Revision,
    api::{Events, Options, Verb, VersionMatch, WatchEvent},
    controller::ObjectKey,
};

use super::inner::Sink;
use crate::{backoff::Backoff, client::Client, select::Selection};

const FIRST_RETRY: Duration = Duration::from_millis(800);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// A watch that lived so long was healthy: the next failure is a first one.
const HEALTHY: Duration = Duration::from_secs(120);
const PAGE: u64 = 500;
/// After so many events at the latest the caches are told how far they are.
const BATCH: usize = 64;

/// Who is fed, and the wish of a newcomer to hear everything again.
#[derive(Default)]
pub(super) struct Sinks {
    pub(super) list: Mutex<Vec<Weak<dyn Sink>>>,
    newcomer: Mutex<bool>,
    wish: Event,
}

impl Sinks {
    pub(super) fn add(&self, sink: &Arc<impl Sink + 'static>) {
        let weak = Arc::downgrade(sink);
        self.list.lock().push(weak);
        *self.newcomer.lock() = true;
        self.wish.notify(usize::MAX);
    }

    fn each(&self, tell: impl Fn(&dyn Sink)) {
        let mut list = self.list.lock();
        list.retain(|sink| sink.strong_count() > 0);
        let sinks: Vec<_> = list.iter().filter_map(Weak::upgrade).collect();
        drop(list);
        sinks.iter().for_each(|sink| tell(sink.as_ref()));
    }

    async fn newcomer(&self) {
        loop {
            let wish = self.wish.listen();
            if *self.newcomer.lock() {
                return;
            }
            wish.await;
        }
    }
}

pub(super) struct Follower {
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) selection: Selection,
    pub(super) sinks: Arc<Sinks>,
}

/// How far a follower is.
#[derive(Default)]
struct Progress {
    /// Where to go on; `None` where everything is to be heard again.
    at: Option<Revision>,
    /// Whether the server refused to begin a watch with the present objects.
    lists: bool,
}

impl Follower {
    pub(super) async fn run(self) {
        let mut progress = Progress::default();
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        loop {
            let begun = self.clock.uptime();
            let ended = {
                let newcomer = self.sinks.newcomer().fuse();
                let followed = self.follow(&mut progress).fuse();
                pin_mut!(newcomer, followed);
                select_biased! {
                    () = newcomer => Either::Left(()),
                    ended = followed => Either::Right(ended),
                }
            };
            let Either::Right(ended) = ended else {
                *self.sinks.newcomer.lock() = false;
                progress.at = None;
                continue;
            };
            let lived = self.clock.uptime().saturating_sub(begun);
            if lived >= HEALTHY {
                backoff.reset();
            }
            let mut delay = Duration::ZERO;
            match ended {
                // Servers end watches now and then; one that ends at once is not to be asked again at once.
                Ok(()) if lived >= FIRST_RETRY => continue,
                Ok(()) => {}
                Err(error) if error.is(ErrorKind::Compacted) => {
                    tracing::info!(of = ?self.selection, "the history is gone, listing again");
                    progress.at = None;
                }
                Err(error) => {
                    tracing::warn!(of = ?self.selection, %error, "a watch failed, trying again");
                    delay = error.details().and_then(|details| details.retry_after).unwrap_or_default();
                }
            }
            self.clock.sleep(delay.max(backoff.next(self.entropy.as_ref()))).await;
        }
    }

    async fn follow(&self, progress: &mut Progress) -> Result<()> {
        if let Some(at) = progress.at {
            let events = self.watch(Options { resource_version: at.to_string(), ..Options::default() }).await?;
            return self.pass_on(events, progress, None).await;
        }
        if !progress.lists {
            match self.watch_from_start(progress).await {
                Err(error) if unknown_to_server(&error) => progress.lists = true,
                ended => return ended,
            }
        }
        self.list(progress).await
    }

    async fn watch_from_start(&self, progress: &mut Progress) -> Result<()> {
        let options = Options {
            send_initial_events: Some(true),
            version_match: Some(VersionMatch::NotOlderThan),
            ..Options::default()
        };
        let events = self.watch(options).await?;
        self.pass_on(events, progress, Some(BTreeSet::new())).await
    }

    async fn watch(&self, options: Options) -> Result<Events> {
        self.client.watch(&self.selection, Options { bookmarks: true, ..options }).await
    }

    /// Passes events on until the watch ends. `present` collects the initial objects, where they come first.
    async fn pass_on(
        &self,
        mut events: Events,
        progress: &mut Progress,
        mut present: Option<BTreeSet<ObjectKey>>,
    ) -> Result<()> {
        let mut untold = 0;
        loop {
            let mut next = events.next().now_or_never();
            if next.is_none() || untold >= BATCH || !matches!(next, Some(Some(Ok(_)))) {
                // Of events that come together, the last one says how far they go.
                if let Some(revision) = progress.at.filter(|_| untold > 0) {
                    self.sinks.each(|sink| sink.progress(revision));
                }
                untold = 0;
            }
            if next.is_none() {
                next = Some(events.next().await);
            }
            let Some(event) = next.flatten() else { return Ok(()) };
            let revision = self.pass_one_on(event?, &mut present);
            // Initial objects come in the order of their keys: only their end says how far one is.
            if present.is_none() {
                progress.at = resumable(revision);
                untold += 1;
            }
        }
    }

    /// Passes one event on; the revision that it speaks of.
    fn pass_one_on(&self, event: WatchEvent, present: &mut Option<BTreeSet<ObjectKey>>) -> Revision {
        match event {
            WatchEvent::Added(document) | WatchEvent::Modified(document) => {
                self.put(&document, present.as_mut());
                document.revision()
            }
            WatchEvent::Deleted(document) => {
                self.gone(&document, present.as_mut());
                document.revision()
            }
            WatchEvent::Bookmark { revision, initial_events_end } => {
                if let Some(present) = present.take_if(|_| initial_events_end) {
                    self.sinks.each(|sink| sink.listed(&present, revision));
                }
                revision
            }
        }
    }

    async fn list(&self, progress: &mut Progress) -> Result<()> {
        let mut request = self.client.request(Verb::List, self.selection.resource.clone());
        request.namespace.clone_from(&self.selection.select.namespace);
        request.options.label_selector.clone_from(&self.selection.select.labels);
        request.options.field_selector.clone_from(&self.selection.select.fields);
        request.options.limit = PAGE;
        let mut present = BTreeSet::new();
        let revision = loop {
            let page = self.client.list_with(request.clone()).await?;
            for document in &page.items {
                self.put(document, Some(&mut present));
            }
            if page.continue_token.is_empty() {
                break page.revision;
            }
            request.options.continue_token = page.continue_token;
        };
        self.sinks.each(|sink| sink.listed(&present, revision));
        progress.at = resumable(revision);
        let events = self.watch(Options { resource_version: revision.to_string(), ..Options::default() }).await?;
        self.pass_on(events, progress, None).await
    }

    fn put(&self, document: &Document, present: Option<&mut BTreeSet<ObjectKey>>) {
        let Some(key) = key(document).map(Arc::new) else { return };
        // Whatever the first cache decodes, the others find decoded.
        let document = document.keeping();
        self.sinks.each(|sink| sink.put(&key, &document));
        if let Some(present) = present {
            present.insert(Arc::unwrap_or_clone(key));
        }
    }

    fn gone(&self, document: &Document, present: Option<&mut BTreeSet<ObjectKey>>) {
        let Some(key) = key(document) else { return };
        self.sinks.each(|sink| sink.gone(&key));
        if let Some(present) = present {
            present.remove(&key);
        }
    }
}

/// A watch cannot go on at 0, which asks servers for anything they have.
fn resumable(revision: Revision) -> Option<Revision> {
    Some(revision).filter(|revision| revision.0 > 0)
}

fn key(document: &Document) -> Option<ObjectKey> {
    let key = document.object_key();
    key.inspect_err(|error| tracing::error!(?document, %error, "an object cannot be read and is left out")).ok()
}

/// Whether a server refused a watch because it does not know how to begin one with the present objects.
fn unknown_to_server(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BadRequest | ErrorKind::Invalid | ErrorKind::NotSupported | ErrorKind::MethodNotAllowed
    )
}
