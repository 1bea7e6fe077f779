//! The file that upstream's scheduler is configured by: `KubeSchedulerConfiguration`, read into a [`Config`].
//!
//! What is said in it and cannot be done is refused, with its place. It reads text and opens no files.

mod args;
mod build;
mod known;
mod points;

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use windlass_api::manifests;
use windlass_kernel::{Error, ErrorKind, Result};

use self::{
    args::Args,
    points::{Plugins, Resolved},
};
use crate::{
    host::Config,
    profile::{DEFAULT_NAME, Profile},
    queue::Patience,
};

const VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Document {
    api_version: String,
    kind: String,
    parallelism: Option<i32>,
    percentage_of_nodes_to_score: Option<i32>,
    pod_initial_backoff_seconds: Option<i64>,
    pod_max_backoff_seconds: Option<i64>,
    profiles: Vec<ProfileText>,
    extenders: Vec<Value>,
    // What follows is about a process of its own, and of no consequence where there is none.
    leader_election: Option<LeaderElection>,
    client_connection: Option<ClientConnection>,
    enable_profiling: Option<bool>,
    enable_contention_profiling: Option<bool>,
    delay_cache_until_active: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LeaderElection {
    leader_elect: Option<bool>,
    lease_duration: Option<String>,
    renew_deadline: Option<String>,
    retry_period: Option<String>,
    resource_lock: Option<String>,
    resource_name: Option<String>,
    resource_namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClientConnection {
    kubeconfig: Option<String>,
    accept_content_types: Option<String>,
    content_type: Option<String>,
    qps: Option<f64>,
    burst: Option<i32>,
}

/// One profile.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ProfileText {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<i32>,
    plugins: Plugins,
    plugin_config: Vec<PluginConfig>,
}

/// The arguments of a plugin.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PluginConfig {
    name: String,
    #[serde(default)]
    args: Value,
}

/// Something that is wrong in a file, and where.
fn wrong(place: &str, message: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Invalid, format!("{place}: {}", message.as_ref()))
}

/// Something that is right in a file and cannot be done here.
fn unsupported(place: &str, message: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::NotSupported, format!("{place}: {}", message.as_ref()))
}

/// Reads a tree; what is wrong is named with its place below `place`.
fn read<T: DeserializeOwned>(tree: Value, place: &str) -> Result<T> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let (inside, said) = (error.path().to_string(), error.inner().to_string());
        match (place, inside.as_str()) {
            (place, ".") => wrong(if place.is_empty() { "the file" } else { place }, said),
            ("", inside) => wrong(inside, said),
            (place, inside) => wrong(&format!("{place}.{inside}"), said),
        }
    })
}

/// A field that is null is as one that is not there.
fn without_nulls(tree: Value) -> Value {
    match tree {
        Value::Object(fields) => {
            let said = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(said.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn in_range(place: &str, number: i64, least: i64, most: i64) -> Result<()> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    let range = if most == i64::MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
    Err(wrong(place, format!("{number} is not {range}")))
}

impl Config {
    /// Reads a `KubeSchedulerConfiguration` (`kubescheduler.config.k8s.io/v1`), as YAML or JSON.
    ///
    /// What it says about a process of its own (`leaderElection`, `clientConnection`, profiling, `parallelism`) is
    /// checked and of no consequence here.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it says something that cannot be meant,
    /// [`NotSupported`](ErrorKind::NotSupported) where it asks for what is not there, such as extenders. Both name the
    /// place, as `profiles[0].plugins.score.enabled[1].name`.
    pub fn read(text: &str) -> Result<Self> {
        let said = |error| Error::new(ErrorKind::Invalid, format!("it is not YAML: {error}"));
        let mut documents = manifests::documents(text).map_err(said)?;
        match (documents.pop(), documents.is_empty()) {
            (Some(document), true) => Self::of(without_nulls(document.value)),
            _ => Err(Error::new(ErrorKind::Invalid, format!("it has to hold one document, a {KIND}"))),
        }
    }

    fn of(tree: Value) -> Result<Self> {
        for (field, expect) in [("apiVersion", VERSION), ("kind", KIND)] {
            if tree[field] != expect {
                let found = if tree[field].is_null() { "nothing".into() } else { tree[field].to_string() };
                return Err(wrong(field, format!("it is {found}, and has to be {expect:?}")));
            }
        }
        let document: Document = read(tree, "")?;
        if !document.extenders.is_empty() {
            let cure = "extenders over HTTP are not supported: leave them out, or write the plugin in Rust";
            return Err(unsupported("extenders", cure));
        }
        in_range("parallelism", document.parallelism.unwrap_or(16).into(), 1, i64::MAX)?;
        let patience = document.patience()?;
        percentage("percentageOfNodesToScore", document.percentage_of_nodes_to_score)?;
        let (common, mut profiles) = (document.percentage_of_nodes_to_score, Vec::new());
        let mut texts = document.profiles;
        if texts.is_empty() {
            texts.push(ProfileText::default());
        }
        let alone = texts.len() == 1;
        for (at, text) in texts.into_iter().enumerate() {
            let place = format!("profiles[{at}]");
            let profile = text.profile(&place, alone, common)?;
            if profiles.iter().any(|other: &Profile| other.name == profile.name) {
                let message = format!("two profiles are named {:?}: name one otherwise", &*profile.name);
                return Err(wrong(&format!("{place}.schedulerName"), message));
            }
            profiles.push(profile);
        }
        Ok(Self { profiles, patience, ..Self::default() })
    }
}

/// `0` leaves it to the number of nodes.
fn percentage(place: &str, said: Option<i32>) -> Result<Option<usize>> {
    let said = said.unwrap_or_default();
    in_range(place, said.into(), 0, 100)?;
    Ok(usize::try_from(said).ok().filter(|percentage| *percentage > 0))
}

impl Document {
    fn patience(&self) -> Result<Patience> {
        let usual = Patience::default();
        let seconds = |place: &str, said: Option<i64>, usual: Duration| {
            let Some(said) = said else { return Ok(usual) };
            in_range(place, said, 1, i64::MAX)?;
            Ok(Duration::from_secs(said.unsigned_abs()))
        };
        let first = seconds("podInitialBackoffSeconds", self.pod_initial_backoff_seconds, usual.first)?;
        let last = seconds("podMaxBackoffSeconds", self.pod_max_backoff_seconds, usual.last)?;
        if first > last {
            let message = format!("{} is less than podInitialBackoffSeconds ({})", last.as_secs(), first.as_secs());
            return Err(wrong("podMaxBackoffSeconds", message));
        }
        Ok(Patience { first, last, ..usual })
    }
}

impl ProfileText {
    fn profile(self, place: &str, alone: bool, common: Option<i32>) -> Result<Profile> {
        let name = match self.scheduler_name {
            Some(name) if !name.is_empty() => name,
            None if alone => DEFAULT_NAME.into(),
            _ => return Err(wrong(&format!("{place}.schedulerName"), "a profile needs a name that pods ask for")),
        };
        let own = percentage(&format!("{place}.percentageOfNodesToScore"), self.percentage_of_nodes_to_score)?;
        // Zero in the profile overrides what is said for all.
        let sample = match self.percentage_of_nodes_to_score {
            Some(_) => own,
            None => percentage("percentageOfNodesToScore", common)?,
        };
        let args = Args::of(self.plugin_config, &format!("{place}.pluginConfig"))?;
        let plugins = Resolved::of(&self.plugins, &format!("{place}.plugins"))?;
        Ok(build::profile(&name, &plugins, &args, sample))
    }
}

#[cfg(test)]
mod tests;
