//! The names of what a runtime holds. They are opaque: nothing is ever read out of them.

use std::sync::Arc;

use crate::text::text;

/// The id that a runtime gave a sandbox.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId(Arc<str>);

/// The id that a runtime gave a container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<str>);

/// An image as somebody names it: `busybox`, `registry.local/app:1`, `app@sha256:…`, or an [`ImageId`]'s text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef(Arc<str>);

/// The id that a runtime gave an image: the same for all names of one image.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(Arc<str>);

text!(SandboxId, ContainerId, ImageRef, ImageId);

impl From<&ImageId> for ImageRef {
    fn from(id: &ImageId) -> Self {
        Self(Arc::clone(&id.0))
    }
}
