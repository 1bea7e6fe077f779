//! Functions of Python as controllers, on the kernel's queue: what fails is tried again with its back-off.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use pyo3::prelude::*;
use windlass::kernel::{
    Controller, Document, Error, ErrorKind, Result,
    api::GroupVersionResource,
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{api::Api, guest, hooks::Hooks};

/// A function that reconciles.
#[derive(Debug)]
pub(crate) struct Reconciles {
    pub(crate) name: &'static str,
    /// The resources, and whether those who own their objects are meant.
    pub(crate) watches: Vec<(GroupVersionResource, bool)>,
    pub(crate) plain: bool,
    pub(crate) function: Py<PyAny>,
}

/// A controller of one cluster.
pub(crate) struct Reconciler {
    pub(crate) what: Arc<Reconciles>,
    pub(crate) hooks: Arc<Hooks>,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

#[async_trait]
impl Controller for Reconciler {
    fn name(&self) -> &'static str {
        self.what.name
    }

    fn watches(&self) -> Vec<Watched> {
        let watched = |(resource, owned): &(GroupVersionResource, bool)| Watched {
            resource: resource.clone(),
            keys: if *owned { owner } else { itself },
        };
        self.what.watches.iter().map(watched).collect()
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let (engine, client) = (self.hooks.engine()?, self.hooks.client().await);
        let api = Api::new(&engine, client.with_user_agent(self.what.name));
        let failed = |error: PyErr| {
            let text = Python::attach(|_| error.to_string());
            Error::new(ErrorKind::Internal, format!("controller {:?}, {key}: {text}", self.what.name))
        };
        let made = Python::attach(|py| {
            let arguments = (Py::new(py, api)?, &key.namespace, &key.name).into_pyobject(py)?.unbind();
            Ok::<_, PyErr>((self.what.function.clone_ref(py), arguments))
        });
        let (function, arguments) = made.map_err(failed)?;
        let said = guest::invoke(&engine, self.what.plain, function, arguments).await.map_err(failed)?;
        let again = Python::attach(|py| said.extract::<Option<f64>>(py)).map_err(failed)?;
        Ok(again.and_then(|span| Duration::try_from_secs_f64(span).ok()).map_or(Requeue::OnChange, Requeue::After))
    }
}

fn itself(document: &Document) -> Vec<ObjectKey> {
    document.object_key().into_iter().collect()
}

/// The object that controls one, by its name.
fn owner(document: &Document) -> Vec<ObjectKey> {
    let Ok(tree) = document.value() else { return vec![] };
    let namespace = tree["metadata"]["namespace"].as_str().unwrap_or_default();
    let owners = tree["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let controls = owners.filter(|owner| owner["controller"] == true).filter_map(|owner| owner["name"].as_str());
    controls.map(|name| ObjectKey::new(namespace, name)).collect()
}
