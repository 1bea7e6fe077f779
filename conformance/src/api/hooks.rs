//! Webhooks of the checks. Whoever runs the suite listens, speaks TLS, and asks here what to answer.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::report::Trace;

pub(super) const MISSING: &str =
    "it does not know where the server reaches this machine; --webhook-address HOST:PORT says it";

type Says = Arc<dyn Fn(&Value) -> Option<Value> + Send + Sync>;

/// The webhooks that checks have registered, by the path that they are called at.
pub struct Hooks {
    address: String,
    bundle: String,
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    says: Says,
    seen: Arc<Mutex<Vec<Value>>>,
    trace: Trace,
}

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// Answer with code 200 and this JSON.
    Answer(Bytes),
    /// Keep the connection and say nothing.
    Hang,
    /// Answer with code 404: no check listens there.
    Nobody,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Hooks {
    /// Webhooks that the server reaches at `address`, a host and a port, and trusts by `authority` (PEM).
    #[must_use]
    pub fn new(address: impl Into<String>, authority: &str) -> Self {
        Self { address: address.into(), bundle: STANDARD.encode(authority), known: Mutex::default() }
    }

    /// What to do with a POST of `body` to `target`, a path and query.
    #[must_use]
    pub fn call(&self, target: &str, body: &[u8]) -> Called {
        let path = target.split('?').next().unwrap_or_default();
        let Some(known) = self.known.lock().get(path).cloned() else { return Called::Nobody };
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let answer = (known.says)(&asked);
        let said = answer.as_ref().map_or_else(|| "nothing".into(), Value::to_string);
        known.trace.note(format!("* the server called {target} and was told {said}"));
        known.seen.lock().push(asked);
        answer.map_or(Called::Hang, |answer| Called::Answer(answer.to_string().into()))
    }

    pub(super) fn add(
        &self,
        prefix: &str,
        name: &str,
        trace: Trace,
        says: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Hook {
        let path = format!("/{prefix}/{name}");
        let client = json!({"url": format!("https://{}{path}", self.address), "caBundle": self.bundle});
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        self.known.lock().insert(path, Known { says: Arc::new(says), seen: Arc::clone(&seen), trace });
        Hook { name: name.to_owned(), client, seen }
    }

    /// Nobody is called under this prefix any more.
    pub(super) fn forget(&self, prefix: &str) {
        let below = format!("/{prefix}/");
        self.known.lock().retain(|path, _| !path.starts_with(&below));
    }
}

/// A webhook that can be registered.
#[derive(Clone)]
pub(super) struct Hook {
    pub(super) name: String,
    /// The `clientConfig` that leads to it.
    pub(super) client: Value,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    /// The requests that it was asked about since the last time.
    pub(super) fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.seen.lock()).into_iter().map(|mut review| review["request"].take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_by_its_path_until_its_check_ends() {
        let hooks = Hooks::new("127.0.0.1:1", "pem");
        let trace = Trace::default();
        let hook = hooks.add("c1", "a", trace.clone(), |asked| asked["request"].is_object().then(|| json!({"b": 1})));
        assert_eq!(hook.client, json!({"url": "https://127.0.0.1:1/c1/a", "caBundle": "cGVt"}));
        let call = || hooks.call("/c1/a?timeout=1s", br#"{"request": {"uid": "u"}}"#);
        assert_eq!(call(), Called::Answer(r#"{"b":1}"#.into()));
        assert_eq!(hooks.call("/c1/a", b"nonsense"), Called::Hang);
        assert_eq!(hooks.call("/c1/b", b"{}"), Called::Nobody);
        assert_eq!(hook.take(), [json!({"uid": "u"}), Value::Null]);
        assert_eq!(trace.take().len(), 2);
        hooks.forget("c1");
        assert_eq!(call(), Called::Nobody);
    }
}
