//! Canonical JSON, written straight into bytes.

use serde_json::{Map, Value};

/// Appends a value.
pub(super) fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => serde(out, number),
        Value::String(own) => text(out, own),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                self::value(out, item);
            }
            out.push(b']');
        }
        Value::Object(fields) => object(out, fields, None),
    }
}

/// Appends an object, with one more field at its place in the order of names.
pub(super) fn object(out: &mut Vec<u8>, fields: &Map<String, Value>, mut more: Option<(&str, &str)>) {
    let mut separator = b'{';
    let mut field = |out: &mut Vec<u8>, name: &str| {
        out.push(separator);
        separator = b',';
        text(out, name);
        out.push(b':');
    };
    for (name, own) in fields {
        if let Some((name, json)) = more.take_if(|(before, _)| *before < name.as_str()) {
            field(out, name);
            out.extend_from_slice(json.as_bytes());
        }
        field(out, name);
        value(out, own);
    }
    if let Some((name, json)) = more {
        field(out, name);
        out.extend_from_slice(json.as_bytes());
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// Appends a text.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    // Without an early end, so that many bytes are looked at together.
    let odd = text.bytes().fold(false, |odd, byte| odd | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if odd {
        serde(out, text);
    } else {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

fn serde(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a JSON tree is always writable to memory");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_serde_writes_them() {
        let tree = json!({
            "": {}, "a": [1, -2, 1.5, 1e300, u64::MAX, null, true, false, []],
            "b\"": "line\nend \u{1} \u{7f} é \\ / \u{2028}", "c": {"d": {"e": "plain"}},
        });
        let mut out = Vec::new();
        value(&mut out, &tree);
        assert_eq!(String::from_utf8(out).unwrap(), tree.to_string());
    }

    #[test]
    fn one_more_field_stands_at_its_place() {
        for (fields, expect) in [
            (json!({}), r#"{"m":[1]}"#),
            (json!({"a": 1}), r#"{"a":1,"m":[1]}"#),
            (json!({"a": 1, "n": 2}), r#"{"a":1,"m":[1],"n":2}"#),
            (json!({"n": 2}), r#"{"m":[1],"n":2}"#),
        ] {
            let mut out = Vec::new();
            object(&mut out, fields.as_object().unwrap(), Some(("m", "[1]")));
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }
}
