//! Reading one object.

use windlass_kernel::{
    Document,
    api::{Answer, Request, Response},
    error::{Cause, Error, ErrorKind, Result},
    store::{ReadAt, Revision},
};

use crate::{convert, errors, registry::Served, server::ApiServer};

/// Reads the object that the request names.
pub(crate) async fn get(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    let document = read(server, served, request).await?;
    let document = convert::stored_to_client(server, served, document).await?;
    Ok(Response { code: 200, warnings: Vec::new(), answer: Answer::Object(document) })
}

/// The object that the request names, as it is stored.
pub(crate) async fn read(server: &ApiServer, served: &Served, request: &Request) -> Result<Document> {
    let at = match request.options.resource_version.as_str() {
        "" => ReadAt::Latest,
        text => ReadAt::NotOlderThan(revision(text)?),
    };
    let key = served.key(&request.namespace, &request.name);
    let entry = match server.parts.store.get(&key, at).await {
        Err(error) => return Err(explain_future(server, error, at).await),
        Ok(entry) => entry,
    };
    Document::stored(entry.ok_or_else(|| errors::not_found(&served.info, &request.name))?)
}

/// A resource version as a revision.
pub(crate) fn revision(text: &str) -> Result<Revision> {
    let number = text.parse::<u64>();
    number.map(Revision).map_err(|_| errors::bad_request(format!("invalid resource version: {text:?}")))
}

/// Says of a revision that lies in the future what clients expect to read.
pub(crate) async fn explain_future(server: &ApiServer, error: Error, at: ReadAt) -> Error {
    let (ReadAt::NotOlderThan(wanted) | ReadAt::Exactly(wanted)) = at else { return error };
    if !error.is(ErrorKind::FutureRevision) {
        return error;
    }
    let Ok(latest) = server.parts.store.latest().await else { return error };
    let message = format!("Timeout: Too large resource version: {wanted}, current: {latest}");
    Error::new(ErrorKind::FutureRevision, message).detailed(|details| {
        details.retry_after = Some(std::time::Duration::from_secs(1));
        details.causes = vec![Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        }];
    })
}
