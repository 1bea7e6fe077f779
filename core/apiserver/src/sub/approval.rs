//! Approving certificate requests: only the conditions are written this way.

use serde_json::Value;

use crate::object;

/// Keeps everything but the conditions.
pub(super) fn prepare(new: &mut Value, old: &Value) {
    let conditions = new["status"]["conditions"].take();
    let mut status = old["status"].clone();
    let fields = object::as_map(&mut status);
    if object::is_empty(&conditions) {
        fields.remove("conditions");
    } else {
        fields.insert("conditions".into(), conditions);
    }
    let fields = object::as_map(new);
    fields.insert("status".into(), status);
    fields.insert("spec".into(), old["spec"].clone());
}
