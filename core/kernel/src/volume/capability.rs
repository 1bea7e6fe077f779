//! What is asked of a volume: how it is reached, by whom, how large it is, and where.

use std::collections::BTreeMap;

/// One way to use a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeCapability {
    /// As what it is seen.
    pub access: Access,
    /// By how many, and whether they write.
    pub mode: AccessMode,
}

/// As what a volume is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A block device.
    Block,
    /// A mounted folder.
    Mount {
        /// The file system; empty for the driver's choice.
        fs_type: String,
        /// Options of the mount. They may be secret.
        flags: Vec<String>,
        /// The group that is to own the files, as a number in decimal; empty for none (`VOLUME_MOUNT_GROUP`).
        group: String,
    },
}

impl Access {
    /// A folder, as the driver likes it.
    #[must_use]
    pub fn folder() -> Self {
        Self::Mount { fs_type: String::new(), flags: Vec::new(), group: String::new() }
    }
}

/// Who may use a volume at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessMode {
    /// One node, to read and write.
    SingleNodeWriter,
    /// One node, to read.
    SingleNodeReaderOnly,
    /// Many nodes, to read.
    MultiNodeReaderOnly,
    /// Many nodes, of which one writes.
    MultiNodeSingleWriter,
    /// Many nodes, to read and write.
    MultiNodeMultiWriter,
    /// One node, and there one workload (`ReadWriteOncePod`).
    SingleNodeSingleWriter,
    /// One node, and there many workloads.
    SingleNodeMultiWriter,
}

impl AccessMode {
    /// Every mode, in the order of the specification.
    pub const ALL: [Self; 7] = [
        Self::SingleNodeWriter,
        Self::SingleNodeReaderOnly,
        Self::MultiNodeReaderOnly,
        Self::MultiNodeSingleWriter,
        Self::MultiNodeMultiWriter,
        Self::SingleNodeSingleWriter,
        Self::SingleNodeMultiWriter,
    ];

    /// The mode that claims and volumes call so (PersistentVolumeAccessMode), for a driver that tells one writer of a node from
    /// many, or not; `None` where none is called so.
    #[must_use]
    pub fn named(word: &str, writers: bool) -> Option<Self> {
        Some(match (word, writers) {
            ("ReadWriteOnce", true) => Self::SingleNodeMultiWriter,
            ("ReadWriteOncePod", true) => Self::SingleNodeSingleWriter,
            ("ReadWriteOnce" | "ReadWriteOncePod", false) => Self::SingleNodeWriter,
            ("ReadOnlyMany", _) => Self::MultiNodeReaderOnly,
            ("ReadWriteMany", _) => Self::MultiNodeMultiWriter,
            _ => return None,
        })
    }

    /// Whether more than one node may have the volume.
    #[must_use]
    pub fn many_nodes(self) -> bool {
        matches!(self, Self::MultiNodeReaderOnly | Self::MultiNodeSingleWriter | Self::MultiNodeMultiWriter)
    }
}

/// A size that is asked for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityRange {
    /// At least so many; `None` for the driver's choice. Not zero.
    pub required: Option<u64>,
    /// At most so many; `None` for no limit. Not zero.
    pub limit: Option<u64>,
}

impl CapacityRange {
    /// At least so many bytes.
    #[must_use]
    pub fn at_least(bytes: u64) -> Self {
        Self { required: Some(bytes), limit: None }
    }

    /// Whether a size is in the range.
    #[must_use]
    pub fn contains(self, bytes: u64) -> bool {
        self.required.is_none_or(|required| required <= bytes) && self.limit.is_none_or(|limit| bytes <= limit)
    }
}

/// A place: what is true of it, such as a zone. Keys have the form of label keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topology(pub BTreeMap<String, String>);

/// Where a volume is to be reached from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologyRequirement {
    /// It is reached from at least one of these, where there are any.
    pub requisite: Vec<Topology>,
    /// The first of these that can be is preferred. Each is also among the requisite ones, where there are any.
    pub preferred: Vec<Topology>,
}
