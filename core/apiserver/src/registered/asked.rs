//! A request on its way past what is registered: its names, its objects, and the versions they are shown in.

use std::{mem, sync::Arc};

use serde_json::{Value, json};
use windlass_api::{decode::Decoded, resources::GroupVersionKind};
use windlass_kernel::{
    access::Attributes,
    api::{FieldValidation, Propagation, Request, Verb},
    error::{Error, Result},
};

use super::{
    matching::{Labelled, Named, Operation},
    namespace, review,
};
use crate::{
    body::{self, Wanted},
    convert, custom, errors, object,
    registry::Served,
    review::user,
    rules,
    server::ApiServer,
};

/// A request that is asked about.
pub(crate) struct Asked<'a> {
    pub(super) server: &'a ApiServer,
    pub(super) request: &'a Request,
    pub(super) operation: Operation,
    /// The names of its resource: that of the request, then those of other versions of the same.
    forms: Vec<Form>,
    /// Whether objects are of the resource's own kind, so that other versions of them can be shown.
    converts: bool,
    /// In the form that the path of writes works in.
    pub(super) old: Option<Value>,
    pub(super) new: Option<Value>,
    /// The namespace it is in; `None` outside of namespaces.
    pub(super) namespace: Option<Value>,
    options: Value,
    pub(super) warnings: Vec<String>,
}

/// A resource in one of its versions.
struct Form {
    served: Arc<Served>,
    kind: [String; 3],
}

impl<'a> Asked<'a> {
    /// A write of an object of the resource itself, or of a part of it.
    pub(crate) async fn write(
        server: &'a ApiServer,
        served: &Served,
        request: &'a Request,
        old: Option<Value>,
        new: Option<Value>,
    ) -> Result<Self> {
        let operation = match (&old, &new) {
            (None, _) => Operation::Create,
            (Some(_), Some(_)) => Operation::Update,
            (Some(_), None) => Operation::Delete,
        };
        Self::of(server, served, request, operation, (old, new)).await
    }

    /// Something of a kind of its own that is posted to a sub-resource, or the options of a session.
    pub(crate) async fn posted(
        server: &'a ApiServer,
        served: &Served,
        request: &'a Request,
        posted: Value,
    ) -> Result<Self> {
        let operation = if request.verb == Verb::Connect { Operation::Connect } else { Operation::Create };
        let mut asked = Self::of(server, served, request, operation, (None, Some(posted))).await?;
        asked.converts = false;
        Ok(asked)
    }

    async fn of(
        server: &'a ApiServer,
        served: &Served,
        request: &'a Request,
        operation: Operation,
        (old, new): (Option<Value>, Option<Value>),
    ) -> Result<Self> {
        let own =
            |served: &Arc<Served>| Form { kind: kind_of(served, &request.subresource), served: Arc::clone(served) };
        let forms: Vec<Form> = server.parts.registry.forms(served).iter().map(own).collect();
        let converts = forms.first().is_some_and(|form| form.kind[2] == *form.served.info.kind);
        let namespace = match request.namespace.as_str() {
            "" => None,
            name => Some(namespace::read(server, name).await?),
        };
        let options = options_of(request, operation);
        Ok(Self { server, request, operation, forms, converts, old, new, namespace, options, warnings: Vec::new() })
    }

    /// Its names, as rules see them.
    pub(super) fn names(&self) -> Vec<Named<'_>> {
        let request = self.request;
        let name = self.name();
        let namespaces = request.resource.resource == "namespaces" && request.resource.group.is_empty();
        let namespace = if namespaces { name } else { &request.namespace };
        let forms = self.forms.iter().map(|form| Named {
            operation: self.operation,
            group: &form.served.info.group,
            version: &form.served.info.version,
            resource: &form.served.info.plural,
            subresource: &request.subresource,
            namespace,
            name,
        });
        forms.collect()
    }

    fn name(&self) -> &str {
        let mut given = [self.new.as_ref(), self.old.as_ref()].into_iter().flatten().map(object::name);
        if self.request.name.is_empty() { given.next().unwrap_or_default() } else { &self.request.name }
    }

    /// The labels that selectors look at.
    pub(super) fn labels(&self) -> Labelled<'_> {
        Labelled {
            old: self.old.as_ref(),
            new: self.new.as_ref(),
            namespace: self.namespace.as_ref().map(|namespace| object::meta(namespace, "labels")),
        }
    }

    /// The resource in one of the forms.
    #[cfg(feature = "cel")]
    pub(super) fn form(&self, at: usize) -> &Served {
        &self.forms[at].served
    }

    /// An object as it looks in one of the forms.
    pub(super) async fn shown(&self, at: usize, value: Option<&Value>) -> Result<Value> {
        let Some(value) = value else { return Ok(Value::Null) };
        if !self.converts {
            return Ok(value.clone());
        }
        let form = &self.forms[at].served;
        match form.definition() {
            Some(_) => custom::between(self.server, form, &form.info.version, value.clone()).await,
            None => convert::from_storage(form, value.clone()),
        }
    }

    /// Takes over what somebody made of the new object in one of the forms. Says whether that changed it.
    pub(super) async fn change(&mut self, at: usize, changed: Value) -> Result<bool> {
        let Some(before) = &self.new else { return Ok(false) };
        let form = &self.forms[at].served;
        let mut after = if self.converts {
            let decoded = Decoded { value: changed, ..Decoded::default() };
            let read = body::checked(decoded, Wanted::object_of(&form.info), FieldValidation::Ignore, "")?;
            let own = &self.forms[0].served;
            let mut value = match form.definition() {
                Some(_) => custom::between(self.server, form, &own.info.version, read.object).await?,
                None => convert::to_storage(form, read.object)?,
            };
            rules::default(own, &mut value);
            value
        } else {
            changed
        };
        for field in ["name", "namespace", "uid"] {
            if object::meta(before, field) != object::meta(&after, field) {
                let (was, is) = (object::meta(before, field), object::meta(&after, field));
                return Err(review::internal(format!("admission may not change metadata.{field} from {was} to {is}")));
            }
        }
        // Owners are the business of whoever wrote the request.
        object::set_meta(&mut after, "managedFields", Some(object::meta(before, "managedFields").clone()));
        if object::meta(&after, "managedFields").is_null() {
            object::set_meta(&mut after, "managedFields", None);
        }
        let differs = *before != after;
        self.new = Some(after);
        Ok(differs)
    }

    /// The new object, as admission left it.
    pub(crate) fn take(&mut self) -> Option<Value> {
        self.new.take()
    }

    /// What the client should hear.
    pub(crate) fn warnings(&mut self) -> Vec<String> {
        mem::take(&mut self.warnings)
    }

    /// The request in one of the forms, without its objects.
    pub(super) fn request(&self, at: usize) -> Value {
        let request = self.request;
        let kind = |form: &Form| {
            let [group, version, kind] = &form.kind;
            json!({"group": group, "version": version, "kind": kind})
        };
        let resource = |form: &Form| {
            let info = &form.served.info;
            json!({"group": &*info.group, "version": &*info.version, "resource": &*info.plural})
        };
        let (own, shown) = (&self.forms[0], &self.forms[at]);
        let names = self.names();
        json!({
            "kind": kind(shown), "resource": resource(shown), "subResource": request.subresource,
            "requestKind": kind(own), "requestResource": resource(own), "requestSubResource": request.subresource,
            "name": names[0].name, "namespace": names[0].namespace, "operation": self.operation.as_str(),
            "userInfo": user(&request.identity), "dryRun": request.options.dry_run, "options": self.options,
        })
    }

    /// The request as authorizers know it.
    #[cfg_attr(not(feature = "cel"), expect(dead_code, reason = "only expressions ask authorizers"))]
    pub(super) fn attributes(&self) -> Attributes {
        let (request, name) = (self.request, self.names());
        Attributes {
            verb: request.verb.as_str().into(),
            group: request.resource.group.to_string(),
            version: request.resource.version.to_string(),
            resource: request.resource.resource.to_string(),
            subresource: request.subresource.clone(),
            namespace: name[0].namespace.to_owned(),
            name: name[0].name.to_owned(),
            ..Attributes::default()
        }
    }

    /// The refusal of the request, for a reason.
    #[cfg_attr(not(feature = "cel"), expect(dead_code, reason = "only expressions refuse without a webhook"))]
    pub(super) fn forbidden(&self, why: &str) -> Error {
        errors::forbidden(&self.request.resource, self.name(), why)
    }
}

/// The kind of what a request for the (sub-)resource carries.
fn kind_of(served: &Served, subresource: &str) -> [String; 3] {
    let info = &served.info;
    let own = [info.group.to_string(), info.version.to_string(), info.kind.to_string()];
    match info.subresource(subresource).map(|sub| sub.kind) {
        // A custom resource borrows the status of others.
        Some(_) if subresource == "status" => own,
        Some(GroupVersionKind { group, version, kind }) => [group.into(), version.into(), kind.into()],
        None => own,
    }
}

/// The options of a request as its client gave them.
fn options_of(request: &Request, operation: Operation) -> Value {
    let options = &request.options;
    let kind = match (request.verb, operation) {
        (_, Operation::Connect) => return Value::Null,
        (_, Operation::Delete) => "DeleteOptions",
        (Verb::Patch(_), _) => "PatchOptions",
        (_, Operation::Update) => "UpdateOptions",
        (_, Operation::Create) => "CreateOptions",
    };
    let mut out = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if options.dry_run {
        out["dryRun"] = json!(["All"]);
    }
    if operation == Operation::Delete {
        if let Some(seconds) = options.grace_period {
            out["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(propagation) = options.propagation {
            out["propagationPolicy"] = match propagation {
                Propagation::Orphan => "Orphan",
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
            }
            .into();
        }
        let held = [("uid", &options.preconditions.uid), ("resourceVersion", &options.preconditions.resource_version)];
        for (field, wanted) in held {
            if let Some(wanted) = wanted {
                out["preconditions"][field] = wanted.as_str().into();
            }
        }
        return out;
    }
    if !options.field_manager.is_empty() {
        out["fieldManager"] = options.field_manager.as_str().into();
    }
    out["fieldValidation"] = match options.field_validation {
        FieldValidation::Ignore => "Ignore",
        FieldValidation::Warn => "Warn",
        FieldValidation::Strict => "Strict",
    }
    .into();
    if options.force {
        out["force"] = true.into();
    }
    out
}
