//! The verbs over the plugins of one network, each in the order that the specification gives it.

use std::{path::Path, time::Duration};

use futures::future::{Either, select};
use serde_json::{Map, Value, json};
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, SpawnExt,
    network::{Attachment, AttachmentKey},
};

use super::{Exchange, Inner, cache::Note, config::kind};
use crate::{
    exec::{self, Done, Job, Leash},
    wire::{self, AddResult, CniError, NetworkList, Version, VersionInfo},
};

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

pub(super) struct Chain<'a> {
    host: &'a Inner,
    list: NetworkList,
}

/// One run of one plugin.
struct Call<'a> {
    verb: &'static str,
    attachment: Option<&'a Attachment>,
    input: Value,
}

impl<'a> Chain<'a> {
    pub(super) fn new(host: &'a Inner, list: NetworkList) -> Self {
        Self { host, list }
    }

    pub(super) fn name(&self) -> &str {
        &self.list.name
    }

    /// Whether one of the plugins is of this kind.
    pub(super) fn has(&self, wanted: &str) -> bool {
        self.list.plugins.iter().any(|plugin| kind(plugin) == wanted)
    }

    /// The version that all of it is spoken in.
    pub(super) fn version(&self) -> Result<Version> {
        self.list.version().map_err(|why| Error::new(ErrorKind::NotSupported, why))
    }

    pub(super) fn note(&self, attachment: &Attachment, result: Option<&AddResult>) -> Note {
        let version = self.list.version().unwrap_or(Version::V1_1_0);
        let mut note = Note::new(&self.list, attachment, result.map(|result| result.write(version)));
        note.network_name.clone_from(&self.list.name);
        note
    }

    /// ADD, each plugin with the result of the one before.
    pub(super) async fn add(&self, attachment: &Attachment, namespace: &Path) -> Result<AddResult> {
        if !namespace.exists() {
            let message = format!("cannot attach {}: there is no {}", attachment.key, namespace.display());
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let version = self.version()?;
        let mut previous = None;
        for plugin in &self.list.plugins {
            let input = self.input(plugin, version, Some(attachment), previous.as_ref());
            let call = Call { verb: "ADD", attachment: Some(attachment), input };
            let output = self.run(plugin, &call).await?;
            let read = serde_json::from_slice(&output).map_err(|error| error.to_string());
            let result = read.and_then(|json: Value| AddResult::read(&json, version));
            let garbled = |why: String| {
                let message = format!("the answer of plugin {:?} to ADD cannot be read: {why}", kind(plugin));
                Error::new(ErrorKind::Internal, format!("{message}: {}", exec::excerpt(&output))).maybe_applied()
            };
            previous = Some(result.map_err(garbled)?);
        }
        previous.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("network {} has no plugins", self.name())))
    }

    /// DEL, in the opposite order. The first failure ends it: those before are still needed.
    pub(super) async fn del(&self, attachment: &Attachment, result: Option<&AddResult>) -> Result<()> {
        let version = self.version()?;
        let previous = result.filter(|_| version >= Version::V0_4_0);
        for plugin in self.list.plugins.iter().rev() {
            let input = self.input(plugin, version, Some(attachment), previous);
            self.run(plugin, &Call { verb: "DEL", attachment: Some(attachment), input }).await?;
        }
        Ok(())
    }

    pub(super) async fn check(&self, attachment: &Attachment, result: Option<&AddResult>) -> Result<()> {
        let version = self.version()?;
        if self.list.disable_check {
            return Ok(());
        }
        if version < Version::V0_4_0 {
            let message = format!("network {} is of CNI {version}, which has no CHECK", self.name());
            return Err(Error::new(ErrorKind::NotSupported, message));
        }
        for plugin in &self.list.plugins {
            let input = self.input(plugin, version, Some(attachment), result);
            self.run(plugin, &Call { verb: "CHECK", attachment: Some(attachment), input }).await?;
        }
        Ok(())
    }

    /// GC to all, whatever becomes of one: the first failure is told in the end.
    pub(super) async fn gc(&self, valid: &[AttachmentKey]) -> Result<()> {
        let version = self.version()?;
        if version < Version::V1_1_0 || self.list.disable_gc {
            return Ok(());
        }
        let mut done = Ok(());
        for plugin in &self.list.plugins {
            let mut input = self.input(plugin, version, None, None);
            input["cni.dev/valid-attachments"] = json!(wire::keys_to_wire(valid));
            done = done.and(self.run(plugin, &Call { verb: "GC", attachment: None, input }).await.map(drop));
        }
        done
    }

    /// STATUS where the version has it, else whether the plugins are there.
    pub(super) async fn status(&self) -> Result<()> {
        let version = self.version()?;
        for plugin in &self.list.plugins {
            self.program(plugin)?;
            if version < Version::V1_1_0 {
                continue;
            }
            let input = self.input(plugin, version, None, None);
            self.run(plugin, &Call { verb: "STATUS", attachment: None, input }).await?;
        }
        Ok(())
    }

    pub(super) async fn versions(&self) -> Result<Vec<(String, VersionInfo)>> {
        let mut all = Vec::new();
        for plugin in &self.list.plugins {
            let input = json!({ "cniVersion": self.version()?.as_str() });
            let output = self.run(plugin, &Call { verb: "VERSION", attachment: None, input }).await?;
            let info = serde_json::from_slice(&output).map_err(|error| {
                let message = format!("the answer of plugin {:?} to VERSION cannot be read", kind(plugin));
                Error::new(ErrorKind::Internal, message).with_source(error)
            })?;
            all.push((kind(plugin).to_owned(), info));
        }
        Ok(all)
    }

    /// What a plugin is handed ("Deriving execution configuration from plugin configuration").
    fn input(
        &self,
        plugin: &Map<String, Value>,
        version: Version,
        attachment: Option<&Attachment>,
        previous: Option<&AddResult>,
    ) -> Value {
        let mut input = plugin.clone();
        input.insert("cniVersion".into(), version.as_str().into());
        input.insert("name".into(), self.list.name.as_str().into());
        let declared = input.remove("capabilities");
        if let (Some(attachment), Some(Value::Object(declared))) = (attachment, declared) {
            let wishes = serde_json::to_value(wire::wishes_to_wire(&attachment.wishes)).unwrap_or_default();
            let wishes = wishes.as_object().cloned().unwrap_or_default();
            let granted = |name: &String| declared.get(name).and_then(Value::as_bool) == Some(true);
            let granted: Map<_, _> = wishes.into_iter().filter(|(name, _)| granted(name)).collect();
            if !granted.is_empty() {
                input.insert("runtimeConfig".into(), granted.into());
            }
        }
        if let Some(previous) = previous {
            input.insert("prevResult".into(), previous.write(version));
        }
        input.into()
    }

    fn program(&self, plugin: &Map<String, Value>) -> Result<std::path::PathBuf> {
        let folders = &self.host.settings.plugin_dirs;
        exec::find(kind(plugin), folders).ok_or_else(|| {
            let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
            let message = format!("there is no CNI plugin {:?} in {}", kind(plugin), folders.join(", "));
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// Runs a plugin and returns what it wrote.
    async fn run(&self, plugin: &Map<String, Value>, call: &Call<'_>) -> Result<Vec<u8>> {
        let name = kind(plugin);
        let job = self.job(plugin, call)?;
        let (clock, deadline) = (&self.host.clock, self.host.settings.deadline);
        let (leash, started) = (Leash::default(), clock.uptime());
        let (own, worked) = (leash.clone(), job.clone());
        let work = self.host.spawn.run_blocking("cni.plugin", move || exec::run(&worked, &own));
        let mut work = Box::pin(work);
        let done = match select(&mut work, clock.sleep(deadline)).await {
            Either::Left((done, _)) => done.unwrap_or_else(|| Err(std::io::Error::other("its runner panicked"))),
            Either::Right(_) => {
                leash.kill();
                // What it has begun in the kernel is over once it is dead: only then may another plugin clean up.
                let dead = clock.within(DEATH, work).await.is_some();
                self.show(call, &job, started, Err(if dead { "killed" } else { "killed, and still not dead" }));
                let message =
                    format!("plugin {name:?} did not answer {} within {deadline:?} and was killed", call.verb);
                return Err(Error::new(ErrorKind::Timeout, message).maybe_applied());
            }
        };
        let done = done.map_err(|error| {
            let message = format!("cannot run plugin {}", job.program.display());
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        self.show(call, &job, started, Ok(&done));
        if done.status.success() { Ok(done.output) } else { Err(refusal(name, call, &done)) }
    }

    fn job(&self, plugin: &Map<String, Value>, call: &Call<'_>) -> Result<Job> {
        let environment = exec::words(call.verb, call.attachment, &self.host.settings.plugin_dirs)?;
        let input = serde_json::to_vec(&call.input).unwrap_or_default();
        Ok(Job { program: self.program(plugin)?, environment, input })
    }

    fn show(&self, call: &Call<'_>, job: &Job, started: Duration, done: Result<&Done, &str>) {
        let Some(observer) = &self.host.observer else { return };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (output, errors, end) = match done {
            Ok(done) => (text(&done.output), text(&done.errors), done.status.to_string()),
            Err(end) => (String::new(), String::new(), end.to_owned()),
        };
        observer(&Exchange {
            plugin: job.program.clone(),
            verb: call.verb,
            environment: job.environment[1..].to_vec(),
            input: text(&job.input),
            output,
            errors,
            end,
            took: self.host.clock.uptime().saturating_sub(started),
        });
    }
}

/// What a plugin that failed says, in its own words or, where it has none, by how it ended.
fn refusal(name: &str, call: &Call<'_>, done: &Done) -> Error {
    let key = call.attachment.map(|attachment| format!(" {}", attachment.key)).unwrap_or_default();
    let what = match call.verb {
        "ADD" => format!("attach{key} by plugin {name:?}"),
        "DEL" => format!("detach{key} by plugin {name:?}"),
        verb => format!("{}{key} by plugin {name:?}", verb.to_lowercase()),
    };
    match serde_json::from_slice::<CniError>(&done.output) {
        Ok(said) if said.code != 0 || !said.msg.is_empty() => wire::error_from_wire(&what, said),
        _ => {
            let mut message = format!("cannot {what}: it ended with {} and no CNI error", done.status);
            for (stream, bytes) in [("stdout", &done.output), ("stderr", &done.errors)] {
                if !bytes.is_empty() {
                    message += &format!("; {stream}: {}", exec::excerpt(bytes));
                }
            }
            Error::new(ErrorKind::Internal, message).maybe_applied()
        }
    }
}
