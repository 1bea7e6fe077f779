//! Reading a collection: pages of one state, with selectors.

use windlass_kernel::{
    Document,
    api::{Answer, List, Options, Request, Response, VersionMatch},
    error::{Cause, Error, ErrorKind, Result},
    store::{Key, KeyRange, ListSpec, ReadAt, Revision},
};

use super::get::{explain_future, revision};
use crate::{convert, cursor::Cursor, errors, registry::Served, select::Selection, server::ApiServer};

/// How many objects are looked at in one go for a page of selected ones.
const STRIDE: usize = 500;

/// Reads the collection that the request names.
pub(crate) async fn list(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    check(&request.options)?;
    let selection = Selection::parse(served, &request.options)?;
    let page = read(server, served, &request.namespace, &selection, &request.options).await?;
    let items = convert::all_to_client(server, served, page.items).await?;
    let list = List {
        api_version: served.api_version(),
        kind: served.info.list_kind.to_string(),
        revision: page.revision,
        continue_token: page.next.map(|cursor| cursor.encode()).unwrap_or_default(),
        remaining: page.remaining,
        items,
    };
    Ok(Response { code: 200, warnings: Vec::new(), answer: Answer::List(list) })
}

/// One page, as it is stored.
pub(crate) struct Page {
    /// The state.
    pub(crate) revision: Revision,
    /// The objects.
    pub(crate) items: Vec<Document>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Cursor>,
    /// How many objects follow, where that is known.
    pub(crate) remaining: Option<u64>,
}

/// Reads one page.
pub(crate) async fn read(
    server: &ApiServer,
    served: &Served,
    namespace: &str,
    selection: &Selection,
    options: &Options,
) -> Result<Page> {
    let mut range = selection.range(served, namespace);
    let prefix = served.collection(namespace);
    let cursor = (!options.continue_token.is_empty()).then(|| Cursor::decode(&options.continue_token)).transpose()?;
    let mut at = state(options, cursor.as_ref())?;
    if let Some(cursor) = &cursor {
        range.start = range.start.max(Key::from(format!("{prefix}{}", cursor.start)));
    }
    let wanted = usize::try_from(options.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let everything = selection.is_everything();
    let mut items = Vec::new();
    loop {
        let limit = (wanted < usize::MAX).then(|| if everything { wanted } else { STRIDE.max(wanted) });
        let spec = ListSpec { range: range.clone(), at, limit };
        let listing = match server.parts.store.list(&spec).await {
            Ok(listing) => listing,
            Err(error) => return Err(explain(server, error, at, cursor.as_ref()).await),
        };
        let read = listing.entries.len();
        let mut last = None;
        let documents = listing.entries.into_iter().map(Document::stored).collect::<Result<Vec<_>>>()?;
        let documents = selection.readable(server, served, documents).await?;
        for (index, document) in documents.into_iter().enumerate() {
            if selection.matches(served, &document) {
                last = Some((index, document.entry().key.clone()));
                items.push(document);
                if items.len() == wanted {
                    break;
                }
            } else if index + 1 == read {
                last = Some((index, document.entry().key.clone()));
            }
        }
        let left = last.as_ref().map_or(0, |(index, _)| read - index - 1) + listing.remaining;
        let done = left == 0 || items.len() >= wanted;
        let Some((_, key)) = last.filter(|_| left > 0) else {
            return Ok(Page { revision: listing.revision, items, next: None, remaining: None });
        };
        let start = format!("{}\0", key.as_str());
        if done {
            let start = start.strip_prefix(&prefix).unwrap_or(&start).to_owned();
            let next = Some(Cursor { revision: Some(listing.revision), start });
            let remaining = everything.then_some(left as u64);
            return Ok(Page { revision: listing.revision, items, next, remaining });
        }
        range = KeyRange { start: start.into(), end: range.end };
        at = ReadAt::Exactly(listing.revision);
    }
}

/// Which state a list reads.
fn state(options: &Options, cursor: Option<&Cursor>) -> Result<ReadAt> {
    let asked = options.resource_version.as_str();
    if let Some(cursor) = cursor {
        if !asked.is_empty() && asked != "0" {
            return Err(errors::bad_request("specifying resource version is not allowed when using continue"));
        }
        return Ok(cursor.revision.map_or(ReadAt::Latest, ReadAt::Exactly));
    }
    if asked.is_empty() {
        return Ok(ReadAt::Latest);
    }
    let revision = revision(asked)?;
    Ok(match options.version_match {
        Some(VersionMatch::Exact) => ReadAt::Exactly(revision),
        None if options.limit > 0 && revision > Revision(0) => ReadAt::Exactly(revision),
        Some(VersionMatch::NotOlderThan) | None => ReadAt::NotOlderThan(revision),
    })
}

/// Refuses options that contradict each other.
fn check(options: &Options) -> Result<()> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut refuse = |field: &str, why: &str| causes.push(errors::not_allowed(field, why));
    if let Some(version_match) = options.version_match {
        if options.resource_version.is_empty() {
            refuse("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !options.continue_token.is_empty() {
            refuse("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
        }
        if version_match == VersionMatch::Exact && options.resource_version == "0" {
            refuse("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if options.send_initial_events.is_some() {
        refuse("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if causes.is_empty() { Ok(()) } else { Err(errors::invalid("meta.k8s.io", "ListOptions", "", causes)) }
}

async fn explain(server: &ApiServer, error: Error, at: ReadAt, cursor: Option<&Cursor>) -> Error {
    if !error.is(ErrorKind::Compacted) {
        return explain_future(server, error, at).await;
    }
    let compacted = error.details().and_then(|details| details.compacted);
    let Some(cursor) = cursor else {
        let message = "The resourceVersion for the provided list is too old.";
        return Error::new(ErrorKind::Compacted, message).detailed(|details| details.compacted = compacted);
    };
    let token = Cursor { revision: None, start: cursor.start.clone() }.encode();
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new \
                   list without the continue parameter, or use the continue token in this response to retrieve the \
                   remainder of the results. Continuing with the provided token results in an inconsistent list - \
                   objects that were created, modified, or deleted between the time the first chunk was returned and \
                   now may show up in the list.";
    Error::new(ErrorKind::Compacted, message).detailed(|details| {
        details.compacted = compacted;
        details.continue_token = token;
    })
}
