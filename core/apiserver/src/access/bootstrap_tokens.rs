//! The tokens that machines join with (KEP-130): Secrets in `kube-system`, until they expire or are deleted.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;
use windlass_kernel::{
    Authenticator, Clock, Document, Identity, Result, Store,
    access::Credentials,
    error::{Error, ErrorKind},
    store::{Key, ReadAt},
};

use super::authenticators::same;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Knows whoever brings a bootstrap token, as `system:bootstrap:<id>`.
#[derive(Debug)]
pub struct BootstrapTokens {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl BootstrapTokens {
    /// Reads the Secrets in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

#[async_trait]
impl Authenticator for BootstrapTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(token) = credentials.bearer.as_deref().filter(|_| credentials.audiences.is_empty()) else {
            return Ok(None);
        };
        let Some((id, secret)) = read(token) else { return Ok(None) };
        let key = Key::from(format!("/registry/core/secrets/kube-system/bootstrap-token-{id}"));
        let Some(entry) = self.store.get(&key, ReadAt::Latest).await? else { return Ok(None) };
        let object = Document::stored(entry)?.value()?;
        match judge(&object, id, secret, self.clock.now()) {
            Ok(identity) => Ok(Some(identity)),
            Err(why) => Err(Error::new(ErrorKind::Unauthorized, "Unauthorized").with_source(why)),
        }
    }
}

/// The id and the secret of a token; `None` where it is none of these.
fn read(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

fn judge(object: &Value, id: &str, secret: &str, now: Timestamp) -> Result<Identity, &'static str> {
    let text = |name: &str| {
        let bytes = object["data"][name].as_str().and_then(|text| STANDARD.decode(text).ok());
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Err("the bootstrap token is being deleted");
    }
    if object["type"] != TYPE || text("token-id") != id || !same(text("token-secret").as_bytes(), secret.as_bytes()) {
        return Err("the bootstrap token is not the one that is kept");
    }
    let expiration = text("expiration");
    // A time that cannot be read has passed.
    if !expiration.is_empty() && expiration.parse::<Timestamp>().map_or(true, |end| end <= now) {
        return Err("the bootstrap token has expired");
    }
    if text("usage-bootstrap-authentication") != "true" {
        return Err("the bootstrap token is not for authentication");
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in text("auth-extra-groups").split(',').map(str::trim).filter(|group| !group.is_empty()) {
        if !group.starts_with("system:bootstrappers:") {
            return Err("the bootstrap token names a group that is not one of system:bootstrappers");
        }
        groups.push(group.to_owned());
    }
    Ok(Identity { name: format!("system:bootstrap:{id}"), groups, ..Identity::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(change: impl FnOnce(&mut Value), expect: Result<&[&str], &str>) {
        let packed = |text: &str| Value::from(STANDARD.encode(text));
        let mut object = json!({"type": TYPE, "metadata": {}, "data": {
            "token-id": packed("abcdef"), "token-secret": packed("0123456789abcdef"),
            "expiration": packed("1970-01-01T00:01:00Z"), "usage-bootstrap-authentication": packed("true"),
            "auth-extra-groups": packed("system:bootstrappers:a, system:bootstrappers:b")}});
        change(&mut object);
        let said = judge(&object, "abcdef", "0123456789abcdef", Timestamp::from_second(10).unwrap());
        let groups = said.as_ref().map(|identity| identity.groups.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(groups.map_err(|why| *why), expect.map(<[&str]>::to_vec));
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let packed = |text: &str| Value::from(STANDARD.encode(text));
        check(|_| (), Ok(&[GROUP, "system:bootstrappers:a", "system:bootstrappers:b"]));
        check(|own| own["data"]["auth-extra-groups"] = Value::Null, Ok(&[GROUP]));
        check(|own| own["data"]["expiration"] = packed("1970-01-01T00:00:05Z"), Err("the bootstrap token has expired"));
        check(|own| own["data"]["expiration"] = packed("soon"), Err("the bootstrap token has expired"));
        let other = "the bootstrap token is not the one that is kept";
        check(|own| own["data"]["token-secret"] = packed("x"), Err(other));
        check(|own| own["type"] = "Opaque".into(), Err(other));
        let unfit = "the bootstrap token is not for authentication";
        check(|own| own["data"]["usage-bootstrap-authentication"] = packed("false"), Err(unfit));
        let group = "the bootstrap token names a group that is not one of system:bootstrappers";
        check(|own| own["data"]["auth-extra-groups"] = packed("system:masters"), Err(group));
    }

    #[test]
    fn other_tokens_are_none_of_these() {
        assert_eq!(read("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for token in ["abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde/", "a.b.c"]
        {
            assert_eq!(read(token), None, "{token}");
        }
    }
}
