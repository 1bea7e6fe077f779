//! Whose token is this: the authenticator is asked.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_kernel::{
    Identity,
    access::Credentials,
    error::{Error, ErrorKind, Result},
};

use super::user;
use crate::{access::ServiceAccountTokens, errors, lookup::StoreLookup, server::ApiServer};

pub(super) async fn answer(server: &ApiServer, review: &Value) -> Result<Value> {
    let spec = &review["spec"];
    let Some(authenticator) = &server.parts.authenticator else {
        return Err(errors::not_supported("reviewing tokens without an authenticator"));
    };
    let bearer = spec["token"].as_str().unwrap_or_default();
    if bearer.is_empty() {
        return Err(errors::bad_request("token is required for TokenReview in authentication"));
    }
    let asked = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let asked: Vec<String> = asked.map(str::to_owned).collect();
    if let Some(known) = own(server, bearer, &asked).await.transpose() {
        return match known {
            Ok((identity, audiences)) => {
                Ok(json!({"authenticated": true, "user": user(&identity), "audiences": audiences}))
            }
            Err(error) if error.is(ErrorKind::Unauthorized) => Ok(json!({"user": {}, "error": said(&error)})),
            Err(error) => Err(error),
        };
    }
    // Other tokens that the authenticator knows are meant for this server.
    if !asked.is_empty() && !asked.contains(&server.parts.issuer) {
        return Ok(json!({"user": {}, "error": "token audiences do not match"}));
    }
    let credentials = Credentials { bearer: Some(bearer.to_owned()), certificate: None };
    match authenticator.authenticate(&credentials).await {
        Ok(Some(identity)) => {
            let mut status = json!({"authenticated": true, "user": user(&identity)});
            if !asked.is_empty() {
                status["audiences"] = json!([server.parts.issuer]);
            }
            Ok(status)
        }
        Ok(None) => Ok(json!({"user": {}})),
        Err(error) if error.is(ErrorKind::Unauthorized) => Ok(json!({"user": {}, "error": said(&error)})),
        Err(error) => Err(error),
    }
}

/// Whose token of our own it is, if it is one, for the audiences that were asked about: those need not be this server.
async fn own(server: &ApiServer, token: &str, asked: &[String]) -> Result<Option<(Identity, Vec<String>)>> {
    let Some(keys) = server.parts.keys.as_ref().filter(|_| !asked.is_empty()) else { return Ok(None) };
    let lookup = Arc::new(StoreLookup::new(Arc::clone(&server.parts.store)));
    let clock = Arc::clone(&server.parts.clock);
    let tokens = ServiceAccountTokens::new(Arc::clone(keys), clock, lookup, &*server.parts.issuer, asked.to_vec());
    tokens.review(token, asked).await
}

fn said(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.message().to_owned(), ToString::to_string)
}
