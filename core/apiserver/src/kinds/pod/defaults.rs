//! What a pod or a pod template gets when it does not say.

use serde_json::{Value, json};

use crate::kinds::edit::{copy, default_number, default_to, each, inside, set, within};
use crate::kinds::field::{dig, items, lookup, text};

const FILE_MODE: i64 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

/// Fills in a pod.
pub(in crate::kinds) fn pod(pod: &mut Value) {
    within(pod, "spec", |spec| {
        requests_from_limits(spec);
        default_to(spec, "enableServiceLinks", true);
        if lookup(spec, "hostNetwork").as_bool() == Some(true) {
            for list in ["containers", "initContainers"] {
                each(spec, list, host_ports);
            }
        }
        pod_spec(spec);
    });
    inside(pod, "status", |status| {
        for (one, many) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
            let ip = text(status, &[one]).to_owned();
            if !ip.is_empty() {
                default_to(status, many, json!([{"ip": ip}]));
            }
        }
    });
}

/// Fills in the template of a workload, which is the field `template`.
pub(in crate::kinds) fn template(spec: &mut Value) {
    within(spec, "template", |template| within(template, "spec", pod_spec));
}

/// Fills in what pods and templates share.
pub(in crate::kinds) fn pod_spec(spec: &mut Value) {
    default_to(spec, "dnsPolicy", "ClusterFirst");
    default_to(spec, "restartPolicy", "Always");
    default_to(spec, "terminationGracePeriodSeconds", 30);
    default_to(spec, "schedulerName", "default-scheduler");
    default_to(spec, "securityContext", json!({}));
    // The account has two names: an old field and its successor, which always agree.
    if text(spec, &["serviceAccountName"]).is_empty() {
        let old = text(spec, &["serviceAccount"]).to_owned();
        if !old.is_empty() {
            set(spec, "serviceAccountName", old);
        }
    }
    let account = lookup(spec, "serviceAccountName").clone();
    if !account.is_null() {
        set(spec, "serviceAccount", account);
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        each(spec, list, container);
    }
    each(spec, "volumes", volume);
}

fn container(container: &mut Value) {
    let policy = if unpinned(text(container, &["image"])) { "Always" } else { "IfNotPresent" };
    default_to(container, "imagePullPolicy", policy);
    default_to(container, "terminationMessagePath", "/dev/termination-log");
    default_to(container, "terminationMessagePolicy", "File");
    default_to(container, "resources", json!({}));
    each(container, "ports", |port| default_to(port, "protocol", "TCP"));
    each(container, "env", |env| inside(env, "valueFrom", field_reference));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        inside(container, probe, |probe| {
            for (name, default) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                default_number(probe, name, default);
            }
            handler(probe);
        });
    }
    inside(container, "lifecycle", |lifecycle| {
        inside(lifecycle, "postStart", handler);
        inside(lifecycle, "preStop", handler);
    });
}

fn handler(handler: &mut Value) {
    inside(handler, "httpGet", |http| {
        default_to(http, "path", "/");
        default_to(http, "scheme", "HTTP");
    });
    inside(handler, "grpc", |grpc| {
        if lookup(grpc, "service").is_null() {
            set(grpc, "service", "");
        }
    });
}

fn field_reference(holder: &mut Value) {
    inside(holder, "fieldRef", |field| default_to(field, "apiVersion", "v1"));
    inside(holder, "resourceFieldRef", |field| default_to(field, "divisor", "0"));
}

/// Fills in a volume; one without any source becomes an empty directory.
fn volume(volume: &mut Value) {
    let bare = volume.as_object().is_some_and(|fields| fields.iter().all(|(name, v)| name == "name" || v.is_null()));
    if bare {
        set(volume, "emptyDir", json!({}));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        inside(volume, source, |source| default_to(source, "defaultMode", FILE_MODE));
    }
    inside(volume, "downwardAPI", |source| each(source, "items", field_reference));
    inside(volume, "projected", |projected| {
        each(projected, "sources", |source| {
            inside(source, "downwardAPI", |api| each(api, "items", field_reference));
            inside(source, "serviceAccountToken", |token| default_to(token, "expirationSeconds", TOKEN_SECONDS));
        });
    });
    inside(volume, "hostPath", |path| {
        if lookup(path, "type").is_null() {
            set(path, "type", "");
        }
    });
    inside(volume, "iscsi", |iscsi| default_to(iscsi, "iscsiInterface", "default"));
    inside(volume, "rbd", |rbd| {
        default_to(rbd, "pool", "rbd");
        default_to(rbd, "user", "admin");
        default_to(rbd, "keyring", "/etc/ceph/keyring");
    });
    inside(volume, "azureDisk", |disk| {
        default_to(disk, "cachingMode", "ReadWrite");
        default_to(disk, "kind", "Shared");
        default_to(disk, "fsType", "ext4");
        default_to(disk, "readOnly", false);
    });
    inside(volume, "scaleIO", |scale| {
        default_to(scale, "storageMode", "ThinProvisioned");
        default_to(scale, "fsType", "xfs");
    });
    inside(volume, "ephemeral", |ephemeral| {
        inside(ephemeral, "volumeClaimTemplate", |claim| {
            inside(claim, "spec", |spec| default_to(spec, "volumeMode", "Filesystem"));
        });
    });
    inside(volume, "image", |image| {
        let policy = if unpinned(text(image, &["reference"])) { "Always" } else { "IfNotPresent" };
        default_to(image, "pullPolicy", policy);
    });
}

fn host_ports(container: &mut Value) {
    each(container, "ports", |port| {
        let number = lookup(port, "containerPort").as_i64().unwrap_or_default();
        if number != 0 {
            default_number(port, "hostPort", number);
        }
    });
}

/// Requests that are left out are what the limits are, container by container.
fn requests_from_limits(spec: &mut Value) {
    let fill = |holder: &mut Value| {
        inside(holder, "resources", |resources| {
            let limits = lookup(resources, "limits").as_object().cloned().unwrap_or_default();
            if limits.is_empty() {
                return;
            }
            let limited = Value::Object(limits);
            within(resources, "requests", |requests| {
                for name in limited.as_object().into_iter().flat_map(|limits| limits.keys()) {
                    if lookup(requests, name).is_null() {
                        copy(requests, &limited, name);
                    }
                }
            });
        });
    };
    each(spec, "containers", fill);
    each(spec, "initContainers", fill);
    pod_requests(spec);
}

/// Pod-level requests come from the sums of the containers' where every container has them, else from the limits.
fn pod_requests(spec: &mut Value) {
    let limits = dig(spec, &["resources", "limits"]).as_object().cloned().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let named = |name: &str| {
        items(spec, &["containers"]).any(|container| !dig(container, &["resources", "requests", name]).is_null())
    };
    let wanted: Vec<(String, Value)> = limits.into_iter().filter(|(name, _)| !named(name)).collect();
    inside(spec, "resources", |resources| {
        within(resources, "requests", |requests| {
            for (name, value) in wanted {
                default_to(requests, &name, value);
            }
        });
    });
}

/// Whether an image names neither a digest nor a tag other than `latest`.
fn unpinned(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_fixed_tag_are_always_pulled() {
        for (image, expect) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.27", false),
            ("host:5000/nginx", true),
            ("host:5000/nginx:1", false),
            ("nginx@sha256:abc", false),
        ] {
            assert_eq!(unpinned(image), expect, "{image}");
        }
    }

    #[test]
    fn a_small_pod_gets_its_defaults() {
        let mut small = json!({"spec": {
            "containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "1"}}}],
            "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}],
        }});
        pod(&mut small);
        assert_eq!(
            small["spec"],
            json!({
                "containers": [{
                    "name": "c", "image": "i:1", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                    "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                "schedulerName": "default-scheduler", "securityContext": {}, "enableServiceLinks": true,
            })
        );
    }
}
