//! Conversion by a webhook: objects go out in a `ConversionReview` and come back in another version.

use std::time::Duration;

use serde_json::{Value, json};
use windlass_kernel::{
    EntropyExt,
    error::{Error, ErrorKind, Result},
};

use super::definition::Definition;
use crate::{
    object,
    server::ApiServer,
    webhook::{self, Endpoint, Limits},
};

/// What a conversion may take; it is of many objects.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), size: 16 * 1024 * 1024 };

/// Converts the objects to the version `wanted`, all in one call; those of that version stay as they are.
pub(super) async fn convert(
    server: &ApiServer,
    definition: &Definition,
    config: &Value,
    wanted: &str,
    values: Vec<Value>,
) -> Result<Vec<Value>> {
    let failed = |error: Error| {
        let kind = &definition.names.kind;
        let message = format!("conversion webhook for {wanted}, Kind={kind} failed: {}", error.message());
        Error::new(ErrorKind::Internal, message).with_source(error)
    };
    let reviews: Vec<&str> =
        config["conversionReviewVersions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !reviews.contains(&"v1") {
        let message = "a conversion webhook that does not know ConversionReview v1 is not supported";
        return Err(Error::new(ErrorKind::NotSupported, message));
    }
    let stale = |value: &&Value| value["apiVersion"] != wanted;
    let objects: Vec<&Value> = values.iter().filter(stale).collect();
    let uid = server.parts.entropy.uuid();
    let review = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objects},
    });
    let endpoint = Endpoint::read(&config["clientConfig"]).map_err(failed)?;
    let answer = webhook::post(server, &endpoint, &review, LIMITS).await.map_err(failed)?;
    let converted =
        answered(answer, &uid, &objects, wanted).map_err(|why| failed(Error::new(ErrorKind::Internal, why)))?;
    let mut converted = converted.into_iter();
    let all = values.into_iter().map(|value| if stale(&&value) { converted.next().unwrap_or(value) } else { value });
    Ok(all.collect())
}

/// The objects of an answer, where it is one to this request.
fn answered(mut answer: Value, uid: &str, sent: &[&Value], wanted: &str) -> Result<Vec<Value>, String> {
    let (kind, version) = (&answer["kind"], &answer["apiVersion"]);
    if kind != "ConversionReview" || version != "apiextensions.k8s.io/v1" {
        return Err(format!("expected apiextensions.k8s.io/v1, Kind=ConversionReview, got {version}, Kind={kind}"));
    }
    let response = &mut answer["response"];
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    if response["result"]["status"] != "Success" {
        let message = response["result"]["message"].as_str().filter(|message| !message.is_empty());
        return Err(message.unwrap_or("the webhook gave no reason").to_owned());
    }
    let Value::Array(mut converted) = response["convertedObjects"].take() else {
        return Err("the answer has no convertedObjects".into());
    };
    if converted.len() != sent.len() {
        return Err(format!("returned {} objects, expected {}", converted.len(), sent.len()));
    }
    for (at, (new, old)) in converted.iter_mut().zip(sent).enumerate() {
        same(new, old, wanted).map_err(|why| format!("returned invalid converted object at index {at}: {why}"))?;
    }
    Ok(converted)
}

/// Checks that it is the same object in another version; of the metadata only labels and annotations may differ.
fn same(new: &mut Value, old: &Value, wanted: &str) -> Result<(), String> {
    if new["kind"] != old["kind"] {
        return Err(format!("invalid kind: {}, expected {}", new["kind"], old["kind"]));
    }
    if new["apiVersion"] != wanted {
        return Err(format!("invalid apiVersion: {}, expected {wanted:?}", new["apiVersion"]));
    }
    for field in ["name", "namespace", "uid"] {
        let (new, old) = (object::meta(new, field), object::meta(old, field));
        if new != old {
            return Err(format!("metadata.{field} may not change from {old} to {new}"));
        }
    }
    let mut meta = old["metadata"].clone();
    for field in ["labels", "annotations"] {
        match object::meta(new, field).clone() {
            Value::Null => _ = object::as_map(&mut meta).remove(field),
            value => _ = object::as_map(&mut meta).insert(field.into(), value),
        }
    }
    object::as_map(new).insert("metadata".into(), meta);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Value), expect: Result<(), &str>) {
        let old = json!({"apiVersion": "e.com/v1", "kind": "W",
            "metadata": {"name": "a", "uid": "1", "labels": {"l": "1"}, "finalizers": ["f"]}});
        let mut new = json!({"apiVersion": "e.com/v2", "kind": "W", "metadata": {"name": "a", "uid": "1"}, "spec": 1});
        change(&mut new);
        let answer = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
            "uid": "u", "result": {"status": "Success"}, "convertedObjects": [new]}});
        let said = answered(answer, "u", &[&old], "e.com/v2");
        match (said, expect) {
            (Ok(objects), Ok(())) => {
                assert_eq!(objects[0]["metadata"], json!({"name": "a", "uid": "1", "finalizers": ["f"]}));
            }
            (Err(said), Err(expect)) => assert_eq!(said, expect),
            (said, expect) => panic!("{said:?} {expect:?}"),
        }
    }

    #[test]
    fn a_webhook_may_change_the_object_but_not_which_it_is() {
        check(|_| (), Ok(()));
        check(|new| new["metadata"]["finalizers"] = json!(["x"]), Ok(()));
        let at = "returned invalid converted object at index 0: ";
        check(
            |new| new["metadata"]["name"] = "b".into(),
            Err(&format!("{at}metadata.name may not change from \"a\" to \"b\"")),
        );
        check(
            |new| new["apiVersion"] = "e.com/v3".into(),
            Err(&format!("{at}invalid apiVersion: \"e.com/v3\", expected \"e.com/v2\"")),
        );
    }
}
