//! Images on a node.

use std::{collections::BTreeMap, fmt, fmt::Debug};

use async_trait::async_trait;

use super::{FsUsage, ImageId, ImageRef, Info, User};
use crate::error::Result;

/// An image in a runtime's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its names with a tag.
    pub tags: Vec<String>,
    /// Its names with a digest.
    pub digests: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Who its processes run as, where it says.
    pub user: Option<User>,
    /// Whether the runtime asks that it is never removed to make room.
    pub pinned: bool,
}

/// A secret that a registry asks for. Never shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// A user's name.
    pub username: String,
    /// With the password.
    pub password: String,
    /// Both in base64, as `username:password`, in place of the two.
    pub basic: String,
    /// The registry that the secret is for.
    pub server: String,
    /// A token to get a registry token with.
    pub identity_token: String,
    /// A token to send as it is.
    pub registry_token: String,
}

impl Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Which image to pull, and how.
#[derive(Clone, Debug, Default)]
pub struct Pull {
    /// The image.
    pub image: ImageRef,
    /// A secret for the registry.
    pub auth: Option<RegistryAuth>,
    /// Annotations of the pod it is for.
    pub annotations: BTreeMap<String, String>,
    /// The runtime handler it is for; empty for the default one.
    pub handler: String,
}

/// The images on a node.
///
/// # Contract
///
/// 1. **Absent is a value.** [`image`](ImageStore::image) of an image that is not there is `None`.
/// 2. **One image, many names.** Every name of an image, its id among them, finds the same [`Image`].
/// 3. **Gone is success.** Removing an image that is not there succeeds.
/// 4. **Pull leaves the image there.** After it succeeded the image is found by the name that was pulled, and the
///    answer names it too. Pulling again succeeds. After it failed, nothing that was there is gone.
/// 5. **Space is told.** [`filesystems`](ImageStore::filesystems) names at least one file system.
/// 6. **Info is extra.** [`image_info`](ImageStore::image_info) of an image that is there is answered, if only with nothing; of
///    one that is not it is empty.
///
/// `windlass_conformance::runtime::images` checks them.
#[async_trait]
pub trait ImageStore: Debug + Send + Sync + 'static {
    /// Finds an image by any of its names.
    async fn image(&self, image: &ImageRef) -> Result<Option<Image>>;

    /// All images.
    async fn images(&self) -> Result<Vec<Image>>;

    /// Gets an image from its registry and returns a name that stays with it: its id or a name with a digest.
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the registry does not have it. Dropping the future abandons the pull.
    async fn pull(&self, pull: &Pull) -> Result<ImageRef>;

    /// Removes an image with all of its names. Containers that run from it go on.
    async fn remove_image(&self, image: &ImageRef) -> Result<()>;

    /// The file systems that hold images, with what the images use.
    async fn filesystems(&self) -> Result<Vec<FsUsage>>;

    /// What is said of an image beyond what it is. By default that is nothing.
    async fn image_info(&self, _: &ImageRef) -> Result<Info> {
        Ok(Info::new())
    }
}
