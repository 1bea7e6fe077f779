//! The names of what a runtime holds. They are opaque: nothing is ever read out of them.

use std::{fmt, sync::Arc};

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

macro_rules! text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text!(SandboxId, ContainerId, ImageRef, ImageId);

impl From<&ImageId> for ImageRef {
    fn from(id: &ImageId) -> Self {
        Self(Arc::clone(&id.0))
    }
}
