//! Files of webhooks and policies are read again when they change (KEP-5793).

use std::{path::PathBuf, sync::Arc, time::Duration};

use windlass::{
    apiserver::ApiServer,
    kernel::{Clock, ClockExt, Spawn, SpawnExt},
};

use crate::args::serving::{Serving, stamps};

/// How often files are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Takes over what the files have, for as long as it is polled.
pub(super) async fn follow(
    serving: Serving,
    named: Vec<PathBuf>,
    server: Arc<ApiServer>,
    (clock, spawn): (Arc<dyn Clock>, Arc<dyn Spawn>),
) {
    // The files are read once more than needed: they may have changed since the start.
    let mut seen = None;
    loop {
        clock.sleep(PERIOD).await;
        let (serving, named, before) = (serving.clone(), named.clone(), seen.clone());
        let look = move || {
            let now = stamps(&named);
            let read = (Some(&now) != before.as_ref()).then(|| serving.admission());
            (now, read)
        };
        let Some((now, read)) = spawn.run_blocking("admission.files", look).await else { continue };
        seen = Some(now);
        match read.map(|read| read.and_then(|configuration| server.renew_manifests(configuration))) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => tracing::info!("webhooks and policies of files are others now"),
            Some(Err(error)) => {
                tracing::warn!(%error, "files of webhooks and policies are not used, the last ones are")
            }
        }
    }
}
