//! Versions of the specification, and how two sides agree on one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A version of the specification that this crate speaks, older ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.0: chains of plugins, results with interfaces.
    V0_3_0,
    /// 0.3.1: the same, with a typing error mended.
    V0_3_1,
    /// 0.4.0: CHECK, and the previous result on DEL.
    V0_4_0,
    /// 1.0.0: addresses no longer say which version of IP they are.
    V1_0_0,
    /// 1.1.0: GC, STATUS, and more fields in results.
    V1_1_0,
}

/// All of them, older ones first.
pub const SUPPORTED: [Version; 5] =
    [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

impl Version {
    /// As it is written in `cniVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The newest that is among `offered`; `None` if there is none.
    pub fn newest<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        offered.into_iter().filter_map(|text| text.parse().ok()).max()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        SUPPORTED.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let known = SUPPORTED.map(Version::as_str).join(", ");
            format!("version {text:?} of the CNI specification is not among {known}")
        })
    }
}

/// The answer to VERSION.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VersionInfo {
    /// The version that this answer is written in.
    pub cni_version: String,
    /// All versions that the plugin speaks.
    pub supported_versions: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_chosen() {
        assert_eq!(Version::newest(["0.4.0", "1.0.0", "7.0.0", "0.3.1"]), Some(Version::V1_0_0));
        assert_eq!(Version::newest(["0.1.0", "2.0.0"]), None);
        for version in SUPPORTED {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
    }
}
