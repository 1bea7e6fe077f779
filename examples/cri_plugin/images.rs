//! The images: there is one, which is the machine itself.

use async_trait::async_trait;
use windlass::kernel::{
    Error, ErrorKind, ImageStore, Result,
    runtime::{FsUsage, Image, ImageRef, Pull},
};

use super::runtime::Processes;

/// The name of what containers are made of.
pub(crate) const IMAGE: &str = "example.com/machine:1";
/// And its id.
pub(crate) const ID: &str = "sha256:6d616368696e65";

fn machine() -> Image {
    Image { id: ID.into(), tags: vec![IMAGE.into()], digests: Vec::new(), size: 1, user: None, pinned: true }
}

#[async_trait]
impl ImageStore for Processes {
    async fn image(&self, image: &ImageRef) -> Result<Option<Image>> {
        Ok([IMAGE, ID].contains(&image.as_str()).then(machine))
    }

    async fn images(&self) -> Result<Vec<Image>> {
        Ok(vec![machine()])
    }

    async fn pull(&self, pull: &Pull) -> Result<ImageRef> {
        match self.image(&pull.image).await? {
            Some(_) => Ok(ID.into()),
            None => Err(Error::new(ErrorKind::NotFound, format!("there is no registry that has {}", pull.image))),
        }
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        match self.image(image).await? {
            Some(_) => Err(Error::new(ErrorKind::Conflict, "the machine cannot be removed")),
            None => Ok(()),
        }
    }

    async fn filesystems(&self) -> Result<Vec<FsUsage>> {
        Ok(vec![FsUsage { at: self.clock.now(), mountpoint: "/".into(), bytes: 0, inodes: 0 }])
    }
}
