//! Events have two names for most fields: those of `v1`, which is stored, and those of `events.k8s.io/v1`.

use serde_json::{Map, Value};

use crate::object;

/// Core name, new name.
const NAMES: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];
const CONTROLLER: (&str, &str) = ("reportingComponent", "reportingController");

pub(super) fn to_core(value: &mut Value) {
    let fields = object::as_map(value);
    for (core, new) in NAMES.into_iter().chain([CONTROLLER]) {
        rename(fields, new, core);
    }
}

pub(super) fn from_core(value: &mut Value) {
    let fields = object::as_map(value);
    for (core, new) in NAMES.into_iter().chain([CONTROLLER]) {
        rename(fields, core, new);
    }
}

fn rename(fields: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_comes_back_as_it_was() {
        let event = json!({"regarding": {"kind": "Pod"}, "note": "n", "reportingController": "c", "reason": "r"});
        let mut value = event.clone();
        to_core(&mut value);
        assert_eq!(value["involvedObject"]["kind"], "Pod");
        from_core(&mut value);
        assert_eq!(value, event);
    }
}
