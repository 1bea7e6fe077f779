//! What volumes, snapshots and nodes are called by drivers; and words that are never shown.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::text::text;

/// A volume, as its driver calls it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(Arc<str>);

/// A snapshot, as its driver calls it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(Arc<str>);

/// A node, as a driver calls it. It need not be the name that the cluster has for it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

text!(VolumeId, SnapshotId, NodeId);

/// Passwords and the like, by name. Their values are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(pub BTreeMap<String, String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let secrets = Secrets(BTreeMap::from([("password".into(), "hunter2".into())]));
        assert_eq!(format!("{secrets:?}"), r#"{"password"}"#);
    }
}
