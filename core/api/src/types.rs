//! What the typed structs share: the [`Resource`] trait, lists, and the value types that are written by hand.
//!
//! The structs themselves are generated, one module per group and version.

mod lists;
mod time;
mod values;

use crate::meta::v1::{ListMeta, ObjectMeta};
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::Debug;

pub(crate) use self::lists::null_as_empty;
pub(crate) use self::time::parse as parse_time;
pub use self::time::{MicroTime, Time};
pub use self::values::{ByteString, FieldsV1, IntOrString, Quantity};

/// A typed object that is served as a resource.
pub trait Resource: Serialize + DeserializeOwned + Clone + Debug + Default + Send + Sync + 'static {
    /// The group; empty for core.
    const GROUP: &'static str;
    /// The version.
    const VERSION: &'static str;
    /// The kind.
    const KIND: &'static str;
    /// The name in paths.
    const PLURAL: &'static str;
    /// Whether objects live in namespaces.
    const NAMESPACED: bool;

    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// The object's metadata, to change.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;

    /// The group and version as objects carry them: `v1`, `apps/v1`.
    #[must_use]
    fn api_version() -> String {
        if Self::GROUP.is_empty() { Self::VERSION.to_owned() } else { format!("{}/{}", Self::GROUP, Self::VERSION) }
    }
}

/// A list of objects of one kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, bound = "T: Resource")]
pub struct List<T> {
    /// The list's own metadata: its resource version and where it continues.
    pub metadata: ListMeta,
    /// The objects.
    #[serde(deserialize_with = "null_as_empty")]
    pub items: Vec<T>,
}

impl<T: Resource> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("List", 4)?;
        object.serialize_field("apiVersion", &T::api_version())?;
        object.serialize_field("kind", &format!("{}List", T::KIND))?;
        object.serialize_field("metadata", &self.metadata)?;
        object.serialize_field("items", &self.items)?;
        object.end()
    }
}

/// Whether a value is its type's default.
#[allow(dead_code, reason = "not every group has such a field")]
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(all(test, feature = "core"))]
mod tests {
    use crate::core::v1::{Container, Pod, PodList, PodSpec};
    use crate::meta::v1::ObjectMeta;
    use serde_json::json;

    #[test]
    fn a_pod_is_written_with_its_kind_and_read_back() {
        let pod = Pod {
            metadata: ObjectMeta { name: Some("a".into()), ..Default::default() },
            spec: PodSpec {
                containers: vec![Container { name: "c".into(), ..Default::default() }],
                ..Default::default()
            },
            ..Default::default()
        };
        let value = serde_json::to_value(&pod).unwrap();
        let expect = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c", "resources": {}}]}, "status": {}});
        assert_eq!(value, expect);
        assert_eq!(serde_json::from_value::<Pod>(value).unwrap(), pod);
    }

    #[test]
    fn null_lists_are_empty_and_unknown_fields_are_ignored() {
        let list: PodList = serde_json::from_value(json!({"kind": "PodList", "items": null, "more": 1})).unwrap();
        assert_eq!(serde_json::to_value(&list).unwrap()["kind"], "PodList");
        assert!(list.items.is_empty());
    }
}
