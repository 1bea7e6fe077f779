//! Whose token is this: the authenticator is asked.

use serde_json::{Value, json};
use windlass_kernel::{
    access::Credentials,
    error::{Error, ErrorKind, Result},
};

use super::user;
use crate::{errors, server::ApiServer};

pub(super) async fn answer(server: &ApiServer, review: &Value) -> Result<Value> {
    let spec = &review["spec"];
    let Some(authenticator) = &server.parts.authenticator else {
        return Err(errors::not_supported("reviewing tokens without an authenticator"));
    };
    let bearer = spec["token"].as_str().unwrap_or_default();
    if bearer.is_empty() {
        return Err(errors::bad_request("token is required for TokenReview in authentication"));
    }
    // The authenticator knows tokens that are meant for this server; a token for others alone is not one of them.
    let asked: Vec<&str> = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !asked.is_empty() && !asked.contains(&server.parts.issuer.as_str()) {
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

fn said(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.message().to_owned(), ToString::to_string)
}
