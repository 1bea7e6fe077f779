//! Webhooks and policies that files register (KEP-5793): there from the start, seen by nobody over the API, and asked also
//! about what the API registers.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{Body, FieldValidation},
    store::Key,
};

use super::Registered;
use crate::{
    admission::Manifest,
    body::{self, Wanted},
    kinds::{Errors, Field},
    object,
    registry::{Registry, Served},
    rules,
    server::ApiServer,
};

/// What names of such objects end in; no other object is called so.
const SUFFIX: &str = ".static.k8s.io";
const GROUP: &str = "admissionregistration.k8s.io";

/// The kinds that a plugin's files may hold, and their resources.
const KINDS: [(&str, &str, &str); 6] = [
    ("MutatingAdmissionWebhook", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    ("ValidatingAdmissionWebhook", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ("MutatingAdmissionPolicy", "MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
    ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
];

/// What files register.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fixed {
    /// By the keys under which it is asked.
    objects: Vec<(Key, Value)>,
    registered: Arc<Registered>,
}

impl Fixed {
    /// All of it.
    pub(crate) fn registered(&self) -> &Arc<Registered> {
        &self.registered
    }

    /// Puts it in the place of what files registered before.
    pub(super) fn replace(&self, before: &Self, among: &mut Registered) {
        before.objects.iter().for_each(|(key, _)| among.remove(key));
        self.objects.iter().for_each(|(key, object)| among.put(key, object));
    }

    /// Whether files say the same.
    fn is_as(&self, other: &Self) -> bool {
        self.objects == other.objects
    }
}

/// What is said where files register something and the gate is off.
pub(crate) fn without_gate() -> Error {
    let why = "staticManifestsDir requires the ManifestBasedAdmissionControlConfig feature gate to be enabled";
    Error::new(ErrorKind::Invalid, format!("admission configuration: {why}"))
}

/// Takes over what files have by now; says whether that is something else than before.
///
/// # Errors
///
/// Those of [`read`]; what was registered then stays.
pub(crate) fn renew(server: &ApiServer, manifests: Vec<(String, Manifest)>) -> Result<bool> {
    let new = read(manifests, &server.parts.registry)?;
    let before = server.parts.fixed.load_full();
    if new.is_as(&before) {
        return Ok(false);
    }
    server.parts.registered.change(|snapshot| snapshot.refix(&new, &before));
    server.parts.fixed.store(Arc::new(new));
    Ok(true)
}

/// Registers what files have.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) with the file of the first object that may not be there.
pub(crate) fn read(manifests: Vec<(String, Manifest)>, registry: &Registry) -> Result<Fixed> {
    let mut fixed = Fixed::default();
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut bound = Vec::new();
    for (plugin, Manifest { file, value }) in manifests {
        let wrong = |why: String| Error::new(ErrorKind::Invalid, format!("{file}: {why}"));
        for mut object in items(value) {
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            let of_plugin = |own: &&(&str, &str, &str)| (own.0, own.1) == (plugin.as_str(), kind.as_str());
            let known = KINDS.iter().find(of_plugin).filter(|_| object["apiVersion"] == format!("{GROUP}/v1"));
            let (_, _, plural) = known.ok_or_else(|| {
                wrong(format!("{plugin} takes no {kind} of {}", object["apiVersion"].as_str().unwrap_or_default()))
            })?;
            let name = object::name(&object).to_owned();
            if !name.ends_with(SUFFIX) {
                return Err(wrong(format!("{name:?} must have a name ending with {SUFFIX:?}")));
            }
            let served = registry.known(GROUP, "v1", plural)?;
            let written = Body::Bytes { media_type: "application/json".into(), bytes: object.to_string().into() };
            let strict = body::object(written, Wanted::object_of(&served.info), FieldValidation::Strict);
            object = strict.map_err(|error| wrong(format!("{name}: {}", error.message())))?.object;
            rules::default(served, &mut object);
            let mut errors = Errors::new();
            served.rules.check_create(&object, Some(false), &mut errors);
            errors.into_result(GROUP, &kind, &name).map_err(|error| wrong(error.message().to_owned()))?;
            alone(&object).map_err(|why| wrong(format!("{name}: {why}")))?;
            if let Some(other) = seen.insert((kind, name.clone()), file.clone()) {
                return Err(wrong(format!("duplicate name {name:?} (previously seen in {other:?})")));
            }
            // They come before those of the API, whose keys begin with a letter after the slash.
            if let Some(policy) = object["spec"]["policyName"].as_str() {
                bound.push((file.clone(), name.clone(), policy.to_owned()));
            }
            fixed.objects.push((Key::from(format!("/!fixed/{plural}/{name}")), object));
        }
    }
    for (file, name, policy) in bound {
        if !seen.keys().any(|(kind, own)| *own == policy && !kind.ends_with("Binding")) {
            let message = format!("{file}: {name}: spec.policyName: {policy:?} is in no static manifest");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    let mut registered = Registered::default();
    fixed.objects.iter().for_each(|(key, object)| registered.put(key, object));
    fixed.registered = Arc::new(registered);
    Ok(fixed)
}

/// The objects of a list, or the one.
fn items(mut value: Value) -> Vec<Value> {
    let is_list = value["kind"] == "List" && value["items"].is_array();
    match value["items"].take() {
        Value::Array(items) if is_list => items,
        _ => {
            object::as_map(&mut value).remove("items");
            vec![value]
        }
    }
}

/// Refuses what depends on objects of the API, which may not be there yet.
fn alone(object: &Value) -> Result<(), &'static str> {
    let spec = &object["spec"];
    let hooks = object["webhooks"].as_array().into_iter().flatten();
    if hooks.map(|hook| &hook["clientConfig"]["service"]).any(Value::is_object) {
        return Err("clientConfig.service is not supported in static manifests: use clientConfig.url");
    }
    if spec["paramKind"].is_object() || spec["paramRef"].is_object() {
        return Err("parameters are not supported in static manifests");
    }
    Ok(())
}

/// Refuses a new object of the API that is called as those of files are; where files register nothing, a warning tells that
/// the name will be theirs.
pub(crate) fn reserved(server: &ApiServer, served: &Served, new: &Value, warnings: &mut Vec<String>) -> Result<()> {
    let name = object::name(new);
    if served.storage.group != GROUP || !name.ends_with(SUFFIX) {
        return Ok(());
    }
    if !server.parts.gates.manifests {
        warnings.push(format!("metadata.name: names ending with {SUFFIX} will be reserved for static manifests"));
        return Ok(());
    }
    let mut errors = Errors::new();
    let why = format!("the {SUFFIX:?} suffix is reserved for static manifest-based configurations");
    errors.invalid(&Field::top(new, "metadata").get("name"), why);
    errors.into_result(GROUP, &served.storage.kind, name)
}
