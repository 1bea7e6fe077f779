//! Read, change, write: again when others wrote in between, and not at all where nothing changes.

use std::sync::Arc;

use windlass_api::types::Resource;
use windlass_kernel::{ErrorKind, Result};

use crate::client::{Client, tree};

/// How often [`Client::modify`] begins anew when others write in between.
const ATTEMPTS: usize = 8;

impl Client {
    /// Reads an object, changes it, and writes it if that made a difference; again when others wrote in between.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get) and [`update`](Self::update).
    pub async fn modify<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut T) + Send + Sync,
    ) -> Result<Arc<T>> {
        self.modify_part(namespace, name, "", change).await
    }

    /// As [`modify`](Self::modify), for the status.
    ///
    /// # Errors
    ///
    /// Those of [`modify`](Self::modify).
    pub async fn modify_status<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        change: impl Fn(&mut T) + Send + Sync,
    ) -> Result<Arc<T>> {
        self.modify_part(namespace, name, "status", change).await
    }

    async fn modify_part<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        change: impl Fn(&mut T) + Send + Sync,
    ) -> Result<Arc<T>> {
        let mut attempts = 0;
        loop {
            let before: Arc<T> = self.get(namespace, name).await?;
            let mut after = T::clone(&before);
            change(&mut after);
            if tree(&after)? == tree(before.as_ref())? {
                return Ok(before);
            }
            attempts += 1;
            match self.object(self.replacing(&after, subresource)?).await {
                Err(error) if error.is(ErrorKind::Conflict) && attempts < ATTEMPTS => {}
                done => return done,
            }
        }
    }
}
