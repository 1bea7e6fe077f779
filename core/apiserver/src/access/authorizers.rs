//! Authorizers that are made of others.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_kernel::{
    Authorizer, Identity, Result,
    access::{Attributes, Decision},
};

/// Asks several authorizers in turn; the first that allows or denies wins.
#[derive(Clone, Debug, Default)]
pub struct InTurn(Vec<Arc<dyn Authorizer>>);

impl InTurn {
    /// Nobody is asked yet, so nothing is allowed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an authorizer, to be asked after the others.
    #[must_use]
    pub fn then(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.0.push(authorizer);
        self
    }
}

#[async_trait]
impl Authorizer for InTurn {
    async fn authorize(&self, identity: &Identity, attributes: &Attributes) -> Result<Decision> {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(identity, attributes).await? {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return Ok(decided),
            }
        }
        Ok(Decision::NoOpinion(reasons.join(", ")))
    }
}
