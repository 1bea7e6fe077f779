//! How two values differ, for people who read why an update was refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::field::{lookup, same};

/// Writes which fields differ, one line for what was and one for what is.
pub(super) fn write(into: &mut String, path: &str, old: &Value, new: &Value) {
    match (old, new) {
        _ if same(old, new) => {}
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                write(into, &format!("{path}.{name}"), lookup(old, name), lookup(new, name));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (old, new)) in a.iter().zip(b).enumerate() {
                write(into, &format!("{path}[{at}]"), old, new);
            }
        }
        _ => _ = writeln!(into, "-{path}: {old}\n+{path}: {new}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_changed_field_has_its_old_and_its_new_value() {
        let mut text = String::new();
        write(&mut text, "", &json!({"a": [1, {"b": 2}], "c": 3}), &json!({"a": [1, {"b": 4}], "c": 3, "d": []}));
        assert_eq!(text, "-.a[1].b: 2\n+.a[1].b: 4\n");
    }
}
