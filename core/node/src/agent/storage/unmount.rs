//! Takes volumes of drivers away from a pod, and from the node with the last of their pods.

use std::{io, path::Path, sync::Arc};

use windlass_api::core::v1::Pod;
use windlass_kernel::{Error, ErrorKind, Result};

use crate::{
    agent::{prepare::whole, worker::Round},
    pod,
    volume::record::{self, Record},
};

impl Round<'_> {
    /// Takes all volumes of drivers from the pod. What cannot be taken away is told, and tried again with the next round.
    pub(in crate::agent) async fn unmount(&self, pod: &Arc<Pod>) -> Result<()> {
        let mut failed = None;
        for record in self.inner.storage.of(&pod::uid(pod)) {
            let Err(why) = self.take_away(&record).await else { continue };
            let text = format!("UnmountVolume.TearDown failed for volume {:?} : {why}", record.name);
            self.event(pod, None, "Warning", "FailedUnMount", &text);
            failed = failed.or(Some(text));
        }
        failed.map_or(Ok(()), |text| Err(Error::new(ErrorKind::Unavailable, text)))
    }

    async fn take_away(&self, record: &Record) -> Result<(), String> {
        let (storage, layout) = (&self.inner.storage, &self.inner.layout);
        let driver = storage.drivers.get(&record.driver)?;
        let node = driver.node().ok_or_else(|| format!("driver {} brings no volumes to nodes", record.driver))?;
        let volume = record.handle.as_str().into();
        let _turn = storage.turn(record).await;
        let target = layout.target(&record.uid, &record.name);
        self.ask(node.unpublish(&volume, &target)).await.map_err(|error| whole(&error))?;
        self.take_path(target).await?;
        if record.staged && !storage.shared(record) {
            let staging = layout.staging(&record.driver, &record.handle);
            if let Some(service) = node.staging() {
                self.ask(service.unstage(&volume, &staging)).await.map_err(|error| whole(&error))?;
            }
            self.take_path(staging.clone()).await?;
            let around = staging.parent().map(Path::to_owned).unwrap_or_default();
            self.take_path(around).await?;
        }
        let folder = layout.driven(&record.uid, &record.name);
        let struck = self.blocking(move || record::strike(&folder)).await.map_err(|error| whole(&error))?;
        struck.map_err(|error| format!("cannot strike the volume out: {error}"))?;
        storage.leave(record);
        Ok(())
    }

    /// Removes a path where a volume was: an empty folder, or a file. While something is shown there, it cannot be removed.
    async fn take_path(&self, path: std::path::PathBuf) -> Result<(), String> {
        let named = path.display().to_string();
        let work = move || -> io::Result<()> {
            let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
            record::gone(if meta.is_dir() { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) })
        };
        let done = self.blocking(work).await.map_err(|error| whole(&error))?;
        done.map_err(|error| format!("cannot remove {named}: {error}"))
    }
}
