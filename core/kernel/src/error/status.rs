//! Errors as Kubernetes Status objects, and back: the one place that knows codes and reasons.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Cause, Details, Error, ErrorKind};

impl ErrorKind {
    /// Every kind, in the order of the table in `docs/errors.md`.
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Compacted,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::Internal,
        Self::NotSupported,
        Self::Unavailable,
        Self::Timeout,
        Self::FutureRevision,
        Self::Corrupt,
        Self::Full,
    ];

    /// The HTTP status and the Status reason (`metav1.StatusReason`).
    #[must_use]
    pub fn http(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "BadRequest"),
            Self::Unauthorized => (401, "Unauthorized"),
            Self::Forbidden => (403, "Forbidden"),
            Self::NotFound => (404, "NotFound"),
            Self::MethodNotAllowed => (405, "MethodNotAllowed"),
            Self::NotAcceptable => (406, "NotAcceptable"),
            Self::AlreadyExists => (409, "AlreadyExists"),
            Self::Conflict => (409, "Conflict"),
            Self::Compacted => (410, "Expired"),
            Self::TooLarge => (413, "RequestEntityTooLarge"),
            Self::UnsupportedMediaType => (415, "UnsupportedMediaType"),
            Self::Invalid => (422, "Invalid"),
            Self::TooManyRequests => (429, "TooManyRequests"),
            Self::Internal | Self::Corrupt => (500, "InternalError"),
            Self::NotSupported => (501, "NotImplemented"),
            Self::Unavailable => (503, "ServiceUnavailable"),
            Self::Timeout | Self::FutureRevision => (504, "Timeout"),
            Self::Full => (507, "InsufficientStorage"),
        }
    }

    /// Whether the same call can succeed later without a change by the caller.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Self::TooManyRequests | Self::Unavailable | Self::Timeout | Self::FutureRevision | Self::Full)
    }

    fn from_http(code: u16, reason: &str) -> Self {
        let known = Self::ALL.iter().find(|kind| kind.http() == (code, reason));
        let by_code = || Self::ALL.iter().find(|kind| kind.http().0 == code);
        *known.or_else(by_code).unwrap_or(if code >= 500 { &Self::Internal } else { &Self::BadRequest })
    }
}

impl Error {
    /// The error as a `metav1.Status` of status `Failure`.
    #[must_use]
    pub fn to_status(&self) -> Value {
        let (code, reason) = self.kind().http();
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message(), "reason": reason, "code": code,
        });
        if let Some(details) = self.details() {
            if !details.reason.is_empty() {
                status["reason"] = details.reason.as_str().into();
            }
            if !details.continue_token.is_empty() {
                status["metadata"]["continue"] = details.continue_token.as_str().into();
            }
            let written = details_to_json(details);
            if !written.is_empty() {
                status["details"] = Value::Object(written);
            }
        }
        status
    }

    /// Reads a Status that a server answered with.
    #[must_use]
    pub fn from_status(code: u16, status: &Value) -> Self {
        let text = |key: &str| status[key].as_str().unwrap_or_default();
        let code = status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(code);
        let mut details = details_from_json(&status["details"]);
        let mut kind = ErrorKind::from_http(code, text("reason"));
        if details.causes.iter().any(|cause| cause.reason == "ResourceVersionTooLarge") {
            kind = ErrorKind::FutureRevision;
        }
        if kind.http().1 != text("reason") {
            details.reason = text("reason").into();
        }
        details.continue_token = status["metadata"]["continue"].as_str().unwrap_or_default().into();
        Self::new(kind, text("message")).with_details(details)
    }
}

fn details_to_json(details: &Details) -> Map<String, Value> {
    let mut written = Map::new();
    for (key, value) in
        [("name", &details.name), ("group", &details.group), ("kind", &details.kind), ("uid", &details.uid)]
    {
        if !value.is_empty() {
            written.insert(key.into(), value.as_str().into());
        }
    }
    if !details.causes.is_empty() {
        written.insert("causes".into(), details.causes.iter().map(cause_to_json).collect());
    }
    if let Some(after) = details.retry_after {
        written.insert("retryAfterSeconds".into(), after.as_secs().max(1).into());
    }
    written
}

fn cause_to_json(cause: &Cause) -> Value {
    let parts = [("reason", &cause.reason), ("message", &cause.message), ("field", &cause.field)];
    let parts = parts.into_iter().filter(|(_, value)| !value.is_empty());
    Value::Object(parts.map(|(key, value)| (key.into(), value.as_str().into())).collect())
}

fn details_from_json(details: &Value) -> Details {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let causes = details["causes"].as_array().into_iter().flatten();
    Details {
        name: text(details, "name"),
        group: text(details, "group"),
        kind: text(details, "kind"),
        uid: text(details, "uid"),
        causes: causes
            .map(|c| Cause { reason: text(c, "reason"), message: text(c, "message"), field: text(c, "field") })
            .collect(),
        retry_after: details["retryAfterSeconds"].as_u64().map(Duration::from_secs),
        ..Details::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back_as_the_same_error() {
        for kind in ErrorKind::ALL {
            let cause = Cause { reason: "R".into(), message: "m".into(), field: "f".into() };
            let error = Error::new(*kind, "text").detailed(|d| d.causes = vec![cause.clone()]);
            let back = Error::from_status(kind.http().0, &error.to_status());
            assert_eq!(back.kind().http(), kind.http());
            assert_eq!(back.message(), "text");
            assert_eq!(back.details().unwrap().causes, [cause]);
        }
    }

    #[test]
    fn the_table_in_the_documentation_is_true() {
        let table = include_str!("../../../../docs/errors.md").split("\n## ").nth(1).unwrap();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
            .collect();
        assert_eq!(rows.len(), ErrorKind::ALL.len(), "one row for each kind");
        for (row, kind) in rows.iter().zip(ErrorKind::ALL) {
            let (code, reason) = kind.http();
            let retry = if kind.retryable() { "yes" } else { "no" };
            let [name, said_code, said_reason, _grpc, _python, said_retry] = row[..] else { panic!("{row:?}") };
            assert_eq!(
                (name, said_code, said_reason, said_retry),
                (&*format!("{kind:?}"), &*code.to_string(), reason, retry)
            );
        }
    }
}
