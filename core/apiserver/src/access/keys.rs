//! ES256 keys for service-account tokens. Where the bytes are kept is the caller's business.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde_json::json;
use windlass_kernel::{
    Keys, Result,
    error::{Error, ErrorKind},
    keys::{PublicKey, Signature},
};

const ALGORITHM: &str = "ES256";

/// An ECDSA P-256 key that signs, and older ones that only verify.
#[derive(Debug)]
pub struct EcdsaKeys {
    current: EcdsaKeyPair,
    /// The point of each public key (uncompressed) by its id; the current one first.
    public: Vec<(String, Vec<u8>)>,
    random: SystemRandom,
}

impl EcdsaKeys {
    /// A new key as PKCS#8 bytes.
    ///
    /// # Errors
    ///
    /// [`Internal`](ErrorKind::Internal) where the system gives no randomness.
    pub fn generate() -> Result<Vec<u8>> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let made = made.map_err(|_| Error::new(ErrorKind::Internal, "cannot generate a signing key"))?;
        Ok(made.as_ref().to_vec())
    }

    /// Signs with `current`; verifies with it and with `retired`. All are PKCS#8 bytes.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where one is not an ECDSA P-256 key.
    pub fn from_pkcs8(current: &[u8], retired: &[&[u8]]) -> Result<Self> {
        let random = SystemRandom::new();
        let read = |bytes: &[u8]| {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes, &random)
                .map_err(|reason| Error::new(ErrorKind::Invalid, format!("cannot read a signing key: {reason}")))
        };
        let current = read(current)?;
        let mut public = vec![named(&current)];
        for key in retired {
            public.push(named(&read(key)?));
        }
        Ok(Self { current, public, random })
    }
}

fn named(pair: &EcdsaKeyPair) -> (String, Vec<u8>) {
    let point = pair.public_key().as_ref().to_vec();
    (URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &point)), point)
}

#[async_trait]
impl Keys for EcdsaKeys {
    fn current(&self) -> (String, String) {
        (self.public[0].0.clone(), ALGORITHM.into())
    }

    async fn sign(&self, message: &[u8]) -> Result<Signature> {
        let signed = self.current.sign(&self.random, message);
        let signed = signed.map_err(|_| Error::new(ErrorKind::Internal, "cannot sign"))?;
        let (key, algorithm) = self.current();
        Ok(Signature { key, algorithm, bytes: signed.as_ref().to_vec() })
    }

    fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let known = self.public.iter().find(|(id, _)| *id == signature.key);
        signature.algorithm == ALGORITHM
            && known.is_some_and(|(_, point)| {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signature.bytes).is_ok()
            })
    }

    fn public(&self) -> Vec<PublicKey> {
        let publish = |(id, point): &(String, Vec<u8>)| {
            // An uncompressed point is 4, x and y (SEC 1, 2.3.3).
            let (x, y) = point[1..].split_at(32);
            let jwk =
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
            PublicKey { id: id.clone(), algorithm: ALGORITHM.into(), jwk }
        };
        self.public.iter().map(publish).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_retired_key_still_verifies_and_a_changed_message_does_not() {
        let (old, new) = (EcdsaKeys::generate().unwrap(), EcdsaKeys::generate().unwrap());
        let before = EcdsaKeys::from_pkcs8(&old, &[]).unwrap();
        let after = EcdsaKeys::from_pkcs8(&new, &[&old]).unwrap();
        let signature = block_on(before.sign(b"m")).unwrap();
        assert!(after.verify(b"m", &signature));
        assert!(!after.verify(b"n", &signature));
        assert!(!after.verify(b"m", &Signature { key: after.current().0, ..signature.clone() }));
        assert!(!after.verify(b"m", &Signature { algorithm: "none".into(), ..signature }));
        assert_eq!(after.public()[0].id, after.current().0);
        assert_eq!(after.public()[1].id, before.current().0);
    }
}
