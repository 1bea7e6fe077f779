//! JSON merge patch (RFC 7386).

use serde_json::Value;

use super::{Error, ErrorKind};

/// Merges `patch` into `document`: objects merge, `null` removes, everything else replaces.
pub fn merge(document: &mut Value, patch: &Value) -> Result<(), Error> {
    if !patch.is_object() {
        return Err(Error::new(ErrorKind::Malformed, "Invalid JSON Patch"));
    }
    json_patch::merge(document, patch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_remove_and_lists_are_replaced() {
        let mut document = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        merge(&mut document, &json!({"a": {"b": null, "c": [3], "e": {"f": null}}, "d": null})).unwrap();
        assert_eq!(document, json!({"a": {"c": [3], "e": {}}}));
    }

    #[test]
    fn only_objects_are_patches() {
        assert_eq!(merge(&mut json!({}), &json!([])).unwrap_err().kind(), ErrorKind::Malformed);
    }
}
