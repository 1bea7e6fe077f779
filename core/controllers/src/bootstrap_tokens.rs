//! The bootstrap-token cleaner: removes the tokens that machines join with once they have expired (KEP-130).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use windlass_api::core::v1::Secret;
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    api::{Options, Preconditions},
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{claim, registry::Tools};

const TYPE: &str = "bootstrap.kubernetes.io/token";
const PLACE: &str = "kube-system";
const EXPIRATION: &str = "expiration";

/// Removes expired bootstrap tokens.
#[derive(Debug)]
pub struct BootstrapTokens {
    client: Client,
    clock: Arc<dyn Clock>,
    /// Which each token is, by uid, and when it expires.
    tokens: Cache<(String, Timestamp)>,
}

impl BootstrapTokens {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            tokens: tools.informers.projected::<Secret, _>(Select::all(), Vec::new(), token),
        }
    }
}

/// The uid of a token that expires, and when; one whose time cannot be read has expired.
fn token(secret: &Secret) -> Option<(String, Timestamp)> {
    let meta = &secret.metadata;
    if secret.type_.as_deref() != Some(TYPE) || meta.namespace.as_deref() != Some(PLACE) {
        return None;
    }
    let text = secret.data.get(EXPIRATION)?;
    let time = std::str::from_utf8(&text.0).ok().and_then(|text| text.trim().parse().ok());
    Some((meta.uid.clone()?, time.unwrap_or(Timestamp::UNIX_EPOCH)))
}

#[async_trait]
impl Controller for BootstrapTokens {
    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![Watched { resource: gvr::<Secret>(), keys: of_place }]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some((uid, expires)) = self.tokens.get(key) else { return Ok(Requeue::OnChange) };
        let left = Duration::try_from(expires.duration_since(self.clock.now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Requeue::After(left));
        }
        let preconditions = Preconditions { uid: Some(uid), resource_version: None };
        let options = Options { preconditions, ..Options::default() };
        match self.client.delete_with::<Secret>(&key.namespace, &key.name, options).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(Requeue::OnChange),
            done => done.map(|()| Requeue::OnChange),
        }
    }
}

fn of_place(document: &Document) -> Vec<ObjectKey> {
    claim::own_key(document).into_iter().filter(|key| key.namespace == PLACE).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_api::types::ByteString;

    use super::*;

    fn check(type_: &str, expiration: Option<&str>, expect: Option<&str>) {
        let object: Value = json!({"metadata": {"namespace": PLACE, "uid": "u"}, "type": type_});
        let mut secret: Secret = serde_json::from_value(object).unwrap();
        secret.data.extend(expiration.map(|text| (EXPIRATION.to_owned(), ByteString(text.as_bytes().to_vec()))));
        assert_eq!(token(&secret).map(|(_, time)| time.to_string()).as_deref(), expect);
    }

    #[test]
    fn only_tokens_that_expire_are_looked_at() {
        check(TYPE, Some("2026-01-01T00:00:00Z"), Some("2026-01-01T00:00:00Z"));
        check(TYPE, Some("2026-01-01T01:00:00+01:00"), Some("2026-01-01T00:00:00Z"));
        check(TYPE, Some("never"), Some("1970-01-01T00:00:00Z"));
        check(TYPE, None, None);
        check("Opaque", Some("2026-01-01T00:00:00Z"), None);
    }
}
