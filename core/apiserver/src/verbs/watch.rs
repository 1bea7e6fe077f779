//! Following a collection: changes as events, selected from the header of what changed, plus bookmarks and timeouts.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use windlass_kernel::{
    Clock, Document,
    api::{Events, Options, Request, VersionMatch, WatchEvent},
    clock::ClockExt,
    document::Recent,
    error::{Cause, Error, ErrorKind, Result},
    store::{Change, Entry, ListSpec, ReadAt, Revision, WatchStream},
};

use super::get::{explain_future, revision};
use crate::{convert, errors, registry::Served, select::Selection, server::ApiServer};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before a watch times out it says how far it came.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// Follows the collection that the request names.
pub(crate) async fn watch(server: &Arc<ApiServer>, served: &Arc<Served>, request: &Request) -> Result<Events> {
    let options = &request.options;
    check(options, server.parts.gates.watch_list)?;
    let mut selection = Selection::parse(served, options)?;
    if !request.name.is_empty() {
        let named = Options { field_selector: format!("metadata.name={}", request.name), ..options.clone() };
        selection = Selection::parse(served, &named)?;
    }
    let range = selection.range(served, &request.namespace);
    let asked = match options.resource_version.as_str() {
        "" => None,
        text => Some(revision(text)?),
    };
    let at_zero = asked.is_none_or(|revision| revision == Revision(0));
    let initial = options.send_initial_events.unwrap_or(at_zero);
    let store = &server.parts.store;
    let mut pending = VecDeque::new();
    let after = if initial {
        let at = asked.map_or(ReadAt::Latest, ReadAt::NotOlderThan);
        let listing = match store.list(&ListSpec { range: range.clone(), at, limit: None }).await {
            Ok(listing) => listing,
            Err(error) => return Err(explain_future(server, error, at).await),
        };
        let documents = listing.entries.into_iter().map(Document::stored).collect::<Result<Vec<_>>>()?;
        let mut documents = selection.readable(server, served, documents).await?;
        documents.retain(|document| selection.matches(served, document));
        let documents = convert::all_to_client(server, served, documents).await?;
        pending.extend(documents.into_iter().map(WatchEvent::Added));
        if options.send_initial_events == Some(true) && options.bookmarks {
            pending.push_back(WatchEvent::Bookmark { revision: listing.revision, initial_events_end: true });
        }
        listing.revision
    } else if at_zero {
        store.latest().await?
    } else {
        asked.unwrap_or_default()
    };
    let changes = match selection.pick(served) {
        Some(pick) => store.watch_picked(range, pick, after).await,
        None => store.watch(range, after).await,
    };
    let changes = match changes {
        Ok(changes) => changes,
        // What is too old is an event of the watch, as clients expect; anything else refuses it.
        Err(error) if error.is(ErrorKind::Compacted) => {
            return Ok(stream::once(async { Err(too_old(error)) }).boxed());
        }
        Err(error) => return Err(explain_future(server, error, ReadAt::NotOlderThan(after)).await),
    };
    let clock = Arc::clone(&server.parts.clock);
    let end = options.timeout.map(|span| clock.uptime().saturating_add(span));
    let following = Following {
        pending,
        changes,
        selection,
        served: Arc::clone(served),
        server: Arc::clone(server),
        recent: Arc::clone(&server.parts.recent),
        end: end.map(|end| clock.sleep_until(end)),
        farewell: end
            .filter(|_| options.bookmarks)
            .map(|end| clock.sleep_until(end.saturating_sub(BOOKMARK_BEFORE_END))),
        bookmark: options.bookmarks.then(|| clock.sleep(BOOKMARK_EVERY)),
        retired: served.definition().map(|version| {
            let retired = Arc::clone(&version.retired);
            async move { retired.wait().await }.boxed()
        }),
        clock,
        said: after,
        over: false,
    };
    Ok(stream::unfold(following, |mut following| async move { following.next().await.map(|event| (event, following)) })
        .boxed())
}

struct Following {
    pending: VecDeque<WatchEvent>,
    changes: WatchStream,
    selection: Selection,
    served: Arc<Served>,
    server: Arc<ApiServer>,
    recent: Arc<Recent>,
    clock: Arc<dyn Clock>,
    end: Option<BoxFuture<'static, ()>>,
    farewell: Option<BoxFuture<'static, ()>>,
    bookmark: Option<BoxFuture<'static, ()>>,
    /// Ends when the resource is defined otherwise, or no more.
    retired: Option<BoxFuture<'static, ()>>,
    /// Up to where the client knows that it has seen everything.
    said: Revision,
    over: bool,
}

enum Woken {
    Change(Option<Result<Arc<Change>>>),
    Bookmark,
    Farewell,
    End,
}

impl Following {
    async fn next(&mut self) -> Option<Result<WatchEvent>> {
        if self.over {
            return None;
        }
        if let Some(event) = self.pending.pop_front() {
            return Some(Ok(event));
        }
        loop {
            match self.woken().await {
                Woken::Change(Some(Ok(change))) => match self.event(&change).await {
                    Ok(None) => {}
                    Ok(Some(event)) => return Some(Ok(event)),
                    Err(error) => return self.last(error),
                },
                Woken::Change(Some(Err(error))) => return self.last(too_old(error)),
                Woken::Change(None) | Woken::End => return None,
                Woken::Bookmark => {
                    self.bookmark = Some(self.clock.sleep(BOOKMARK_EVERY));
                    return Some(Ok(self.bookmark()));
                }
                Woken::Farewell => {
                    self.farewell = None;
                    return Some(Ok(self.bookmark()));
                }
            }
        }
    }

    /// Waits for whatever comes first; changes before timers.
    async fn woken(&mut self) -> Woken {
        let Self { changes, end, farewell, bookmark, retired, .. } = self;
        futures::select_biased! {
            change = changes.next().fuse() => Woken::Change(change),
            () = maybe(end.as_mut()).fuse() => Woken::End,
            () = maybe(retired.as_mut()).fuse() => Woken::End,
            () = maybe(farewell.as_mut()).fuse() => Woken::Farewell,
            () = maybe(bookmark.as_mut()).fuse() => Woken::Bookmark,
        }
    }

    fn bookmark(&mut self) -> WatchEvent {
        self.said = self.said.max(self.changes.progress());
        WatchEvent::Bookmark { revision: self.said, initial_events_end: false }
    }

    fn last(&mut self, error: Error) -> Option<Result<WatchEvent>> {
        self.over = true;
        Some(Err(error))
    }

    /// What a change is to a client that sees only what is selected.
    async fn event(&mut self, change: &Change) -> Result<Option<WatchEvent>> {
        self.said = self.said.max(change.revision);
        let before = self.selected(change.before.as_ref()).await?;
        let after = self.selected(change.after.as_ref()).await?;
        // Whoever follows the same objects in this process finds them decoded.
        let after = after.map(|document| document.shared(&self.recent));
        let (server, served) = (&self.server, &self.served);
        Ok(match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(WatchEvent::Added(convert::stored_to_client(server, served, after).await?)),
            (Some(_), Some(after)) => {
                Some(WatchEvent::Modified(convert::stored_to_client(server, served, after).await?))
            }
            (Some(before), None) => {
                let last = Document::deleted(Arc::clone(before.entry()), change.revision)?;
                Some(WatchEvent::Deleted(convert::stored_to_client(server, served, last).await?))
            }
        })
    }

    /// One side of a change, if there is one and it is selected.
    async fn selected(&mut self, entry: Option<&Arc<Entry>>) -> Result<Option<Document>> {
        let Some(entry) = entry else { return Ok(None) };
        let documents = vec![Document::stored(Arc::clone(entry))?];
        let mut documents = self.selection.readable(&self.server, &self.served, documents).await?;
        Ok(documents.pop().filter(|document| self.selection.matches(&self.served, document)))
    }
}

async fn maybe(timer: Option<&mut BoxFuture<'static, ()>>) {
    match timer {
        Some(timer) => timer.await,
        None => futures::future::pending().await,
    }
}

fn too_old(error: Error) -> Error {
    if !error.is(ErrorKind::Compacted) {
        return error;
    }
    let compacted = error.details().and_then(|details| details.compacted);
    let message = match compacted {
        Some(revision) => format!("too old resource version: the oldest that is kept is {revision}"),
        None => "too old resource version".to_owned(),
    };
    Error::new(ErrorKind::Compacted, message).detailed(|details| details.compacted = compacted)
}

fn check(options: &Options, initial: bool) -> Result<()> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut refuse = |field: &str, why: &str| causes.push(errors::not_allowed(field, why));
    if options.send_initial_events.is_some() && !initial {
        let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
        refuse("sendInitialEvents", why);
    }
    let not_older = options.version_match == Some(VersionMatch::NotOlderThan);
    if options.send_initial_events.is_some() && !not_older {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        refuse("resourceVersionMatch", why);
    }
    if options.version_match.is_some() && options.send_initial_events.is_none() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        refuse("resourceVersionMatch", why);
    }
    if options.version_match.is_some() && !options.continue_token.is_empty() {
        refuse("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
    }
    if causes.is_empty() { Ok(()) } else { Err(errors::invalid("meta.k8s.io", "ListOptions", "", causes)) }
}
