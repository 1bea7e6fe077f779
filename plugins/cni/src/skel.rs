//! A CNI plugin binary from any `PodNetwork`, in one line of `main`.
//!
//! Here are the protocol's manners: which variables must be there, which versions are spoken, how errors are printed. What
//! a network does is the implementation's business.
//!
//! ```no_run
//! use windlass_cni::{bridge::Bridge, skel};
//!
//! fn main() -> std::process::ExitCode {
//!     skel::main(|setup| Bridge::new(&setup))
//! }
//! ```

mod answer;
mod request;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use futures::{executor::block_on, future::BoxFuture};
use serde_json::Value;
use windlass_kernel::{
    Error, ErrorKind, PodNetwork, Result, Spawn,
    network::{Attached, Attachment, AttachmentKey},
};

pub use self::answer::{Answer, answer};
use crate::{
    exec::{self, Job, Leash},
    wire::{self, AddResult, CniError, PluginConfig, Version},
};

/// What a plugin is told beside the attachment.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The configuration as it came, with the plugin's own fields in `own`.
    pub config: PluginConfig,
    /// The version that is spoken.
    pub version: Version,
    /// The result of the plugins before this one in the chain, or for CHECK and DEL of the whole chain.
    ///
    /// A plugin that stands behind others answers ADD with this and what it adds.
    pub previous: Option<Attached>,
    /// Where other plugins are, for delegation (`CNI_PATH`).
    pub plugin_dirs: Vec<PathBuf>,
    /// Runs work: in this process, to its end.
    pub spawn: Arc<dyn Spawn>,
    input: Value,
}

impl Setup {
    /// A network's configuration, for a plugin that is used as a library: with nothing before it, and the usual folders of
    /// other plugins.
    ///
    /// # Errors
    ///
    /// [`NotSupported`](ErrorKind::NotSupported) where the version is not spoken.
    pub fn of(config: PluginConfig, spawn: Arc<dyn Spawn>) -> Result<Self> {
        let version = config.cni_version.parse().map_err(|why: String| Error::new(ErrorKind::NotSupported, why))?;
        let input = serde_json::to_value(&config).unwrap_or_default();
        let plugin_dirs = vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()];
        Ok(Self { config, version, previous: None, plugin_dirs, spawn, input })
    }

    /// The plugin's own fields, as a type of its own.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid), naming the field.
    pub fn own<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let own = serde_json::to_value(&self.config.own).unwrap_or_default();
        serde_json::from_value(own).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the network configuration is wrong: {error}")).with_source(error)
        })
    }

    /// The same, for a GC that is handed on.
    #[must_use]
    pub fn with_valid(&self, valid: &[AttachmentKey]) -> Self {
        let mut setup = self.clone();
        setup.input["cni.dev/valid-attachments"] = serde_json::json!(wire::keys_to_wire(valid));
        setup
    }

    /// Hands a verb on to another plugin, with the same configuration, and returns the result of ADD.
    ///
    /// So an interface plugin has an IPAM plugin assign addresses ("Plugin Delegation"). Blocks until it has ended. Where
    /// the version has no such verb, nothing is done.
    ///
    /// # Errors
    ///
    /// What the plugin says, or that it is not there.
    pub fn delegate(
        &self,
        plugin: &str,
        verb: &'static str,
        attachment: Option<&Attachment>,
    ) -> Result<Option<Attached>> {
        let since = match verb {
            "GC" | "STATUS" => Version::V1_1_0,
            "CHECK" => Version::V0_4_0,
            _ => Version::V0_3_0,
        };
        if self.version < since {
            return Ok(None);
        }
        let program = exec::find(plugin, &self.plugin_dirs).ok_or_else(|| {
            let message = format!("there is no plugin {plugin:?} in CNI_PATH to delegate to");
            Error::new(ErrorKind::Unavailable, message)
        })?;
        let environment = exec::words(verb, attachment, &self.plugin_dirs)?;
        let input = serde_json::to_vec(&self.input).unwrap_or_default();
        let done = exec::run(&Job { program, environment, input }, &Leash::default());
        let done = done.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("cannot run plugin {plugin:?}")).with_source(error)
        })?;
        let what = format!("delegate {verb} to plugin {plugin:?}");
        if !done.status.success() {
            let said = serde_json::from_slice::<CniError>(&done.output).unwrap_or_else(|_| {
                let said = exec::excerpt(if done.output.is_empty() { &done.errors } else { &done.output });
                CniError::new(wire::code::OTHER, format!("it ended with {} and said {said}", done.status))
            });
            return Err(wire::error_from_wire(&what, said));
        }
        if verb != "ADD" {
            return Ok(None);
        }
        let read = serde_json::from_slice(&done.output).map_err(|error| error.to_string());
        let result = read.and_then(|json| AddResult::read(&json, self.version));
        let garbled = |why| Error::new(ErrorKind::Internal, format!("cannot {what}: its answer cannot be read: {why}"));
        result.map(|result| Some(wire::attached_from_wire(&result))).map_err(garbled)
    }
}

/// A plugin's `main`: reads the call, has the network that `build` makes carry it out, and prints the answer.
///
/// `build` is called once, for every verb but VERSION.
pub fn main<N: PodNetwork>(build: impl FnOnce(Setup) -> Result<N>) -> ExitCode {
    let words: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with("CNI_"))
        .collect();
    if words.is_empty() && io::stdin().is_terminal() {
        eprintln!("This is a CNI plugin: a container runtime runs it, with CNI_COMMAND and others in its environment.");
        return ExitCode::FAILURE;
    }
    let mut input = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut input) {
        let said = CniError::new(wire::code::IO, format!("cannot read the standard input: {error}"));
        return finish(&Answer::refusal(said, ""));
    }
    finish(&block_on(answer(&words, &input, Arc::new(Inline), build)))
}

fn finish(answer: &Answer) -> ExitCode {
    let mut output = io::stdout().lock();
    if output.write_all(answer.output.as_bytes()).and_then(|()| output.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::from(answer.code)
}

/// Runs everything inline: a plugin's process has one thing to do.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Spawn for Inline {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        block_on(task);
    }

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}
