//! Removes images that nothing uses when the disk fills up. The disk cannot be watched, so it is looked at now and then.

use std::{path::PathBuf, sync::Weak};

use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, SpawnExt,
    node::{About, Notice},
    runtime::{ContainerFilter, ImageRef},
};

use super::records::{Disk, Records, used};
use crate::agent::Inner;

/// Looks after the images until the agent goes.
pub(crate) async fn collect(inner: Weak<Inner>) {
    let Some(clock) = inner.upgrade().map(|inner| inner.needs.clock.clone()) else { return };
    let (mut records, mut failed) = (Records::default(), false);
    loop {
        let Some(agent) = inner.upgrade() else { return };
        let period = agent.config.images.period;
        let done = agent.collect(&mut records).await;
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
    async fn collect(&self, records: &mut Records) -> Result<()> {
        let (store, limits) = (&self.needs.images, &self.config.images);
        let images = store.images().await?;
        let containers = self.needs.runtime.containers(&ContainerFilter::default()).await?;
        let (used, now) = (used(&images, &containers), self.needs.clock.now());
        records.note(&images, &used, now);
        let disk = self.image_disk().await?;
        if disk.capacity == 0 {
            let message = "invalid capacity 0 on image filesystem";
            self.warn("InvalidDiskCapacity", message.into());
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let Some(surplus) = disk.surplus(limits) else { return Ok(()) };
        tracing::info!(node = self.config.node, surplus, "the images' disk is filled above the high limit");
        let (mut freed, mut failed) = (0, None);
        for image in records.unused(&images, &used, limits, now) {
            if freed >= surplus {
                break;
            }
            match store.remove_image(&ImageRef::from(&image.id)).await {
                Ok(()) => {
                    tracing::info!(node = self.config.node, image = %image.id, size = image.size, "removed an image");
                    freed += image.size;
                }
                Err(error) => failed = Some(error),
            }
        }
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

    async fn image_disk(&self) -> Result<Disk> {
        let all = self.needs.images.filesystems().await?;
        let named = all.into_iter().map(|one| one.mountpoint).find(|mountpoint| !mountpoint.is_empty());
        // A runtime that does not say where its images are most likely has them beside everything else.
        let path = named.map_or_else(|| self.config.data_dir.clone(), PathBuf::from);
        let broken = {
            let path = path.clone();
            move |error: std::io::Error| {
                let message = format!("cannot look at the disk below {}", path.display());
                Error::new(ErrorKind::Internal, message).with_source(error)
            }
        };
        let look = self.needs.spawn.run_blocking("node.disk", move || crate::machine::disk(&path)).await;
        look.unwrap_or_else(|| Err(std::io::ErrorKind::Interrupted.into())).map_err(broken)
    }

    fn warn(&self, reason: &str, message: String) {
        self.needs.context.notice(Notice {
            about: About::Node,
            kind: "Warning",
            reason: reason.into(),
            message,
            field_path: String::new(),
        });
    }
}
