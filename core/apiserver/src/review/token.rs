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
    let own = server.parts.issuer.as_str();
    let asked: Vec<&str> = spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wanted = if asked.is_empty() { vec![own] } else { asked.clone() };
    let mut refused = None;
    let mut known = None;
    let mut audiences = Vec::new();
    for audience in wanted {
        // What is for this server is asked as every request asks.
        let others: Vec<String> = Some(audience.to_owned()).filter(|audience| audience != own).into_iter().collect();
        let credentials = Credentials { bearer: Some(bearer.to_owned()), audiences: others, ..Credentials::default() };
        match authenticator.authenticate(&credentials).await {
            Ok(Some(identity)) => {
                audiences.push(audience);
                known = known.or(Some(identity));
            }
            Ok(None) => {}
            Err(error) if error.is(ErrorKind::Unauthorized) => refused = Some(said(&error)),
            Err(error) => return Err(error),
        }
    }
    Ok(match (known, refused) {
        (Some(identity), _) => {
            let mut status = json!({"authenticated": true, "user": user(&identity)});
            if !asked.is_empty() {
                status["audiences"] = json!(audiences);
            }
            status
        }
        (None, Some(why)) => json!({"user": {}, "error": why}),
        (None, None) => json!({"user": {}}),
    })
}

fn said(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.message().to_owned(), ToString::to_string)
}
