//! `ImageStore` over CRI's image service.

use async_trait::async_trait;
use windlass_kernel::{
    ImageStore, Result,
    runtime::{FsUsage, Image, ImageRef, Info, Pull},
};

use super::RemoteRuntime;
use crate::wire::{self, error_from_wire, wire as cri};

#[async_trait]
impl ImageStore for RemoteRuntime {
    async fn image(&self, image: &ImageRef) -> Result<Option<Image>> {
        let request = cri::ImageStatusRequest { image: wire::image_named(image), verbose: false };
        let answer = self.image_client().image_status(request).await;
        let answer = super::unless_gone(answer.map_err(|status| error_from_wire("look for an image", status)))?;
        Ok(answer.and_then(|answer| answer.into_inner().image).map(wire::image))
    }

    async fn images(&self) -> Result<Vec<Image>> {
        let answer = self.image_client().list_images(cri::ListImagesRequest { filter: None }).await;
        let answer = answer.map_err(|status| error_from_wire("list images", status))?.into_inner();
        Ok(answer.images.into_iter().map(wire::image).collect())
    }

    async fn pull(&self, pull: &Pull) -> Result<ImageRef> {
        let answer = self.image_client().pull_image(wire::pull(pull)).await;
        let what = || format!("pull image {}", pull.image);
        Ok(answer.map_err(|status| error_from_wire(&what(), status))?.into_inner().image_ref.into())
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        let request = cri::RemoveImageRequest { image: wire::image_named(image) };
        let answer = self.image_client().remove_image(request).await;
        super::unless_gone(answer.map_err(|status| error_from_wire("remove an image", status))).map(drop)
    }

    async fn filesystems(&self) -> Result<Vec<FsUsage>> {
        let answer = self.image_client().image_fs_info(cri::ImageFsInfoRequest {}).await;
        let answer = answer.map_err(|status| error_from_wire("ask for the images' file systems", status))?;
        Ok(answer.into_inner().image_filesystems.into_iter().map(wire::filesystem).collect())
    }
    async fn image_info(&self, image: &ImageRef) -> Result<Info> {
        let request = cri::ImageStatusRequest { image: wire::image_named(image), verbose: true };
        let answer = self.image_client().image_status(request).await;
        let answer = super::unless_gone(answer.map_err(|status| error_from_wire("ask what an image is", status)))?;
        Ok(answer.map(|answer| answer.into_inner().info).unwrap_or_default())
    }
}
