//! Deleting a collection: each object by itself, as a deletion of its own would.

use windlass_kernel::{
    api::{Answer, List, Options, Request, Response},
    error::{ErrorKind, Result},
};

use super::{
    delete::{Gone, read_options, remove},
    list::read,
};
use crate::{convert, registry::Served, select::Selection, server::ApiServer, write::Whom};

/// Deletes what the request's selectors select and answers what was deleted.
pub(crate) async fn delete_collection(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    read_options(&mut request)?;
    let selection = Selection::parse(served, &request.options)?;
    let which = Options {
        limit: request.options.limit,
        continue_token: request.options.continue_token.clone(),
        resource_version: request.options.resource_version.clone(),
        version_match: request.options.version_match,
        ..Options::default()
    };
    let page = read(server, served, &request.namespace, &selection, &which).await?;
    let mut warnings = Vec::new();
    let mut items = Vec::with_capacity(page.items.len());
    let within = request.namespace.clone();
    for document in page.items {
        let (namespace, name) = served.name_of(document.entry().key.as_str());
        request.namespace = namespace.to_owned();
        request.name = name.to_owned();
        match remove(server, served, &request, Whom::All, &mut warnings).await {
            Ok(Gone::Now(gone) | Gone::Pending(gone)) => {
                items.push(convert::stored_to_client(server, served, gone).await?)
            }
            Err(error) if error.is(ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    tracing::debug!(resource = &*served.info.plural, namespace = within, deleted = items.len(), "collection deleted");
    let list = List {
        api_version: served.api_version(),
        kind: served.info.list_kind.to_string(),
        revision: page.revision,
        continue_token: page.next.map(|cursor| cursor.encode()).unwrap_or_default(),
        remaining: page.remaining,
        items,
    };
    Ok(Response { code: 200, warnings, answer: Answer::List(list) })
}
