//! How a cluster is reached: a kubeconfig, and a client over HTTPS as it says.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result};
use windlass::{
    kernel::{Clock, Error, ErrorKind, Identity},
    rim::{SystemClock, SystemDial, TokioSpawn},
};
use windlass_client::{
    Client,
    https::{HttpsApi, Means},
    kubeconfig::{Access, Kubeconfig},
};

use crate::{
    args::{Reach, Scope},
    data::DataDir,
};

/// A cluster that can be asked.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) client: Client,
    /// The same, for requests word by word.
    pub(super) api: Arc<HttpsApi>,
    pub(super) server: String,
    /// Where no namespace is named.
    pub(super) namespace: String,
    pub(super) clock: Arc<dyn Clock>,
}

/// Runs `work` against the cluster.
pub(super) fn with(reach: &Reach, work: impl AsyncFnOnce(Connected) -> Result<ExitCode>) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let done = runtime.block_on(async { work(connect(reach)?).await });
    // A read of the standard input that is still waited for would keep the process.
    runtime.shutdown_background();
    done
}

/// As [`with`], in the namespace that was named.
pub(super) fn within(scope: &Scope, work: impl AsyncFnOnce(Connected) -> Result<ExitCode>) -> Result<ExitCode> {
    with(&scope.reach, async |mut connected| {
        connected.namespace = scope.namespace.clone().unwrap_or(connected.namespace);
        work(connected).await
    })
}

/// Whom to ask, and as whom.
pub(crate) fn access(reach: &Reach) -> Result<Access> {
    let file = kubeconfig(reach);
    if !file.exists() {
        let message = format!(
            "no cluster is known: there is no {}; start one by `windlass up`, or name a file by --kubeconfig",
            file.display()
        );
        return Err(Error::new(ErrorKind::Unavailable, message).into());
    }
    Ok(Kubeconfig::read(file)?.access(&reach.context)?)
}

fn connect(reach: &Reach) -> Result<Connected> {
    let access = access(reach)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let means = Means { dial: Arc::new(SystemDial), spawn: Arc::new(TokioSpawn::current()), clock: Arc::clone(&clock) };
    let api = Arc::new(HttpsApi::new(&access, means)?);
    // The server knows who asks by the credential.
    let client = Client::new(Arc::clone(&api) as _, Arc::new(Identity::anonymous()));
    let client = client.with_user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")));
    Ok(Connected { client, api, server: access.server, namespace: access.namespace, clock })
}

/// The named one, the cluster's own, or the user's.
fn kubeconfig(reach: &Reach) -> PathBuf {
    let named = reach.kubeconfig.as_ref().map(|paths| {
        // The variable may hold several, as kubectl has it; the first decides.
        std::env::split_paths(paths).find(|path| !path.as_os_str().is_empty()).unwrap_or_default()
    });
    let own = DataDir::of(&reach.place).kubeconfig();
    let users = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    match named {
        Some(named) if !named.as_os_str().is_empty() => named,
        _ if own.exists() || reach.place.data_dir.is_some() => own,
        _ => users().filter(|users| users.exists()).unwrap_or(own),
    }
}
