//! The objects that parametrize a policy (`paramKind`, `paramRef`).

use serde_json::Value;
use windlass_api::selector::Labels;
use windlass_kernel::{
    Document,
    error::Result,
    store::{KeyRange, ListSpec, ReadAt},
};

use super::super::asked::Asked;
use crate::{custom, object, registry::Served};

/// The kind of a policy's parameters.
#[derive(Debug)]
pub(super) struct ParamKind {
    group: String,
    version: String,
    kind: String,
}

impl ParamKind {
    pub(super) fn read(kind: &Value) -> Option<Self> {
        let api_version = kind["apiVersion"].as_str()?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Some(Self { group: group.into(), version: version.into(), kind: kind["kind"].as_str()?.into() })
    }
}

/// Which of them a binding means.
#[derive(Debug)]
pub(super) struct Params {
    name: String,
    namespace: String,
    selector: Option<Labels>,
    /// Whether it is fine that there are none.
    may_lack: bool,
    given: bool,
}

impl Params {
    pub(super) fn read(reference: &Value) -> Self {
        let text = |field: &str| reference[field].as_str().unwrap_or_default().to_owned();
        let selector = &reference["selector"];
        Self {
            name: text("name"),
            namespace: text("namespace"),
            selector: selector.is_object().then(|| Labels::from_json(Some(selector)).unwrap_or(Labels::nothing())),
            may_lack: reference["parameterNotFoundAction"] == "Allow",
            given: reference.is_object(),
        }
    }
}

/// The parameters of a policy for a request; a policy without any has null. The inner error says what is misconfigured.
pub(super) async fn find(
    asked: &Asked<'_>,
    kind: Option<&ParamKind>,
    params: &Params,
) -> Result<std::result::Result<Vec<Value>, String>> {
    let Some(kind) = kind.filter(|_| params.given) else { return Ok(Ok(vec![Value::Null])) };
    let ParamKind { group, version, kind } = kind;
    let Some(served) = asked.server.parts.registry.of_kind(group, version, kind) else {
        let shown = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        let why = format!("failed to find resource referenced by paramKind: '{shown}, Kind={kind}'");
        return Ok(Err(format!("failed to configure policy: {why}")));
    };
    let misfit = |why: &str| Ok(Err(format!("failed to configure binding: {why}")));
    let namespace = match (served.info.namespaced, params.namespace.as_str()) {
        (false, "") => "",
        (false, _) => return misfit("paramRef.namespace must not be provided for a cluster-scoped `paramKind`"),
        (true, "") => match asked.names().first().map_or("", |name| name.namespace) {
            "" => {
                return misfit(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
                );
            }
            own => own,
        },
        (true, named) => named,
    };
    let found = match &params.selector {
        Some(selector) => selected(asked, &served, namespace, selector).await?,
        None => one(asked, &served, namespace, &params.name).await?,
    };
    if found.is_empty() && !params.may_lack {
        return misfit("no params found for policy binding with `Deny` parameterNotFoundAction");
    }
    Ok(Ok(found))
}

async fn one(asked: &Asked<'_>, served: &Served, namespace: &str, name: &str) -> Result<Vec<Value>> {
    let Some(document) = asked.server.read(&served.key(namespace, name)).await? else { return Ok(Vec::new()) };
    Ok(vec![custom::open(asked.server, served, &document).await?])
}

async fn selected(asked: &Asked<'_>, served: &Served, namespace: &str, selector: &Labels) -> Result<Vec<Value>> {
    let range = KeyRange::prefix(&served.collection(namespace));
    let listing = asked.server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?;
    let mut found = Vec::new();
    for entry in listing.entries {
        let document = Document::stored(entry)?;
        if selector.matches_with(|name| document.label(name)) {
            let value = custom::open(asked.server, served, &document).await?;
            if object::is_empty(object::meta(&value, "deletionTimestamp")) {
                found.push(value);
            }
        }
    }
    Ok(found)
}
