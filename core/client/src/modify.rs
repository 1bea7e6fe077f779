//! Read, change, write: again when others wrote in between, and not at all where nothing changes.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use windlass_api::{meta::v1::ObjectMeta, types::Resource};
use windlass_kernel::{
    ErrorKind, Result,
    api::{PatchType, Verb},
};

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

    /// Writes what a change of a status comes to, as a merge patch of what was read before; nothing where it comes to
    /// nothing. Cheaper than writing the whole object: only the statuses are compared and sent.
    ///
    /// # Errors
    ///
    /// Those of [`patch_status`](Self::patch_status). A conflict says that the object is not as it was read: of another
    /// uid, or changed since.
    pub async fn write_status<T: Resource>(
        &self,
        read: &ObjectMeta,
        before: &impl Serialize,
        after: &impl Serialize,
    ) -> Result<()> {
        let Some(status) = merge_patch(&tree(before)?, tree(after)?) else { return Ok(()) };
        let patch = json!({
            "metadata": {"uid": read.uid, "resourceVersion": read.resource_version}, "status": status,
        });
        let (namespace, name) = (read.namespace.as_deref().unwrap_or_default(), read.name.as_deref());
        let name = name.unwrap_or_default();
        let request = self.on::<T>(Verb::Patch(PatchType::Merge), namespace).named(name).subresource("status");
        self.call(request.body(patch)).await.map(drop)
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

/// The merge patch (RFC 7396) that makes `after` of `before`; `None` where they are the same. Typed objects have no fields
/// that are null, which a merge patch could not say.
fn merge_patch(before: &Value, after: Value) -> Option<Value> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let mut patch: Map<_, _> = before
                .keys()
                .filter(|name| !after.contains_key(*name))
                .map(|name| (name.clone(), Value::Null))
                .collect();
            for (name, value) in after {
                if let Some(change) = merge_patch(before.get(&name).unwrap_or(&Value::Null), value) {
                    patch.insert(name, change);
                }
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (before, after) => (*before != after).then_some(after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &Value, after: &Value, expect: Option<&Value>) {
        assert_eq!(merge_patch(before, after.clone()).as_ref(), expect, "{before} to {after}");
    }

    #[test]
    fn a_patch_says_what_became_different() {
        let before = json!({"phase": "Pending", "hostIP": "10.0.0.1", "list": [1, 2], "map": {"a": 1, "b": 2}});
        check(&before, &before, None);
        let after = json!({"phase": "Running", "list": [1], "map": {"a": 1, "c": 3}, "new": {"d": {}}});
        let expect = json!({
            "phase": "Running", "hostIP": null, "list": [1], "map": {"b": null, "c": 3}, "new": {"d": {}},
        });
        check(&before, &after, Some(&expect));
    }
}
