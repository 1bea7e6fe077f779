//! `resource.k8s.io/v1beta1` wrote device requests and devices one level differently from `v1`, which is stored.

use serde_json::{Map, Value};

const IN_EXACTLY: [&str; 7] =
    ["adminAccess", "allocationMode", "capacity", "count", "deviceClassName", "selectors", "tolerations"];

pub(super) fn to_v1(value: &mut Value) {
    each_request(value, |request| {
        let moved = IN_EXACTLY.iter().filter_map(|name| request.remove_entry(*name)).collect::<Map<_, _>>();
        if !moved.is_empty() {
            request.insert("exactly".into(), Value::Object(moved));
        }
    });
    each_device(value, |device| {
        if let Some(Value::Object(basic)) = device.remove("basic") {
            device.extend(basic);
        }
    });
}

pub(super) fn from_v1(value: &mut Value) {
    each_request(value, |request| {
        if let Some(Value::Object(exactly)) = request.remove("exactly") {
            request.extend(exactly);
        }
    });
    each_device(value, |device| {
        let name = device.remove_entry("name");
        let basic = std::mem::take(device);
        device.extend(name);
        device.insert("basic".into(), Value::Object(basic));
    });
}

/// The requests of a claim or of a claim template.
fn each_request(value: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    for at in ["/spec/devices/requests", "/spec/spec/devices/requests"] {
        let requests = value.pointer_mut(at).and_then(Value::as_array_mut);
        requests.into_iter().flatten().filter_map(Value::as_object_mut).for_each(&mut change);
    }
}

/// The devices of a slice.
fn each_device(value: &mut Value, change: impl FnMut(&mut Map<String, Value>)) {
    let devices = value.pointer_mut("/spec/devices").and_then(Value::as_array_mut);
    devices.into_iter().flatten().filter_map(Value::as_object_mut).for_each(change);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(old: &Value, new: &Value) {
        let mut value = old.clone();
        to_v1(&mut value);
        assert_eq!(&value, new);
        from_v1(&mut value);
        assert_eq!(&value, old);
    }

    #[test]
    fn requests_and_devices_go_there_and_back() {
        check(
            &json!({"spec": {"devices": {"requests": [{"name": "r", "deviceClassName": "c"}]}}}),
            &json!({"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}),
        );
        check(
            &json!({"spec": {"devices": [{"name": "d", "basic": {"attributes": {}}}]}}),
            &json!({"spec": {"devices": [{"name": "d", "attributes": {}}]}}),
        );
    }
}
