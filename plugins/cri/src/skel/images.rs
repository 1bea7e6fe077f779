//! The image service.

use tonic::{Request, Response, Status, async_trait};
use windlass_kernel::runtime::Info;

use super::{Served, answer};
use crate::wire::{self, image_service_server::ImageService, wire as cri};

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl ImageService for Served {
    async fn list_images(&self, request: Request<cri::ListImagesRequest>) -> Answer<cri::ListImagesResponse> {
        answer("ListImages", async {
            let named = request.into_inner().filter.and_then(|filter| filter.image).map(|image| image.image);
            let found = match named.filter(|name| !name.is_empty()) {
                Some(name) => self.plugin.images.image(&name.into()).await?.into_iter().collect(),
                None => self.plugin.images.images().await?,
            };
            Ok(cri::ListImagesResponse { images: found.into_iter().map(wire::image_to_wire).collect() })
        })
        .await
    }

    async fn image_status(&self, request: Request<cri::ImageStatusRequest>) -> Answer<cri::ImageStatusResponse> {
        answer("ImageStatus", async {
            let request = request.into_inner();
            let wanted = wire::image_from_wire(request.image)?;
            let image = self.plugin.images.image(&wanted).await?;
            let info = match request.verbose && image.is_some() {
                true => self.plugin.images.image_info(&wanted).await?,
                false => Info::new(),
            };
            // One that is not there is no error.
            Ok(cri::ImageStatusResponse { image: image.map(wire::image_to_wire), info })
        })
        .await
    }

    async fn pull_image(&self, request: Request<cri::PullImageRequest>) -> Answer<cri::PullImageResponse> {
        answer("PullImage", async {
            let pulled = self.plugin.images.pull(&wire::pull_from_wire(request.into_inner())?).await?;
            Ok(cri::PullImageResponse { image_ref: pulled.to_string() })
        })
        .await
    }

    async fn remove_image(&self, request: Request<cri::RemoveImageRequest>) -> Answer<cri::RemoveImageResponse> {
        answer("RemoveImage", async {
            self.plugin.images.remove_image(&wire::image_from_wire(request.into_inner().image)?).await?;
            Ok(cri::RemoveImageResponse {})
        })
        .await
    }

    async fn image_fs_info(&self, _: Request<cri::ImageFsInfoRequest>) -> Answer<cri::ImageFsInfoResponse> {
        answer("ImageFsInfo", async {
            let found = self.plugin.images.filesystems().await?;
            Ok(cri::ImageFsInfoResponse {
                image_filesystems: found.into_iter().map(wire::filesystem_to_wire).collect(),
                container_filesystems: Vec::new(),
            })
        })
        .await
    }
}
