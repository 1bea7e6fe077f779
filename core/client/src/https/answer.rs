//! HTTP answers as the kernel's: objects, lists, warnings and errors. Pure.

use std::time::Duration;

use http::{HeaderMap, header, response::Parts};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use windlass_kernel::{
    Document, Error, ErrorKind, Result, Revision,
    api::{Answer, List},
};

/// What a server says where it refuses.
pub(super) fn refusal(head: &Parts, body: &[u8]) -> Error {
    let code = head.status.as_u16();
    let mut status: Value = serde_json::from_slice(body).unwrap_or_default();
    if status["kind"] != "Status" {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let message = if text.is_empty() { head.status.to_string() } else { text.to_owned() };
        status = serde_json::json!({"kind": "Status", "message": message});
    }
    let after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Error::from_status(code, &status).detailed(|details| {
        details.retry_after = details.retry_after.or(after.map(Duration::from_secs));
    })
}

/// Whether an answer is an object rather than bytes for people.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// The texts of `Warning` headers: those of code 299, as Kubernetes sends them.
pub(super) fn warnings(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::WARNING).iter().filter_map(|value| value.to_str().ok());
    lines.filter_map(warning).collect()
}

fn warning(line: &str) -> Option<String> {
    let quoted = line.strip_prefix("299 ")?.split_once('"')?.1;
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return Some(text),
            '\\' => text.extend(chars.next()),
            other => text.push(other),
        }
    }
    None
}

/// An answer's JSON.
pub(super) fn decode(bytes: &[u8]) -> Result<Answer> {
    let wrong = |error| Error::new(ErrorKind::Internal, "the server's answer is not JSON").with_source(error);
    // What does not look like this is no object either.
    let head: Head<'_> = serde_json::from_slice(bytes).unwrap_or_default();
    match head.items {
        Some(items) if head.kind.ends_with("List") => list(&head, items).map(Answer::List),
        // What is not stored has no resource version: reviews, statuses, tokens.
        _ if head.metadata.resource_version.is_some() && head.kind != "Status" => {
            Document::received(std::str::from_utf8(bytes).unwrap_or_default(), ("", "")).map(Answer::Object)
        }
        _ => serde_json::from_slice(bytes).map(Answer::Value).map_err(wrong),
    }
}

/// What tells lists, objects and other answers from each other. Objects themselves are not decoded.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: HeadMeta,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMeta {
    resource_version: Option<String>,
    #[serde(default, rename = "continue")]
    continue_token: String,
    remaining_item_count: Option<u64>,
}

fn list(head: &Head<'_>, items: &RawValue) -> Result<List> {
    let item_kind = head.kind.strip_suffix("List").unwrap_or_default();
    let wrong = |error| Error::new(ErrorKind::Internal, "the items of a list are no list").with_source(error);
    // A list of nothing may be `null`.
    let items: Option<Vec<&RawValue>> = serde_json::from_str(items.get()).map_err(wrong)?;
    let item = |item: &RawValue| Document::received(item.get(), (&head.api_version, item_kind));
    Ok(List {
        api_version: head.api_version.clone(),
        kind: head.kind.clone(),
        revision: Revision(head.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)),
        continue_token: head.metadata.continue_token.clone(),
        remaining: head.metadata.remaining_item_count,
        items: items.unwrap_or_default().into_iter().map(item).collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    #[test]
    fn items_of_a_list_know_what_they_are() {
        let text = br#"{"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "9", "continue": "x"},
            "items": [{"metadata": {"name": "a", "resourceVersion": "5"}}]}"#;
        let Answer::List(list) = decode(text).unwrap() else { panic!("no list") };
        assert_eq!((list.revision, list.continue_token.as_str()), (Revision(9), "x"));
        let item = list.items[0].value().unwrap();
        assert_eq!((item["kind"].as_str(), item["apiVersion"].as_str()), (Some("Pod"), Some("v1")));
        assert_eq!(list.items[0].revision(), Revision(5));
    }

    #[test]
    fn refusals_are_read_from_the_status_or_the_code() {
        let status = br#"{"kind": "Status", "reason": "AlreadyExists", "code": 409, "message": "there"}"#;
        for (code, body, kind, message) in [
            (409, status.as_slice(), ErrorKind::AlreadyExists, "there"),
            (503, b"down\n", ErrorKind::Unavailable, "down"),
            (404, b"", ErrorKind::NotFound, "404 Not Found"),
        ] {
            let head = Response::builder().status(code).header("retry-after", "3").body(()).unwrap().into_parts().0;
            let error = refusal(&head, body);
            assert_eq!((error.kind(), error.message()), (kind, message));
            assert_eq!(error.details().unwrap().retry_after, Some(Duration::from_secs(3)));
        }
    }

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(warning(r#"299 - "use \"v1\" instead""#).as_deref(), Some(r#"use "v1" instead"#));
        assert_eq!(warning("199 - \"x\""), None);
    }
}
