//! Signing as an input: service-account tokens are signed here, and keys never leave.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;

/// A public key that verifies what [`Keys::sign`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The key's id, as in a token's `kid`.
    pub id: String,
    /// The JWS algorithm (RFC 7518), such as `ES256`.
    pub algorithm: String,
    /// The key as a JSON Web Key (RFC 7517) object.
    pub jwk: serde_json::Value,
}

/// A signature and how it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The id of the key.
    pub key: String,
    /// The JWS algorithm (RFC 7518).
    pub algorithm: String,
    /// The signature in the algorithm's JWS form.
    pub bytes: Vec<u8>,
}

/// Signs and verifies.
///
/// # Contract
///
/// 1. **Verifies its own.** What [`sign`](Keys::sign) made verifies until the key is retired.
/// 2. **Nothing else.** A changed message, signature, key id or algorithm does not verify.
/// 3. **Current first.** [`public`](Keys::public) lists the signing key first, then keys that only verify.
#[async_trait]
pub trait Keys: Debug + Send + Sync + 'static {
    /// The key id and algorithm that [`sign`](Keys::sign) uses now.
    fn current(&self) -> (String, String);

    /// Signs `message` with the current key.
    async fn sign(&self, message: &[u8]) -> Result<Signature>;

    /// Whether `signature` over `message` is valid.
    fn verify(&self, message: &[u8], signature: &Signature) -> bool;

    /// The public keys.
    fn public(&self) -> Vec<PublicKey>;
}
