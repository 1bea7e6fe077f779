//! Removes images that nothing uses when the disk fills up. The disk cannot be watched, so it is looked at now and then.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, SpawnExt,
    runtime::{ContainerFilter, Image, ImageRef},
};

use super::records::{surplus, used};
use crate::{agent::Inner, gauge::DiskLevel};

/// Looks after the images until the agent goes.
pub(crate) async fn collect(inner: Weak<Inner>) {
    let Some(clock) = inner.upgrade().map(|inner| inner.needs.clock.clone()) else { return };
    let mut failed = false;
    loop {
        let Some(agent) = inner.upgrade() else { return };
        let period = agent.config.images.period;
        let done = agent.collect().await;
        if let Err(error) = &done {
            tracing::warn!(node = agent.config.node, %error, "cannot make room among the images");
            // Once may be a passing thing, such as a runtime that is not up yet (as upstream).
            if failed {
                agent.warn("ImageGCFailed", error.to_string());
            }
        }
        failed = done.is_err();
        drop(agent);
        clock.sleep(period).await;
    }
}

impl Inner {
    async fn collect(&self) -> Result<()> {
        let limits = &self.config.images;
        let _alone = self.images_go.lock().await;
        let unused = self.unused_images().await?;
        let disk = self.disk(&self.image_folder().await?).await?.bytes;
        if disk.capacity == 0 {
            let message = "invalid capacity 0 on image filesystem";
            self.warn("InvalidDiskCapacity", message.into());
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let Some(surplus) = surplus(disk, limits) else { return Ok(()) };
        tracing::info!(node = self.config.node, surplus, "the images' disk is filled above the high limit");
        let (freed, failed) = self.remove_images(&unused, surplus).await;
        if freed >= surplus {
            return Ok(());
        }
        if let Some(error) = failed {
            let message =
                format!("wanted to free {surplus} bytes, but freed {freed} bytes space with errors in image deletion");
            return Err(Error::new(ErrorKind::Internal, format!("{message}: {error}")).with_source(error));
        }
        let message = format!(
            "Failed to garbage collect required amount of images. Attempted to free {surplus} bytes, but only found \
             {freed} bytes eligible to free."
        );
        self.warn("FreeDiskSpaceFailed", message.clone());
        Err(Error::new(ErrorKind::Full, message))
    }

    /// Removes every image that nothing uses and that is not new, however full the disk is. Says how many bytes they had.
    pub(crate) async fn remove_unused_images(&self) -> Result<u64> {
        let _alone = self.images_go.lock().await;
        let unused = self.unused_images().await?;
        match self.remove_images(&unused, u64::MAX).await {
            (0, Some(error)) => Err(error),
            (freed, _) => Ok(freed),
        }
    }

    /// The images that may go, those first that were not used for longest.
    async fn unused_images(&self) -> Result<Vec<Image>> {
        let images = self.needs.images.images().await?;
        let containers = self.needs.runtime.containers(&ContainerFilter::default()).await?;
        let (used, now) = (used(&images, &containers), self.needs.clock.now());
        let mut records = self.images.lock();
        records.note(&images, &used, now);
        Ok(records.unused(&images, &used, &self.config.images, now).into_iter().cloned().collect())
    }

    /// Removes images until so many bytes are freed. Says how many were, and what last went wrong.
    async fn remove_images(&self, unused: &[Image], surplus: u64) -> (u64, Option<Error>) {
        let (mut freed, mut failed) = (0, None);
        for image in unused {
            if freed >= surplus {
                break;
            }
            match self.needs.images.remove_image(&ImageRef::from(&image.id)).await {
                Ok(()) => {
                    tracing::info!(node = self.config.node, image = %image.id, size = image.size, "removed an image");
                    freed += image.size;
                }
                Err(error) => failed = Some(error),
            }
        }
        (freed, failed)
    }

    /// Where the images are.
    pub(crate) async fn image_folder(&self) -> Result<PathBuf> {
        let all = self.needs.images.filesystems().await?;
        let named = all.into_iter().map(|one| one.mountpoint).find(|mountpoint| !mountpoint.is_empty());
        // A runtime that does not say where its images are most likely has them beside everything else.
        Ok(named.map_or_else(|| self.config.data_dir.clone(), PathBuf::from))
    }

    /// What is left of the disk that a path is on.
    pub(crate) async fn disk(&self, path: &Path) -> Result<DiskLevel> {
        let (gauge, place) = (Arc::clone(&self.config.gauge), path.to_owned());
        let look = self.needs.spawn.run_blocking("node.disk", move || gauge.disk(&place)).await;
        look.unwrap_or_else(|| Err(std::io::ErrorKind::Interrupted.into())).map_err(|error| {
            let message = format!("cannot look at the disk below {}", path.display());
            Error::new(ErrorKind::Internal, message).with_source(error)
        })
    }

    fn warn(&self, reason: &str, message: String) {
        self.tell_of_node("Warning", reason, message);
    }
}
