//! JSON patch (RFC 6902): the operations are a library's; the limits and the messages are those clients know.

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

use super::{Error, ErrorKind};

/// How many operations one patch may have.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes of JSON the `copy` operations of one patch may add.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Applies the operations in order.
pub fn json(document: &mut Value, patch: &Value) -> Result<(), Error> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        let words = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}");
        return Err(Error::new(ErrorKind::TooLarge, words));
    }
    let operations: Vec<PatchOperation> = serde::Deserialize::deserialize(patch)
        .map_err(|e| Error::new(ErrorKind::Malformed, format!("error decoding patch: {e}")))?;
    let mut copied = 0;
    for operation in &operations {
        match operation {
            PatchOperation::Test(test) => {
                // A missing value equals null, as in the implementation that clients were written against.
                if test.path.resolve(document).unwrap_or(&Value::Null) != &test.value {
                    return Err(unfit(format!("testing value {} failed: test failed", test.path)));
                }
                continue;
            }
            PatchOperation::Copy(copy) => {
                copied += copy.from.resolve(document).map_or(0, |value| value.to_string().len());
                if copied > MAX_COPIED_BYTES {
                    let words = "Unable to copy, the accumulated size increase of copy is";
                    return Err(unfit(format!("{words} {copied}, exceeding the limit {MAX_COPIED_BYTES}")));
                }
            }
            _ => {}
        }
        json_patch::patch_unsafe(document, std::slice::from_ref(operation))
            .map_err(|e| unfit(describe(operation, &e.kind, document)))?;
    }
    Ok(())
}

fn unfit(message: String) -> Error {
    Error::new(ErrorKind::Inapplicable, message)
}

fn describe(operation: &PatchOperation, kind: &PatchErrorKind, document: &Value) -> String {
    let path = operation.path();
    let parent_is_there = path.split_back().is_none_or(|(parent, _)| parent.resolve(document).is_ok());
    let what = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    match (operation, kind) {
        (PatchOperation::Move(moved), PatchErrorKind::InvalidFromPointer) => {
            format!("move operation does not apply: doc is missing from path: {}: missing value", moved.from)
        }
        (PatchOperation::Copy(copy), PatchErrorKind::InvalidFromPointer) => {
            format!("copy operation does not apply: doc is missing from path: {}: missing value", copy.from)
        }
        (PatchOperation::Remove(_), PatchErrorKind::InvalidPointer) if parent_is_there => {
            let key = path.split_back().map(|(_, key)| key.decoded().into_owned()).unwrap_or_default();
            format!("error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value")
        }
        (PatchOperation::Replace(_), PatchErrorKind::InvalidPointer) if parent_is_there => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        (PatchOperation::Replace(_), PatchErrorKind::InvalidPointer) => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        (_, PatchErrorKind::InvalidPointer) => {
            format!("{what} operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        (_, kind) => format!("{what} operation does not apply: {kind}: {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[track_caller]
    fn check(patch: &Value, expect: &str) {
        let mut document = value!({"a": {"b": [1, 2]}, "c": "x"});
        let outcome = json(&mut document, patch);
        assert_eq!(outcome.map_or_else(|e| e.to_string(), |()| document.to_string()), expect);
    }

    #[test]
    fn operations_apply_in_order() {
        check(
            &value!([
                {"op": "test", "path": "/c", "value": "x"},
                {"op": "test", "path": "/nowhere", "value": null},
                {"op": "add", "path": "/a/b/-", "value": 3},
                {"op": "remove", "path": "/a/b/0"},
                {"op": "move", "from": "/c", "path": "/d"},
                {"op": "copy", "from": "/d", "path": "/e~1f"},
                {"op": "replace", "path": "/d", "value": "y"},
            ]),
            r#"{"a":{"b":[2,3]},"d":"y","e/f":"x"}"#,
        );
    }

    #[test]
    fn refusals_name_the_operation_and_the_path() {
        for (operation, message) in [
            (value!({"op": "test", "path": "/c", "value": "y"}), "testing value /c failed: test failed"),
            (
                value!({"op": "remove", "path": "/x"}),
                "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
            ),
            (
                value!({"op": "remove", "path": "/x/y"}),
                "remove operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                value!({"op": "add", "path": "/x/y", "value": 1}),
                "add operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                value!({"op": "replace", "path": "/x", "value": 1}),
                "replace operation does not apply: doc is missing key: /x: missing value",
            ),
            (
                value!({"op": "move", "from": "/x", "path": "/y"}),
                "move operation does not apply: doc is missing from path: /x: missing value",
            ),
        ] {
            check(&value!([operation]), message);
        }
    }

    #[test]
    fn floods_are_refused() {
        let kind = |patch: Vec<Value>| json(&mut value!({"a": "x".repeat(1000)}), &patch.into()).unwrap_err().kind();
        assert_eq!(kind(vec![value!({"op": "remove", "path": "/a"}); MAX_OPERATIONS + 1]), ErrorKind::TooLarge);
        let doubling = (0..40).map(|n| value!({"op": "copy", "from": "", "path": format!("/k{n}")}));
        assert_eq!(kind(doubling.collect()), ErrorKind::Inapplicable);
        assert_eq!(kind(vec![value!({"op": "shrink", "path": "/a"})]), ErrorKind::Malformed);
    }
}
