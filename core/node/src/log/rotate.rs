//! Keeps logs small: a log that has grown is put aside, and the container goes on with a new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Weak,
    time::Duration,
};

use windlass_kernel::{
    ClockExt, SpawnExt,
    runtime::{ContainerFilter, ContainerState},
};

use crate::agent::Inner;

/// As large as a log may become, and how many of one container are kept (upstream's defaults).
const SIZE: u64 = 10 << 20;
const FILES: usize = 5;
/// How often logs are looked at.
const PERIOD: Duration = Duration::from_secs(30);

/// Looks after the logs until the agent goes.
pub(crate) async fn rotate(inner: Weak<Inner>) {
    let Some(clock) = inner.upgrade().map(|inner| inner.needs.clock.clone()) else { return };
    loop {
        clock.sleep(PERIOD).await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.handles().is_empty() {
            continue;
        }
        let root = inner.layout.all_logs();
        let grown = inner.needs.spawn.run_blocking("node.logs", move || grown(&root)).await.unwrap_or_default();
        if grown.is_empty() {
            continue;
        }
        let filter = ContainerFilter { state: Some(ContainerState::Running), ..ContainerFilter::default() };
        for container in inner.needs.runtime.containers(&filter).await.unwrap_or_default() {
            let Ok(Some(status)) = inner.needs.runtime.container(&container.id).await else { continue };
            let path = PathBuf::from(&status.log_path);
            if !grown.contains(&path) {
                continue;
            }
            let stamp = clock.now().strftime("%Y%m%d-%H%M%S").to_string();
            let aside = put_aside(path, stamp);
            let moved = inner.needs.spawn.run_blocking("node.logs", aside).await;
            if !matches!(moved, Some(Ok(()))) {
                tracing::warn!(log = status.log_path, "cannot put a log aside");
                continue;
            }
            if let Err(error) = inner.needs.runtime.reopen_log(&container.id).await {
                tracing::warn!(log = status.log_path, %error, "the runtime goes on with the old log");
            }
        }
    }
}

/// The logs that have grown too large.
fn grown(root: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let files = inside(root).into_iter().flat_map(|pod| inside(&pod)).flat_map(|container| inside(&container));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > SIZE))
        .collect()
}

fn put_aside(path: PathBuf, stamp: String) -> impl FnOnce() -> io::Result<()> + Send {
    move || {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::rename(&path, path.with_file_name(format!("{name}.{stamp}")))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut old: Vec<PathBuf> = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|one| one.file_name().is_some_and(|one| one.to_string_lossy().starts_with(&format!("{name}."))))
            .collect();
        // Names end with their time, so the oldest come first.
        old.sort();
        let surplus = (old.len() + 1).saturating_sub(FILES);
        old.into_iter().take(surplus).try_for_each(fs::remove_file)
    }
}
