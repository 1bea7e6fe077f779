//! An answer that was read to its end, and what is expected of it.

use bytes::Bytes;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The method and the target that it answers.
    pub asked: String,
    /// The status code.
    pub code: u16,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A header's value; empty where it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// The texts of the `Warning` headers, as they stand there.
    #[must_use]
    pub fn warnings(&self) -> Vec<&str> {
        self.headers.iter().filter(|(name, _)| name == "warning").map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Where it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => {
                panic!("{} was answered {} and not in JSON ({error}): {}", self.asked, self.code, self.start())
            }
        }
    }

    /// The body as JSON; the answer must have this code.
    ///
    /// # Panics
    ///
    /// Where it has another.
    #[track_caller]
    pub fn with(&self, code: u16) -> Value {
        self.coded(code);
        self.json()
    }

    /// As [`with`](Self::with) code 200.
    #[track_caller]
    pub fn ok(&self) -> Value {
        self.with(200)
    }

    /// The answer must have this code, whatever its body.
    #[track_caller]
    pub fn coded(&self, code: u16) {
        assert!(self.code == code, "{} was answered {} instead of {code}: {}", self.asked, self.code, self.start());
    }

    /// The Status of a refusal; it must have this code and reason.
    ///
    /// # Panics
    ///
    /// Where it is none, or has others.
    #[track_caller]
    pub fn refused(&self, code: u16, reason: &str) -> Value {
        let status = self.with(code);
        let head = ["apiVersion", "kind", "status"].map(|field| status[field].as_str().unwrap_or_default());
        assert_eq!(head, ["v1", "Status", "Failure"], "{} was not refused by a Status: {status}", self.asked);
        assert_eq!(status["code"], code, "the code in the Status of {}: {status}", self.asked);
        let told = status["reason"].as_str().unwrap_or_default();
        assert!(told == reason, "{} was refused with reason {told:?} instead of {reason:?}: {status}", self.asked);
        status
    }

    /// The Status of a refusal of an object: code 422, and causes of these fields.
    ///
    /// # Panics
    ///
    /// Where it is none, or a field is not among the causes.
    #[track_caller]
    pub fn invalid(&self, fields: &[&str]) -> Value {
        let status = self.refused(422, "Invalid");
        let causes = causes(&status);
        for field in fields {
            assert!(
                causes.iter().any(|(own, _)| own == field),
                "{}: no cause has the field {field:?}: {status}",
                self.asked
            );
        }
        status
    }

    fn start(&self) -> String {
        self.text().chars().take(600).collect()
    }
}

/// The fields and reasons of a Status's causes.
pub(super) fn causes(status: &Value) -> Vec<(&str, &str)> {
    let causes = status["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &'_ Value| -> Option<usize> { value.as_str().map(str::len) };
    causes
        .iter()
        .filter(|cause| text(&cause["field"]).is_some() || text(&cause["reason"]).is_some())
        .map(|cause| (cause["field"].as_str().unwrap_or_default(), cause["reason"].as_str().unwrap_or_default()))
        .collect()
}

/// A Status's message.
#[track_caller]
pub(super) fn says(status: &Value, parts: &[&str]) {
    let message = status["message"].as_str().unwrap_or_default();
    for part in parts {
        assert!(message.contains(part), "the message lacks {part:?}: {message}");
    }
}

/// The names of a list's items, in order.
pub(super) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default()).collect()
}

/// An object's resource version.
#[track_caller]
pub(super) fn version(object: &Value) -> String {
    let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    assert!(!version.is_empty(), "there is no resource version in {object}");
    version.to_owned()
}
