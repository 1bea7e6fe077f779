//! The documents by which others verify service-account tokens (OpenID Connect Discovery 1.0).

use serde_json::{Value, json};
use windlass_kernel::Keys;

/// `/.well-known/openid-configuration`. `jwks_uri` is where [`jwks`] is served.
#[must_use]
pub fn openid_configuration(issuer: &str, jwks_uri: &str, keys: &dyn Keys) -> Value {
    let mut algorithms: Vec<String> = keys.public().into_iter().map(|key| key.algorithm).collect();
    algorithms.sort();
    algorithms.dedup();
    json!({
        "issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": algorithms,
    })
}

/// `/openid/v1/jwks` (RFC 7517).
#[must_use]
pub fn jwks(keys: &dyn Keys) -> Value {
    let keys: Vec<Value> = keys
        .public()
        .into_iter()
        .map(|key| {
            let mut jwk = key.jwk;
            if let Some(fields) = jwk.as_object_mut() {
                fields.insert("use".into(), "sig".into());
                fields.insert("kid".into(), key.id.into());
                fields.insert("alg".into(), key.algorithm.into());
            }
            jwk
        })
        .collect();
    json!({"keys": keys})
}
