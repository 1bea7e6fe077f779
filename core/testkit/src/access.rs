//! Access for tests that are not about access.

use async_trait::async_trait;
use windlass_kernel::{
    Authorizer, Identity, Result,
    access::{Attributes, Decision},
};

/// Lets everyone do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

#[async_trait]
impl Authorizer for Everyone {
    async fn authorize(&self, _: &Identity, _: &Attributes) -> Result<Decision> {
        Ok(Decision::Allow("everyone may".into()))
    }
}
