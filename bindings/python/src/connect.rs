//! Clusters elsewhere, by their kubeconfig.

use std::{path::PathBuf, sync::Arc};

use pyo3::prelude::*;
use windlass::{
    client::{
        Client,
        https::{HttpsApi, Means},
        kubeconfig::Kubeconfig,
    },
    kernel::{Identity, Result},
    rim::SystemDial,
};

use crate::{api::Api, engine::Engine, raise::raise};

/// A connection, made when it is first used: its API, its server, its namespace, and what ends it.
#[pyfunction]
pub(crate) fn connect(
    py: Python<'_>,
    file: PathBuf,
    context: &str,
    user_agent: &str,
) -> PyResult<(Api, String, String, Connection)> {
    let (engine, client, server, namespace) = reach(file, context, user_agent).map_err(|error| raise(py, &error))?;
    let connection = Connection { engine: Arc::clone(&engine) };
    Ok((Api::new(&engine, client), server, namespace, connection))
}

fn reach(file: PathBuf, context: &str, user_agent: &str) -> Result<(Arc<Engine>, Client, String, String)> {
    let access = Kubeconfig::read(file)?.access(context)?;
    let engine = Engine::start()?;
    let means =
        Means { dial: Arc::new(SystemDial), spawn: Arc::clone(engine.spawn()), clock: Arc::clone(engine.clock()) };
    // The server knows who asks by the credential.
    let client = Client::new(Arc::new(HttpsApi::new(&access, means)?), Arc::new(Identity::anonymous()));
    Ok((engine, client.with_user_agent(user_agent), access.server, access.namespace))
}

/// What a connection runs on.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Connection {
    engine: Arc<Engine>,
}

#[pymethods]
impl Connection {
    /// Ends the connection. Calls that are waited for raise `ClosedError`.
    fn close(&self, py: Python<'_>) {
        self.engine.close(py, async {});
    }
}
