//! Which names a definition gets, and what its conditions say. Pure: carrying it out is `settle`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    clean::FINALIZER,
    definition::{Names, condition},
};
use crate::object;

const APPROVAL: &str = "api-approved.kubernetes.io";

/// The definitions whose status is not what it should be: their place and the status.
///
/// Who was created first gets a name that two want; who has a name keeps it.
pub(super) fn plan(definitions: &[Value], now: &str) -> Vec<(usize, Value)> {
    let mut order: Vec<usize> = (0..definitions.len()).collect();
    let age = |at: &usize| {
        let definition = &definitions[*at];
        (object::meta_text(definition, "creationTimestamp").to_owned(), object::name(definition).to_owned())
    };
    order.sort_by_key(age);
    let mut accepted: Vec<Value> = definitions.iter().map(|own| own["status"]["acceptedNames"].clone()).collect();
    let mut changed = Vec::new();
    for at in order {
        let definition = &definitions[at];
        let group = &definition["spec"]["group"];
        let of_group = definitions.iter().zip(&accepted).enumerate();
        let others = of_group.filter(|(other, (own, _))| *other != at && own["spec"]["group"] == *group);
        let taken = Taken::by(others.map(|(_, (_, names))| names));
        let status = status(definition, &taken, now);
        accepted[at] = status["acceptedNames"].clone();
        if status != definition["status"] {
            changed.push((at, status));
        }
    }
    changed
}

/// The names that others of the group have.
#[derive(Default)]
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn by<'v>(accepted: impl Iterator<Item = &'v Value>) -> Self {
        let mut taken = Self::default();
        for names in accepted.map(Names::read) {
            taken.resources.extend([names.plural, names.singular]);
            taken.resources.extend(names.short);
            taken.kinds.extend([names.kind, names.list_kind]);
        }
        taken
    }
}

fn status(definition: &Value, taken: &Taken, now: &str) -> Value {
    let wanted = &definition["spec"]["names"];
    let mut accepted = definition["status"]["acceptedNames"].clone();
    object::as_map(&mut accepted);
    let mut conflict = None;
    let single = [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ];
    for (field, reason, taken) in single {
        let asked: Vec<&str> = match &wanted[field] {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let used: Vec<String> = asked
            .iter()
            .filter(|name| taken.contains(**name))
            .map(|name| format!("{name:?} is already in use"))
            .collect();
        match used.as_slice() {
            [] => put(&mut accepted, field, &wanted[field]),
            [one] => conflict = Some((reason, one.clone())),
            several => conflict = Some((reason, format!("[{}]", several.join(", ")))),
        }
    }
    put(&mut accepted, "categories", &wanted["categories"]);
    let mut status = definition["status"].clone();
    object::as_map(&mut status).insert("acceptedNames".into(), accepted);
    match &conflict {
        Some((reason, message)) => set(&mut status, "NamesAccepted", "False", reason, message, now),
        None => set(&mut status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
    }
    if conflict.is_none() && !condition(definition, "Established") {
        let why = "the initial names have been accepted";
        set(&mut status, "Established", "True", "InitialNamesAccepted", why, now);
    } else if !condition(definition, "Established") {
        set(&mut status, "Established", "False", "NotAccepted", "not all names are accepted", now);
    }
    approve(definition, &mut status, now);
    status
}

/// Begins the end of a definition: it waits until its objects are gone.
pub(crate) fn terminate(definition: &mut Value, now: &str) {
    let mut finalizers: Vec<Value> = object::finalizers(definition).map(Value::from).collect();
    if !finalizers.iter().any(|own| own == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    object::set_meta(definition, "finalizers", Some(finalizers.into()));
    let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    let status = object::as_map(definition).entry("status").or_insert_with(|| json!({}));
    set(status, "Terminating", "True", "InstanceDeletionPending", why, now);
}

/// Says of a group that belongs to Kubernetes whether its API was approved (KEP-1111).
fn approve(definition: &Value, status: &mut Value, now: &str) {
    if !protected(definition["spec"]["group"].as_str().unwrap_or_default()) {
        return;
    }
    let name = "KubernetesAPIApprovalPolicyConformant";
    match approval(definition) {
        Approval::Url(url) => {
            set(status, name, "True", "ApprovedAnnotation", &format!("approved in {url}"), now);
        }
        Approval::Bypassed(why) => {
            set(status, name, "False", "UnapprovedAnnotation", &format!("not approved: {why:?}"), now);
        }
        Approval::Missing | Approval::Invalid => {
            let why = format!("protected groups must have approval annotation {APPROVAL:?}");
            set(status, name, "False", "MissingAnnotation", &why, now);
        }
    }
}

/// What the annotation of approval says.
pub(crate) enum Approval<'d> {
    Missing,
    Url(&'d str),
    /// It says that there is none.
    Bypassed(&'d str),
    Invalid,
}

/// Reads the annotation of approval.
pub(crate) fn approval(definition: &Value) -> Approval<'_> {
    match object::meta(definition, "annotations")[APPROVAL].as_str().unwrap_or_default() {
        "" => Approval::Missing,
        text if text.starts_with("unapproved") => Approval::Bypassed(text),
        text if text.split_once("://").is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty()) => {
            Approval::Url(text)
        }
        _ => Approval::Invalid,
    }
}

/// Whether a group's name belongs to Kubernetes.
pub(crate) fn protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")))
}

fn put(names: &mut Value, field: &str, value: &Value) {
    let names = object::as_map(names);
    if object::is_empty(value) {
        names.remove(field);
    } else {
        names.insert(field.into(), value.clone());
    }
}

/// Sets a condition; its time is that of the last change of its status.
pub(super) fn set(status: &mut Value, name: &str, value: &str, reason: &str, message: &str, now: &str) {
    let conditions = object::as_map(status).entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Value::Array(conditions) = conditions else { return };
    let mut condition = json!({"type": name, "status": value, "reason": reason, "message": message,
        "lastTransitionTime": now});
    match conditions.iter_mut().find(|own| own["type"] == name) {
        Some(own) => {
            if own["status"] == value {
                condition["lastTransitionTime"] = own["lastTransitionTime"].clone();
            }
            *own = condition;
        }
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, created: &str) -> Value {
        json!({"metadata": {"name": format!("{plural}.example.com"), "creationTimestamp": created},
            "spec": {"group": "example.com", "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": ["w"]}},
            "status": {"storedVersions": ["v1"]}})
    }

    fn conditions(status: &Value) -> Vec<String> {
        let conditions = status["conditions"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        conditions
            .map(|own| format!("{}={} {}", text(&own["type"]), text(&own["status"]), text(&own["reason"])))
            .collect()
    }

    #[test]
    fn the_first_gets_the_names_and_the_second_waits_for_them() {
        let mut all = [definition("b", "B", "2"), definition("a", "A", "1")];
        let planned = plan(&all, "now");
        let order: Vec<usize> = planned.iter().map(|(at, _)| *at).collect();
        assert_eq!(order, [1, 0]);
        assert_eq!(
            conditions(&planned[0].1),
            ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]
        );
        assert_eq!(
            conditions(&planned[1].1),
            ["NamesAccepted=False ShortNamesConflict", "Established=False NotAccepted"]
        );
        assert_eq!(planned[1].1["conditions"][0]["message"], "\"w\" is already in use");
        assert_eq!(
            planned[1].1["acceptedNames"],
            json!({"plural": "b", "singular": "b", "kind": "B", "listKind": "BList"})
        );
        for (at, status) in planned {
            all[at]["status"] = status;
        }
        assert!(plan(&all, "later").is_empty());
        let freed = plan(&all[..1], "later");
        assert_eq!(
            conditions(&freed[0].1),
            ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]
        );
    }

    #[test]
    fn a_group_of_kubernetes_needs_an_approval() {
        assert!(
            protected("x.k8s.io") && protected("k8s.io") && !protected("xk8s.io") && !protected("k8s.io.example.com")
        );
        let mut own = definition("a", "A", "1");
        own["spec"]["group"] = "x.k8s.io".into();
        own["metadata"]["annotations"] = json!({APPROVAL: "https://example.com/1"});
        let planned = plan(&[own.clone()], "now");
        assert_eq!(conditions(&planned[0].1)[2], "KubernetesAPIApprovalPolicyConformant=True ApprovedAnnotation");
        own["metadata"]["annotations"] = json!({APPROVAL: "unapproved, a test"});
        let planned = plan(&[own], "now");
        assert_eq!(conditions(&planned[0].1)[2], "KubernetesAPIApprovalPolicyConformant=False UnapprovedAnnotation");
    }
}
