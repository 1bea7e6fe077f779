//! Approving certificate requests: only the conditions `Approved` and `Denied` are written this way.

use serde_json::Value;

use crate::object;

const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// Keeps everything but the decisions.
pub(super) fn prepare(new: &mut Value, old: &Value) {
    let decided = |request: &Value, wanted: bool| -> Vec<Value> {
        let conditions = request["status"]["conditions"].as_array().into_iter().flatten();
        let is = |condition: &&Value| DECISIONS.contains(&condition["type"].as_str().unwrap_or_default()) == wanted;
        conditions.filter(is).cloned().collect()
    };
    let mut conditions = decided(new, true);
    conditions.extend(decided(old, false));
    let mut status = old["status"].clone();
    let fields = object::as_map(&mut status);
    if conditions.is_empty() {
        fields.remove("conditions");
    } else {
        fields.insert("conditions".into(), conditions.into());
    }
    let fields = object::as_map(new);
    fields.insert("status".into(), status);
    fields.insert("spec".into(), old["spec"].clone());
}
