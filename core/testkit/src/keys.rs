//! Signing keys that come from a name, so that tokens are the same in every run. Protects nothing.

use std::fmt;

use async_trait::async_trait;
use ring::hmac;
use serde_json::json;
use windlass_kernel::{
    Keys, Result,
    keys::{PublicKey, Signature},
};

const ALGORITHM: &str = "HS256";

/// HMAC-SHA256 with a key that everyone can derive from its id.
pub struct FakeKeys {
    id: String,
    key: hmac::Key,
}

impl FakeKeys {
    /// A key by its id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self { id: id.into(), key: hmac::Key::new(hmac::HMAC_SHA256, id.as_bytes()) }
    }
}

impl Default for FakeKeys {
    /// The key with the id `fake`.
    fn default() -> Self {
        Self::new("fake")
    }
}

impl fmt::Debug for FakeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeKeys").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Keys for FakeKeys {
    fn current(&self) -> (String, String) {
        (self.id.clone(), ALGORITHM.into())
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature> {
        let bytes = hmac::sign(&self.key, message).as_ref().to_vec();
        Ok(Signature { key: self.id.clone(), algorithm: ALGORITHM.into(), bytes })
    }

    fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        signature.key == self.id
            && signature.algorithm == ALGORITHM
            && hmac::verify(&self.key, message, &signature.bytes).is_ok()
    }

    fn public(&self) -> Vec<PublicKey> {
        let jwk = json!({"kty": "oct", "kid": self.id, "alg": ALGORITHM, "use": "sig"});
        vec![PublicKey { id: self.id.clone(), algorithm: ALGORITHM.into(), jwk }]
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_its_own_unchanged_signatures_verify() {
        let keys = FakeKeys::default();
        let good = keys.sign(b"text").now_or_never().unwrap().unwrap();
        assert!(keys.verify(b"text", &good));
        assert!(!keys.verify(b"next", &good));
        assert!(!FakeKeys::new("other").verify(b"text", &good));
        for spoil in [
            |s: &mut Signature| s.key = "x".into(),
            |s: &mut Signature| s.algorithm = "none".into(),
            |s: &mut Signature| s.bytes[0] ^= 1,
        ] {
            let mut bad = good.clone();
            spoil(&mut bad);
            assert!(!keys.verify(b"text", &bad));
        }
    }
}
