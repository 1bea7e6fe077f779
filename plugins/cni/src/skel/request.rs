//! What a call says, read with the strictness that the specification asks for.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Map, Value};
use windlass_kernel::network::{Attachment, AttachmentKey};

use crate::wire::{self, CniError, PluginConfig, SUPPORTED, Version, code};

/// The verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Del,
    Check,
    Gc,
    Status,
}

impl Verb {
    pub(super) fn read(word: &str) -> Result<Self, CniError> {
        Ok(match word {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "" => return Err(CniError::new(code::INVALID_ENVIRONMENT, "CNI_COMMAND is not set")),
            other => {
                let said = format!("CNI_COMMAND is {other:?}: ADD, DEL, CHECK, GC, STATUS and VERSION are known");
                return Err(CniError::new(code::INVALID_ENVIRONMENT, said));
            }
        })
    }

    /// The version that brought it.
    fn since(self) -> Version {
        match self {
            Self::Add | Self::Del => Version::V0_3_0,
            Self::Check => Version::V0_4_0,
            Self::Gc | Self::Status => Version::V1_1_0,
        }
    }

    fn needed(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc | Self::Status => &[],
        }
    }
}

/// The configuration and its version.
pub(super) fn config(verb: Verb, input: &[u8]) -> Result<(PluginConfig, Version), CniError> {
    // An object first: a list would be taken for the fields in their order.
    let object = serde_json::from_slice::<Map<String, Value>>(input);
    let config = object.and_then(|object| serde_json::from_value::<PluginConfig>(object.into()));
    let config = config.map_err(|error| {
        CniError::new(code::DECODING, "the network configuration cannot be read").with_details(error.to_string())
    })?;
    let refuse = |why: String| CniError::new(code::INCOMPATIBLE_VERSION, "incompatible CNI version").with_details(why);
    let version: Version = config.cni_version.parse().map_err(refuse)?;
    if version < verb.since() {
        return Err(refuse(format!("{verb:?} needs version {} or later, and this is {version}", verb.since())));
    }
    if config.name.is_empty() {
        return Err(CniError::new(code::INVALID_CONFIG, "the network configuration has no name"));
    }
    if verb == Verb::Check && config.prev_result.is_none() {
        return Err(CniError::new(code::INVALID_CONFIG, "CHECK needs a prevResult"));
    }
    if verb == Verb::Gc && config.valid_attachments.is_none() {
        return Err(CniError::new(code::INVALID_CONFIG, "GC needs cni.dev/valid-attachments"));
    }
    Ok((config, version))
}

/// What is to be attached, or was; `None` for the verbs that name nothing.
pub(super) fn attachment(
    verb: Verb,
    words: &BTreeMap<String, String>,
    config: &PluginConfig,
) -> Result<Option<Attachment>, CniError> {
    if matches!(verb, Verb::Gc | Verb::Status) {
        return Ok(None);
    }
    let word = |name: &str| words.get(name).map(String::as_str).unwrap_or_default();
    let missing: Vec<_> = verb.needed().iter().copied().filter(|name| word(name).is_empty()).collect();
    if !missing.is_empty() {
        let said = format!("{} must be set", missing.join(", "));
        return Err(CniError::new(code::INVALID_ENVIRONMENT, said));
    }
    let environment = |error: &windlass_kernel::Error| CniError::new(code::INVALID_ENVIRONMENT, error.message());
    let key = AttachmentKey::new(word("CNI_CONTAINERID"), word("CNI_IFNAME"));
    key.validate().map_err(|error| environment(&error))?;
    let (pod, arguments) = wire::arguments_from_wire(word("CNI_ARGS")).map_err(|error| environment(&error))?;
    let wishes = wire::wishes_from_wire(&config.runtime_config).map_err(|error| wire::error_to_wire(&error))?;
    let namespace = Some(word("CNI_NETNS")).filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(Some(Attachment { key, namespace, pod, arguments, wishes }))
}

/// The versions, as VERSION lists them.
pub(super) fn versions() -> Vec<String> {
    SUPPORTED.iter().map(ToString::to_string).collect()
}
