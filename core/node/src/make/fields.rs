//! What a pod may read of itself: fields and resources (the downward API). Pure.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use windlass_api::{
    core::v1::{ObjectFieldSelector, Pod, ResourceFieldSelector},
    quantity::Amount,
};

/// What a field may tell that is not in the pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) hosts: Vec<IpAddr>,
    pub(crate) ips: Vec<IpAddr>,
    /// What the node can give, by resource.
    pub(crate) allocatable: BTreeMap<String, String>,
}

/// A field's value, or why there is none.
pub(crate) fn field(pod: &Pod, selector: &ObjectFieldSelector, place: &Place) -> Result<String, String> {
    let meta = &pod.metadata;
    let list = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let path = selector.field_path.as_str();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unsupported(path)),
        };
        return Ok(map.get(key).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(&meta.labels),
        "metadata.annotations" => lines(&meta.annotations),
        "spec.nodeName" => pod.spec.node_name.clone().unwrap_or_else(|| place.node.clone()),
        "spec.serviceAccountName" => pod.spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => place.hosts.first().map(ToString::to_string).unwrap_or_default(),
        "status.hostIPs" => list(&place.hosts),
        "status.podIP" => place.ips.first().map(ToString::to_string).unwrap_or_default(),
        "status.podIPs" => list(&place.ips),
        _ => return Err(unsupported(path)),
    })
}

fn unsupported(path: &str) -> String {
    format!("unsupported fieldPath: {path}")
}

/// A map as lines of `key="value"`, in order.
fn lines(map: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in map {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}={value:?}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// A resource's value in units of its divisor, rounded up. `container` is whose it is where the selector does not say.
pub(crate) fn resource(
    pod: &Pod,
    selector: &ResourceFieldSelector,
    container: &str,
    place: &Place,
) -> Result<String, String> {
    let name = selector.container_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(container);
    let (container, _) = crate::pod::container(pod, name).ok_or_else(|| format!("container {name} not found"))?;
    let unknown = || format!("unsupported container resource : {}", selector.resource);
    let (kind, resource) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let set = &container.resources;
    let found = match kind {
        "limits" => set.limits.get(resource).map(|amount| amount.0.clone()),
        "requests" => set.requests.get(resource).or_else(|| set.limits.get(resource)).map(|amount| amount.0.clone()),
        _ => return Err(unknown()),
    };
    // Without a limit, the node's size is the limit.
    let node = || (kind == "limits").then(|| place.allocatable.get(resource).cloned()).flatten();
    let text = found.or_else(node).unwrap_or_else(|| "0".into());
    let read = |text: &str| text.parse::<Amount>().map_err(|error| error.to_string());
    let divisor = selector.divisor.as_ref().map(|divisor| divisor.0.as_str()).filter(|text| *text != "0");
    let (amount, divisor) = (read(&text)?, read(divisor.unwrap_or("1"))?);
    let up = |amount: i64, divisor: i64| {
        let divisor = divisor.max(1);
        (amount / divisor + i64::from(amount % divisor != 0)).to_string()
    };
    Ok(if resource == "cpu" {
        up(amount.milli_value(), divisor.milli_value())
    } else {
        up(amount.as_i64(), divisor.as_i64())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a": "1", "b": "2\"x"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}]},
        }))
        .unwrap()
    }

    fn check(path: &str, expect: Result<&str, &str>) {
        let selector = ObjectFieldSelector { field_path: path.into(), ..ObjectFieldSelector::default() };
        let place = Place { node: "n1".into(), ips: vec!["10.0.0.1".parse().unwrap()], ..Place::default() };
        assert_eq!(field(&pod(), &selector, &place).as_deref().map_err(String::as_str), expect);
    }

    #[test]
    fn fields_are_read_from_the_pod_and_its_place() {
        check("metadata.name", Ok("p"));
        check("metadata.labels['a']", Ok("1"));
        check("metadata.labels", Ok("a=\"1\"\nb=\"2\\\"x\""));
        check("spec.nodeName", Ok("n1"));
        check("status.podIP", Ok("10.0.0.1"));
        check("spec.other", Err("unsupported fieldPath: spec.other"));
    }

    #[test]
    fn resources_are_counted_in_their_divisor() {
        let check = |resource: &str, divisor: &str, expect: &str| {
            let selector = ResourceFieldSelector {
                resource: resource.into(),
                divisor: Some(divisor.into()),
                ..ResourceFieldSelector::default()
            };
            assert_eq!(super::resource(&pod(), &selector, "c", &Place::default()).unwrap(), expect);
        };
        check("limits.cpu", "0", "2");
        check("limits.cpu", "1m", "1500");
        check("limits.memory", "1Mi", "64");
        check("requests.memory", "1", "67108864");
    }
}
