//! Errors in the words that Kubernetes clients match on. Which error a situation calls for is decided elsewhere.

use windlass_api::resources::ResourceInfo;
use windlass_kernel::{
    access::Attributes,
    api::{GroupVersionResource, Request},
    error::{Cause, Error, ErrorKind},
};

/// A resource, as far as messages name it.
pub(crate) trait Named {
    /// The group; empty for core.
    fn group(&self) -> &str;
    /// The name in paths.
    fn plural(&self) -> &str;
}

impl Named for ResourceInfo {
    fn group(&self) -> &str {
        self.group
    }

    fn plural(&self) -> &str {
        self.plural
    }
}

impl Named for GroupVersionResource {
    fn group(&self) -> &str {
        &self.group
    }

    fn plural(&self) -> &str {
        &self.resource
    }
}

/// A resource as messages name it: `pods`, `deployments.apps`.
pub(crate) fn qualified(info: &impl Named) -> String {
    let (group, plural) = (info.group(), info.plural());
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

fn about(error: Error, info: &impl Named, name: &str) -> Error {
    error.detailed(|details| {
        details.name = name.into();
        details.group = info.group().into();
        details.kind = info.plural().into();
    })
}

/// The object does not exist.
pub(crate) fn not_found(info: &impl Named, name: &str) -> Error {
    about(Error::new(ErrorKind::NotFound, format!("{} {name:?} not found", qualified(info))), info, name)
}

/// An object of that name exists.
pub(crate) fn already_exists(info: &impl Named, name: &str) -> Error {
    about(Error::new(ErrorKind::AlreadyExists, format!("{} {name:?} already exists", qualified(info))), info, name)
}

/// Generated names were taken again and again.
pub(crate) fn names_taken(info: &impl Named, name: &str, attempts: usize) -> Error {
    let message = format!(
        "{} {name:?} already exists, the server was not able to generate a unique name for the object",
        qualified(info)
    );
    tracing::debug!(name, attempts, "every generated name was taken");
    about(Error::new(ErrorKind::AlreadyExists, message), info, name)
}

/// The write cannot go ahead because of the object's present state.
pub(crate) fn conflict(info: &impl Named, name: &str, why: &str) -> Error {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(info));
    about(Error::new(ErrorKind::Conflict, message), info, name)
}

/// The object was written since it was read.
pub(crate) fn modified(info: &impl Named, name: &str) -> Error {
    conflict(info, name, "the object has been modified; please apply your changes to the latest version and try again")
}

/// The uid of a write is not that of the object.
pub(crate) fn other_uid(info: &impl Named, name: &str, key: &str, wanted: &str, found: &str) -> Error {
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    );
    conflict(info, name, &why)
}

/// Policy forbids the write.
pub(crate) fn forbidden(info: &impl Named, name: &str, why: &str) -> Error {
    let message = if name.is_empty() {
        format!("{} is forbidden: {why}", qualified(info))
    } else {
        format!("{} {name:?} is forbidden: {why}", qualified(info))
    };
    about(Error::new(ErrorKind::Forbidden, message), info, name)
}

/// The identity may not do this.
pub(crate) fn unauthorized(wanted: &Attributes, user: &str, reason: &str) -> Error {
    let Attributes { verb, group, resource, subresource, namespace, name, .. } = wanted;
    let slash = if subresource.is_empty() { "" } else { "/" };
    let dot = if group.is_empty() { "" } else { "." };
    let named = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    let place =
        if namespace.is_empty() { "at the cluster scope".into() } else { format!("in the namespace {namespace:?}") };
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let message = format!(
        "{resource}{dot}{group}{named} is forbidden: User {user:?} cannot {verb} resource \"{resource}{slash}{subresource}\" \
         in API group \"{group}\" {place}{because}"
    );
    Error::new(ErrorKind::Forbidden, message).detailed(|details| {
        details.name.clone_from(name);
        details.group.clone_from(group);
        details.kind.clone_from(resource);
    })
}

/// The object breaks its kind's rules.
pub(crate) fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Error {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let mut said: Vec<String> = Vec::with_capacity(causes.len());
    for line in causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)) {
        if !said.contains(&line) {
            said.push(line);
        }
    }
    let said = if said.len() == 1 { said.remove(0) } else { format!("[{}]", said.join(", ")) };
    Error::new(ErrorKind::Invalid, format!("{qualified} {name:?} is invalid: {said}")).detailed(|details| {
        details.name = name.into();
        details.group = group.into();
        details.kind = kind.into();
        details.causes = causes;
    })
}

/// One cause of an invalid object: a value breaks a rule.
pub(crate) fn bad_value(field: &str, shown: impl std::fmt::Display, why: impl std::fmt::Display) -> Cause {
    Cause { reason: "FieldValueInvalid".into(), message: format!("Invalid value: {shown}: {why}"), field: field.into() }
}

/// One cause of an invalid object: a value may not be given.
pub(crate) fn not_allowed(field: &str, why: impl std::fmt::Display) -> Cause {
    Cause { reason: "FieldValueForbidden".into(), message: format!("Forbidden: {why}"), field: field.into() }
}

/// One cause of an invalid object: a value is none of those that are known.
pub(crate) fn unsupported(field: &str, shown: &str, known: &[&str]) -> Cause {
    let known = known.iter().map(|known| format!("{known:?}")).collect::<Vec<_>>().join(", ");
    let message = format!("Unsupported value: {shown:?}: supported values: {known}");
    Cause { reason: "FieldValueNotSupported".into(), message, field: field.into() }
}

/// One cause of an invalid object: a value is missing.
pub(crate) fn missing(field: &str, why: &str) -> Cause {
    let message = if why.is_empty() { "Required value".into() } else { format!("Required value: {why}") };
    Cause { reason: "FieldValueRequired".into(), message, field: field.into() }
}

/// The request cannot be understood.
pub(crate) fn bad_request(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

/// The resource does not serve the verb.
pub(crate) fn no_such_verb(request: &Request) -> Error {
    let error =
        Error::new(ErrorKind::MethodNotAllowed, "the server does not allow this method on the requested resource");
    error.detailed(|details| {
        details.name = request.name.clone();
        details.group = request.resource.group.to_string();
        details.kind = request.resource.resource.to_string();
    })
}

/// The definition of the resource is being deleted.
pub(crate) fn defined_no_more(info: &impl Named) -> Error {
    let message = "create not allowed while custom resource definition is terminating";
    about(Error::new(ErrorKind::MethodNotAllowed, message), info, "")
}

/// The server does not do this.
pub(crate) fn not_supported(what: &str) -> Error {
    Error::new(ErrorKind::NotSupported, format!("{what} is not supported by this server"))
}

#[cfg(test)]
mod tests {
    use windlass_api::resources;

    use super::*;

    #[test]
    fn messages_name_the_resource_with_its_group() {
        let deployments = resources::find("apps", "v1", "deployments").unwrap();
        assert_eq!(not_found(deployments, "x").message(), "deployments.apps \"x\" not found");
        let details = modified(deployments, "x");
        assert_eq!(details.details().unwrap().kind, "deployments");
    }

    #[test]
    fn several_causes_stand_in_brackets() {
        let error = invalid("", "Pod", "x", vec![missing("a", ""), missing("b", "why")]);
        assert_eq!(error.message(), "Pod \"x\" is invalid: [a: Required value, b: Required value: why]");
    }
}
