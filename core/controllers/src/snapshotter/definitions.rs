//! The definitions of the kinds of `snapshot.storage.k8s.io/v1`: what fields they have, what may not change of them, and what
//! tables show.

use serde_json::{Value, json};
use windlass_kernel::api::GroupVersionResource;

use super::kinds::GROUP;

/// The resource that definitions are objects of.
pub const DEFINITIONS: GroupVersionResource =
    GroupVersionResource::of("apiextensions.k8s.io", "v1", "customresourcedefinitions");

/// What says that a definition in a group of the project was agreed on, without which it is refused.
const APPROVAL: &str = "https://github.com/kubernetes-csi/external-snapshotter/pull/814";

/// The name of what says in CEL what may not change.
const RULES: &str = "x-kubernetes-validations";

/// Whether definitions say what may not change: that takes a server that knows CEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// They do, as upstream's.
    Kept,
    /// They do not: sources of snapshots can be changed, which has no effect.
    LeftOut,
}

/// The CustomResourceDefinitions of all kinds.
#[must_use]
pub fn definitions(rules: Rules) -> Vec<Value> {
    let mut all = vec![snapshots(), contents(), classes()];
    if rules == Rules::LeftOut {
        all.iter_mut().for_each(leave_out);
    }
    all
}

fn leave_out(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove(RULES);
            fields.values_mut().for_each(leave_out);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out),
        _ => {}
    }
}

/// A kind: its names, scope, schema and columns.
struct Kind<'a> {
    kind: &'a str,
    plural: &'a str,
    short: &'a [&'a str],
    scope: &'a str,
    columns: &'a [(&'a str, &'a str, &'a str)],
    /// Whether it has a status.
    status: bool,
    schema: Value,
}

fn definition(own: &Kind<'_>) -> Value {
    let column = |(name, kind, path): &(&str, &str, &str)| json!({"name": name, "type": kind, "jsonPath": path});
    let mut columns: Vec<Value> = own.columns.iter().map(column).collect();
    columns.push(column(&("Age", "date", ".metadata.creationTimestamp")));
    let mut version = json!({
        "name": "v1", "served": true, "storage": true,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": own.schema},
    });
    if own.status {
        version["subresources"] = json!({"status": {}});
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", own.plural),
            "annotations": {"api-approved.kubernetes.io": APPROVAL},
        },
        "spec": {
            "group": GROUP,
            "scope": own.scope,
            "names": {
                "kind": own.kind, "listKind": format!("{}List", own.kind), "plural": own.plural,
                "singular": own.kind.to_lowercase(), "shortNames": own.short,
            },
            "versions": [version],
        },
    })
}

fn snapshots() -> Value {
    let named = |field: &str| fixed(&text(), &format!("{field} is immutable"));
    let source = json!({
        "type": "object",
        "properties": {
            "persistentVolumeClaimName": named("persistentVolumeClaimName"),
            "volumeSnapshotContentName": named("volumeSnapshotContentName"),
        },
        "oneOf": [{"required": ["persistentVolumeClaimName"]}, {"required": ["volumeSnapshotContentName"]}],
        RULES: [stays("persistentVolumeClaimName"), stays("volumeSnapshotContentName")],
    });
    let class = json!({"type": "string", "minLength": 1});
    let spec = object(&json!({"source": source, "volumeSnapshotClassName": class}), &["source"]);
    let status = object(
        &json!({
            "boundVolumeSnapshotContentName": text(),
            "creationTime": time(),
            "error": error(),
            "readyToUse": {"type": "boolean"},
            "restoreSize": {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "pattern": QUANTITY,
                "x-kubernetes-int-or-string": true,
            },
            "volumeGroupSnapshotName": text(),
        }),
        &[],
    );
    definition(&Kind {
        kind: "VolumeSnapshot",
        plural: "volumesnapshots",
        short: &["vs"],
        scope: "Namespaced",
        columns: &[
            ("ReadyToUse", "boolean", ".status.readyToUse"),
            ("SourcePVC", "string", ".spec.source.persistentVolumeClaimName"),
            ("SourceSnapshotContent", "string", ".spec.source.volumeSnapshotContentName"),
            ("RestoreSize", "string", ".status.restoreSize"),
            ("SnapshotClass", "string", ".spec.volumeSnapshotClassName"),
            ("SnapshotContent", "string", ".status.boundVolumeSnapshotContentName"),
            ("CreationTime", "date", ".status.creationTime"),
        ],
        status: true,
        schema: root(&json!({"spec": spec, "status": status}), &["spec"]),
    })
}

fn contents() -> Value {
    let source = json!({
        "type": "object",
        "properties": {
            "snapshotHandle": fixed(&text(), "snapshotHandle is immutable"),
            "volumeHandle": fixed(&text(), "volumeHandle is immutable"),
        },
        "oneOf": [{"required": ["volumeHandle"]}, {"required": ["snapshotHandle"]}],
        RULES: [stays("volumeHandle"), stays("snapshotHandle")],
    });
    let fields = ["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"];
    let fields: serde_json::Map<_, _> = fields.iter().map(|name| ((*name).to_owned(), text())).collect();
    let reference = json!({
        "type": "object",
        "properties": fields,
        "required": ["name", "namespace"],
        "x-kubernetes-map-type": "atomic",
    });
    let mut spec = object(
        &json!({
            "deletionPolicy": policy(),
            "driver": text(),
            "source": source,
            "sourceVolumeMode": fixed(&text(), "sourceVolumeMode is immutable"),
            "volumeSnapshotClassName": text(),
            "volumeSnapshotRef": reference,
        }),
        &["deletionPolicy", "driver", "source", "volumeSnapshotRef"],
    );
    spec[RULES] = json!([stays("sourceVolumeMode")]);
    let number = json!({"type": "integer", "format": "int64"});
    let status = object(
        &json!({
            "creationTime": number,
            "error": error(),
            "readyToUse": {"type": "boolean"},
            "restoreSize": {"type": "integer", "format": "int64", "minimum": 0},
            "snapshotHandle": text(),
            "volumeGroupSnapshotHandle": text(),
        }),
        &[],
    );
    definition(&Kind {
        kind: "VolumeSnapshotContent",
        plural: "volumesnapshotcontents",
        short: &["vsc", "vscs"],
        scope: "Cluster",
        columns: &[
            ("ReadyToUse", "boolean", ".status.readyToUse"),
            ("RestoreSize", "integer", ".status.restoreSize"),
            ("DeletionPolicy", "string", ".spec.deletionPolicy"),
            ("Driver", "string", ".spec.driver"),
            ("VolumeSnapshotClass", "string", ".spec.volumeSnapshotClassName"),
            ("VolumeSnapshot", "string", ".spec.volumeSnapshotRef.name"),
            ("VolumeSnapshotNamespace", "string", ".spec.volumeSnapshotRef.namespace"),
        ],
        status: true,
        schema: root(&json!({"spec": spec, "status": status}), &["spec"]),
    })
}

fn classes() -> Value {
    let fields = json!({
        "deletionPolicy": policy(),
        "driver": text(),
        "parameters": {"type": "object", "additionalProperties": text()},
    });
    definition(&Kind {
        kind: "VolumeSnapshotClass",
        plural: "volumesnapshotclasses",
        short: &["vsclass", "vsclasses"],
        scope: "Cluster",
        columns: &[("Driver", "string", ".driver"), ("DeletionPolicy", "string", ".deletionPolicy")],
        status: false,
        schema: root(&fields, &["deletionPolicy", "driver"]),
    })
}

/// How an amount is written.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

fn text() -> Value {
    json!({"type": "string"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn policy() -> Value {
    json!({"type": "string", "enum": ["Delete", "Retain"]})
}

fn error() -> Value {
    object(&json!({"message": text(), "time": time()}), &[])
}

fn object(fields: &Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "properties": fields});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn root(fields: &Value, required: &[&str]) -> Value {
    let mut schema = object(fields, required);
    schema["properties"]["apiVersion"] = text();
    schema["properties"]["kind"] = text();
    schema["properties"]["metadata"] = json!({"type": "object"});
    schema
}

/// A field that never changes.
fn fixed(schema: &Value, message: &str) -> Value {
    let mut schema = schema.clone();
    schema[RULES] = json!([{"rule": "self == oldSelf", "message": message}]);
    schema
}

/// A field that cannot be taken away.
fn stays(field: &str) -> Value {
    json!({
        "rule": format!("!has(oldSelf.{field}) || has(self.{field})"),
        "message": format!("{field} is required once set"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_kept_or_left_out_and_nothing_else_is() {
        let count = |rules| serde_json::to_string(&definitions(rules)).unwrap().matches(RULES).count();
        assert_eq!((count(Rules::Kept), count(Rules::LeftOut)), (8, 0));
        let mut kept = definitions(Rules::Kept);
        kept.iter_mut().for_each(leave_out);
        assert_eq!(kept, definitions(Rules::LeftOut));
        let source = &kept[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        assert!(source["source"]["properties"]["persistentVolumeClaimName"]["type"] == "string", "{source}");
    }
}
