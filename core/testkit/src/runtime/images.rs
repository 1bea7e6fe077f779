//! The image store of the fake runtime.

use async_trait::async_trait;
use serde_json::json;
use windlass_kernel::{
    Error, ErrorKind, ImageStore, Result,
    runtime::{FsUsage, Image, ImageRef, Info, Pull, RuntimeEvent},
};

use super::FakeRuntime;

#[async_trait]
impl ImageStore for FakeRuntime {
    async fn image(&self, image: &ImageRef) -> Result<Option<Image>> {
        self.pace("image").await?;
        Ok(self.state.lock().find_image(image.as_str()).cloned())
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.pace("images").await?;
        Ok(self.stored_images())
    }

    async fn pull(&self, pull: &Pull) -> Result<ImageRef> {
        self.pace("pull").await?;
        let mut state = self.state.lock();
        let Some(wanted) = state.registry.get(pull.image.as_str()) else {
            return Err(Error::new(ErrorKind::NotFound, format!("no registry has {}", pull.image)));
        };
        let given = pull.auth.as_ref().map(|auth| (&auth.username, &auth.password));
        if wanted.as_ref().is_some_and(|wanted| given != Some((&wanted.username, &wanted.password))) {
            return Err(Error::new(ErrorKind::Unauthorized, format!("the registry refuses to give {}", pull.image)));
        }
        Ok(ImageRef::from(&state.add_image(pull.image.as_str())))
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        self.pace("remove_image").await?;
        let mut state = self.state.lock();
        let id = state.find_image(image.as_str()).map(|image| image.id.clone());
        if let Some(id) = id {
            state.images.remove(&id);
            state.tell(&RuntimeEvent::Images);
        }
        Ok(())
    }

    async fn filesystems(&self) -> Result<Vec<FsUsage>> {
        self.pace("filesystems").await?;
        let bytes = self.state.lock().images.values().map(|image| image.size).sum();
        Ok(vec![FsUsage { at: self.clock.now(), mountpoint: self.state.lock().images_at.clone(), bytes, inodes: 0 }])
    }
    async fn image_info(&self, image: &ImageRef) -> Result<Info> {
        self.pace("image_info").await?;
        let state = self.state.lock();
        let told = state.find_image(image.as_str()).map(|image| json!({ "size": image.size }));
        Ok(told.map(|told| ("info".into(), told.to_string())).into_iter().collect())
    }
}
