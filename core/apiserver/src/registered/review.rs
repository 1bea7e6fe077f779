//! What webhooks are asked (`AdmissionReview` v1), and what their answers mean. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use windlass_kernel::error::{Error, ErrorKind};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// No client shows more of one warning than this.
const WARNING: usize = 256;
/// The most bytes that the warnings of one answer take: they become headers.
const WARNINGS: usize = 4096;

/// A review of this request.
pub(super) fn review(request: Value) -> Value {
    let mut review = serde_json::json!({"kind": KIND, "apiVersion": API_VERSION});
    review["request"] = request;
    review
}

/// What a webhook said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Why not, as a `Status`; `None` where the request may go on.
    pub(super) refused: Option<Value>,
    /// A JSON patch of the object.
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
}

/// Reads an answer to the review with this uid; only those that mutate may have a patch.
///
/// # Errors
///
/// Why it is none.
pub(super) fn verdict(mut answer: Value, uid: &str, mutates: bool) -> Result<Verdict, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&answer["apiVersion"]), text(&answer["kind"]));
    if version != API_VERSION || kind != KIND {
        return Err(format!(
            "received invalid webhook response: expected webhook response of {API_VERSION}, Kind={KIND}, got {version}, Kind={kind}"
        ));
    }
    let invalid = |why: String| Err(format!("received invalid webhook response: {why}"));
    let mut response = answer["response"].take();
    if !response.is_object() {
        return invalid("webhook response was absent".into());
    }
    let said = text(&response["uid"]);
    if said != uid {
        return invalid(format!("expected response.uid={uid:?}, got {said:?}"));
    }
    let (kind, patch) = (text(&response["patchType"]), text(&response["patch"]));
    match (kind.as_str(), patch.is_empty()) {
        ("", true) => {}
        _ if !mutates => return invalid("a validating webhook may not set response.patch".into()),
        ("", false) => return invalid("webhook returned response.patch but not response.patchType".into()),
        (_, true) => return invalid("webhook returned response.patchType but not response.patch".into()),
        ("JSONPatch", false) => {}
        (other, false) => return invalid(format!("invalid value of response.patchType of {other:?}")),
    }
    let mut verdict = Verdict { warnings: warnings(&response["warnings"]), ..Verdict::default() };
    if response["allowed"] != true {
        verdict.refused = Some(response["status"].take());
    } else if !patch.is_empty() {
        let broken = |why: &dyn std::fmt::Display| format!("received undecodable patch in webhook response: {why}");
        let bytes = STANDARD.decode(patch).map_err(|error| broken(&error))?;
        let patch: Value = serde_json::from_slice(&bytes).map_err(|error| broken(&error))?;
        if !patch.is_array() {
            return Err(broken(&"the patch is not a list"));
        }
        verdict.patch = Some(patch).filter(|patch| patch.as_array().is_some_and(|list| !list.is_empty()));
    }
    Ok(verdict)
}

/// The warnings of an answer, cut to what clients can be sent.
fn warnings(given: &Value) -> Vec<String> {
    let mut left = WARNINGS;
    let mut kept = Vec::new();
    for text in given.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let short: String = text.chars().take(WARNING).collect();
        let Some(rest) = left.checked_sub(short.len()) else { break };
        left = rest;
        kept.push(short);
    }
    kept
}

/// The error of a request that a webhook refused, with the Status that it gave.
pub(super) fn refusal(webhook: &str, status: &Value) -> Error {
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let denied = format!("admission webhook {webhook:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let mut said = serde_json::json!({"message": message, "code": code});
    for field in ["reason", "details"] {
        said[field] = status[field].clone();
    }
    Error::from_status(code, &said)
}

/// The error of a webhook that could not be asked, or whose answer is none.
pub(super) fn failure(webhook: &str, why: &str) -> Error {
    internal(format!("failed calling webhook {webhook:?}: {why}"))
}

/// An error of the server, as Kubernetes words it.
pub(super) fn internal(why: String) -> Error {
    let error = Error::new(ErrorKind::Internal, format!("Internal error occurred: {why}"));
    error.detailed(|details| {
        details.causes =
            vec![windlass_kernel::error::Cause { message: why, ..windlass_kernel::error::Cause::default() }];
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(response: Value) -> Value {
        let mut answer = json!({"kind": KIND, "apiVersion": API_VERSION});
        answer["response"] = response;
        answer
    }

    #[track_caller]
    fn check(response: Value, mutates: bool, expect: Result<Verdict, &str>) {
        assert_eq!(verdict(answer(response), "u", mutates), expect.map_err(str::to_owned));
    }

    #[test]
    fn an_answer_allows_refuses_or_patches() {
        check(json!({"uid": "u", "allowed": true}), false, Ok(Verdict::default()));
        let refused = Verdict { refused: Some(json!({"code": 403})), ..Verdict::default() };
        check(json!({"uid": "u", "allowed": false, "status": {"code": 403}}), false, Ok(refused));
        let patch = json!([{"op": "add", "path": "/a", "value": 1}]);
        let packed = STANDARD.encode(patch.to_string());
        let patched = Verdict { patch: Some(patch), ..Verdict::default() };
        check(json!({"uid": "u", "allowed": true, "patchType": "JSONPatch", "patch": packed}), true, Ok(patched));
    }

    #[test]
    fn an_answer_that_lies_is_none() {
        let said = "received invalid webhook response: ";
        check(
            json!({"uid": "x", "allowed": true}),
            true,
            Err(&format!("{said}expected response.uid=\"u\", got \"x\"")),
        );
        check(Value::Null, true, Err(&format!("{said}webhook response was absent")));
        let bare = json!({"uid": "u", "allowed": true, "patch": "W10="});
        check(bare, true, Err(&format!("{said}webhook returned response.patch but not response.patchType")));
        let patched = json!({"uid": "u", "allowed": true, "patchType": "JSONPatch", "patch": "W10="});
        check(patched, false, Err(&format!("{said}a validating webhook may not set response.patch")));
        let beta = json!({"kind": KIND, "apiVersion": "admission.k8s.io/v1beta1", "response": {"uid": "u"}});
        assert!(verdict(beta, "u", true).unwrap_err().ends_with("got admission.k8s.io/v1beta1, Kind=AdmissionReview"));
    }

    #[test]
    fn warnings_are_cut_to_what_fits_into_headers() {
        let many: Vec<String> = (0..100_000).map(|at| format!("{at}{}", "x".repeat(1000))).collect();
        let kept = warnings(&json!(many));
        assert_eq!((kept.len(), kept[0].len()), (16, 256));
    }

    #[test]
    fn a_refusal_says_what_the_webhook_said() {
        let check = |status: Value, code: u16, message: &str| {
            let error = refusal("x", &status);
            assert_eq!((error.to_status()["code"].clone(), error.message()), (code.into(), message));
        };
        let denied = "admission webhook \"x\" denied the request";
        check(Value::Null, 400, &format!("{denied} without explanation"));
        check(json!({"reason": "no", "code": 200}), 400, &format!("{denied}: no"));
        check(json!({"message": "not so", "code": 403}), 403, &format!("{denied}: not so"));
    }
}
