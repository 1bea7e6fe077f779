//! Events, as the core group and `events.k8s.io` write them.

use serde_json::{Value, json};
use windlass_api::names;

use crate::kinds::errors::{Errors, IMMUTABLE};
use crate::kinds::field::{Field, dig, lookup, same, text};
use crate::kinds::{BASE, Kind};

const REASON_MAX: usize = 128;
const NOTE_MAX: usize = 1024;

pub(in crate::kinds) static CORE: Kind = Kind {
    validate: |new, _, errors| place(new, "involvedObject", errors),
    fields: |event| fields(event, "involvedObject", ["source", "component"], "reportingComponent"),
    field_names: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "type",
        "source",
        "reportingComponent",
    ],
    create_on_update: true,
    ..BASE
};

pub(in crate::kinds) static EVENTS: Kind = Kind {
    validate,
    fields: |event| {
        let mut found = fields(event, "regarding", ["deprecatedSource", "component"], "reportingController");
        for (name, _) in &mut found {
            *name = match *name {
                "involvedObject.kind" => "regarding.kind",
                "involvedObject.namespace" => "regarding.namespace",
                "involvedObject.name" => "regarding.name",
                "involvedObject.uid" => "regarding.uid",
                "involvedObject.apiVersion" => "regarding.apiVersion",
                "involvedObject.resourceVersion" => "regarding.resourceVersion",
                "involvedObject.fieldPath" => "regarding.fieldPath",
                "reportingComponent" => "reportingController",
                other => other,
            };
        }
        found
    },
    field_names: &[
        "regarding.kind",
        "regarding.namespace",
        "regarding.name",
        "regarding.uid",
        "regarding.apiVersion",
        "regarding.resourceVersion",
        "regarding.fieldPath",
        "reason",
        "type",
        "source",
        "reportingController",
    ],
    create_on_update: true,
    ..BASE
};

fn fields(event: &Value, about: &str, source: [&str; 2], reporter: &str) -> Vec<(&'static str, String)> {
    let of = |path: &[&str]| text(event, path).to_owned();
    let mut component = of(&source);
    if component.is_empty() {
        component = of(&[reporter]);
    }
    vec![
        ("involvedObject.kind", of(&[about, "kind"])),
        ("involvedObject.namespace", of(&[about, "namespace"])),
        ("involvedObject.name", of(&[about, "name"])),
        ("involvedObject.uid", of(&[about, "uid"])),
        ("involvedObject.apiVersion", of(&[about, "apiVersion"])),
        ("involvedObject.resourceVersion", of(&[about, "resourceVersion"])),
        ("involvedObject.fieldPath", of(&[about, "fieldPath"])),
        ("reason", of(&["reason"])),
        ("type", of(&["type"])),
        ("source", component),
        ("reportingComponent", of(&[reporter])),
    ]
}

/// An event lives where the object it is about lives, or in `default`.
fn place(event: &Value, about: &str, errors: &mut Errors) {
    let subject = Field::top(event, about);
    let wanted = match subject.get("namespace").text() {
        "" => "default",
        own => own,
    };
    // A cluster-wide object's events may also stand in the system namespace.
    let own = text(event, &["metadata", "namespace"]);
    if own != wanted && !(subject.get("namespace").is_empty() && own == "kube-system") {
        let namespace = subject.get("namespace");
        errors.invalid_text(&namespace, namespace.text(), "does not match event.namespace");
    }
}

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    place(new, "regarding", errors);
    let time = Field::top(new, "eventTime");
    if !time.present() {
        errors.required(&time, "");
        return;
    }
    if let Some(old) = old {
        for name in ["regarding", "related", "reason", "action", "note", "type", "eventTime", "reportingController"] {
            let field = Field::top(new, name);
            if !same(field.value(), lookup(old, name)) {
                errors.invalid(&field, IMMUTABLE);
            }
        }
        return;
    }
    let controller = Field::top(new, "reportingController");
    if errors.require(&controller, "") {
        errors.invalid_each(&controller, names::qualified_name(controller.text()));
    }
    for name in ["reportingInstance", "action", "reason"] {
        let field = Field::top(new, name);
        errors.require(&field, "");
        if field.len() > REASON_MAX {
            errors.invalid(&field, format!("can have at most {REASON_MAX} characters"));
        }
    }
    let (note, kind) = (Field::top(new, "note"), Field::top(new, "type"));
    if note.len() > NOTE_MAX {
        errors.invalid(&note, format!("can have at most {NOTE_MAX} characters"));
    }
    if !matches!(kind.text(), "Normal" | "Warning") {
        let shown = json!(kind.text());
        errors.invalid(&kind.with(&shown), "has invalid value: ".to_owned() + kind.text());
    }
    if !dig(new, &["series"]).is_null() {
        let series = Field::top(new, "series");
        if series.get("count").number() < 2 {
            errors.invalid(&series.get("count"), "must be at least 2");
        }
    }
}
