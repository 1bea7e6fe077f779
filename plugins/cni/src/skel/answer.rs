//! One call from its words to its answer, without a process around it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use windlass_kernel::{PodNetwork, Result, Spawn};

use super::{
    Setup,
    request::{self, Verb},
};
use crate::wire::{self, AddResult, CniError, SUPPORTED, Version, VersionInfo, code};

/// What a plugin prints on its standard output, and how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// JSON, or nothing.
    pub output: String,
    /// The exit code: 0 or 1.
    pub code: u8,
}

impl Answer {
    fn done(output: Option<&Value>) -> Self {
        Self { output: output.map(ToString::to_string).unwrap_or_default(), code: 0 }
    }

    /// An error, written in a version.
    pub(super) fn refusal(mut error: CniError, version: &str) -> Self {
        // Whoever sent a version that we do not speak can read its own at most.
        error.cni_version = if version.is_empty() { newest().to_string() } else { version.to_owned() };
        Self { output: serde_json::to_string_pretty(&error).unwrap_or_default(), code: 1 }
    }
}

fn newest() -> Version {
    SUPPORTED[SUPPORTED.len() - 1]
}

/// Answers one call. `words` is the environment, `input` the standard input.
pub async fn answer<N: PodNetwork>(
    words: &BTreeMap<String, String>,
    input: &[u8],
    spawn: Arc<dyn Spawn>,
    build: impl FnOnce(Setup) -> Result<N>,
) -> Answer {
    let command = words.get("CNI_COMMAND").map(String::as_str).unwrap_or_default();
    if command == "VERSION" {
        return version(input);
    }
    let said = serde_json::from_slice::<Value>(input).unwrap_or_default();
    let said = said["cniVersion"].as_str().unwrap_or_default().to_owned();
    match obey(command, words, input, spawn, build).await {
        Ok(output) => Answer::done(output.as_ref()),
        Err(error) => Answer::refusal(error, &said),
    }
}

fn version(input: &[u8]) -> Answer {
    // The version of the question is that of the answer, where there is one.
    let asked = serde_json::from_slice::<VersionInfo>(input).unwrap_or_default().cni_version;
    let cni_version = asked.parse::<Version>().unwrap_or(newest()).to_string();
    let info = VersionInfo { cni_version, supported_versions: request::versions() };
    Answer::done(serde_json::to_value(info).ok().as_ref())
}

async fn obey<N: PodNetwork>(
    command: &str,
    words: &BTreeMap<String, String>,
    input: &[u8],
    spawn: Arc<dyn Spawn>,
    build: impl FnOnce(Setup) -> Result<N>,
) -> Result<Option<Value>, CniError> {
    let verb = Verb::read(command)?;
    let (config, version) = request::config(verb, input)?;
    let attachment = request::attachment(verb, words, &config)?;
    let previous = match &config.prev_result {
        Some(json) => Some(
            AddResult::read(json, version)
                .map_err(|why| CniError::new(code::INVALID_CONFIG, "prevResult cannot be read").with_details(why))?,
        ),
        None => None,
    };
    let valid = wire::keys_from_wire(config.valid_attachments.as_deref().unwrap_or_default());
    let setup = Setup {
        version,
        previous: previous.as_ref().map(wire::attached_from_wire),
        plugin_dirs: words.get("CNI_PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default(),
        spawn,
        input: serde_json::from_slice(input).unwrap_or_default(),
        config,
    };
    let network = build(setup).map_err(|error| wire::error_to_wire(&error))?;
    let done = match (verb, attachment) {
        (Verb::Add, Some(attachment)) => {
            let attached = network.attach(&attachment).await.map_err(|error| wire::error_to_wire(&error))?;
            return Ok(Some(wire::attached_to_wire(&attached).write(version)));
        }
        (Verb::Del, Some(attachment)) => network.detach(&attachment).await,
        (Verb::Check, Some(attachment)) => network.check(&attachment).await,
        (Verb::Gc, _) => network.collect(&valid).await,
        (Verb::Status, _) => {
            return network.ready().await.map(|()| None).map_err(|error| {
                let said = wire::error_to_wire(&error);
                CniError { code: code::NOT_AVAILABLE, ..said }
            });
        }
        (Verb::Add | Verb::Del | Verb::Check, None) => Ok(()),
    };
    done.map(|()| None).map_err(|error| wire::error_to_wire(&error))
}

#[cfg(test)]
mod tests;
