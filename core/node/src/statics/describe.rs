//! Where static pods are described, and what a description comes to.

use std::{
    fmt::Debug,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use windlass_api::{
    core::v1::{Pod, Toleration},
    manifests,
    types::Time,
};
use windlass_client::informer::Parts;
use windlass_kernel::SpawnExt;

use super::{HASH, SEEN, SOURCE};

/// The kind of place that a file is.
const FILE: &str = "file";

/// One description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Where it stands, for people: a path.
    pub place: String,
    /// What kind of place that is, as upstream's annotation `kubernetes.io/config.source` names it: `file` or `http`.
    pub source: &'static str,
    /// A pod in YAML or JSON; or why it cannot be read.
    pub text: Result<String, String>,
}

/// Where static pods are described.
#[async_trait]
pub trait Source: Debug + Send + Sync + 'static {
    /// All descriptions, in a steady order; `None` where nothing has changed since the last time.
    async fn read(&self, parts: &Parts) -> Option<Vec<Described>>;

    /// Of which [kinds of places](Described::source) nothing is known, since they could not be read yet. Mirrors of such are
    /// left alone, and what they show goes on.
    fn unknown(&self) -> Vec<&'static str>;
}

/// Several sources, in turn.
#[derive(Debug)]
pub struct Sources(Vec<(Box<dyn Source>, Last)>);

/// What a source had the last time.
type Last = Mutex<Option<Vec<Described>>>;

impl Sources {
    /// These.
    #[must_use]
    pub fn of(sources: Vec<Box<dyn Source>>) -> Self {
        Self(sources.into_iter().map(|source| (source, Mutex::default())).collect())
    }
}

#[async_trait]
impl Source for Sources {
    async fn read(&self, parts: &Parts) -> Option<Vec<Described>> {
        let mut changed = false;
        for (source, last) in &self.0 {
            if let Some(described) = source.read(parts).await {
                *last.lock() = Some(described);
                changed = true;
            }
        }
        changed.then(|| self.0.iter().filter_map(|(_, last)| last.lock().clone()).flatten().collect())
    }

    fn unknown(&self) -> Vec<&'static str> {
        self.0.iter().flat_map(|(source, _)| source.unknown()).collect()
    }
}

/// A folder with a file for each static pod (kubelet's `--pod-manifest-path`). Names that begin with a dot, and folders in it,
/// are passed over.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    seen: Mutex<Option<Vec<Stamp>>>,
}

/// What tells that a file has changed.
type Stamp = (PathBuf, Option<SystemTime>, u64);

impl Folder {
    /// The folder. It need not be there yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), seen: Mutex::default() }
    }
}

#[async_trait]
impl Source for Folder {
    async fn read(&self, parts: &Parts) -> Option<Vec<Described>> {
        let (path, seen) = (self.path.clone(), self.seen.lock().clone());
        let looked = parts.spawn.run_blocking("node.statics", move || look(&path, seen.as_deref())).await?;
        match looked {
            Ok((stamps, described)) => {
                *self.seen.lock() = Some(stamps);
                described
            }
            // Whoever cannot read the folder does not know that a pod is no longer described.
            Err(error) => {
                tracing::warn!(folder = %self.path.display(), %error, "cannot read the static pods; those that run go on");
                None
            }
        }
    }

    fn unknown(&self) -> Vec<&'static str> {
        let known = self.seen.lock().is_some();
        if known { Vec::new() } else { vec![FILE] }
    }
}

/// The files as they are, and what they say, where they are not as they were.
fn look(path: &Path, seen: Option<&[Stamp]>) -> io::Result<(Vec<Stamp>, Option<Vec<Described>>)> {
    let mut stamps: Vec<Stamp> = Vec::new();
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => entries?.collect::<io::Result<Vec<_>>>()?,
    };
    for entry in entries {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // As upstream, links are followed; one to nowhere is passed over.
        let Some(about) = fs::metadata(entry.path()).ok().filter(|about| about.is_file() && !hidden) else { continue };
        stamps.push((entry.path(), about.modified().ok(), about.len()));
    }
    stamps.sort();
    if seen == Some(&*stamps) {
        return Ok((stamps, None));
    }
    let read = |(path, ..): &Stamp| Described {
        place: path.display().to_string(),
        source: FILE,
        text: fs::read_to_string(path).map_err(|error| error.to_string()),
    };
    let described = stamps.iter().map(read).collect();
    Ok((stamps, Some(described)))
}

/// The static pod of a node that is described, as upstream's kubelet completes it.
pub(super) fn pod(described: &Described, node: &str, now: Timestamp) -> Result<Pod, String> {
    let text = described.text.as_ref().map_err(String::clone)?;
    let mut documents = manifests::documents(text).map_err(|error| error.to_string())?.into_iter();
    let value = documents.next().ok_or("it is empty")?.value;
    if documents.next().is_some() {
        return Err("it has more than one document: a file describes one pod".into());
    }
    if (value["apiVersion"].as_str(), value["kind"].as_str()) != (Some("v1"), Some("Pod")) {
        return Err("it is not of apiVersion v1 and kind Pod".into());
    }
    let mut pod: Pod = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let meta = &mut pod.metadata;
    let name = meta.name.as_deref().filter(|name| !name.is_empty()).ok_or("metadata.name: Required value")?;
    meta.name = Some(format!("{name}-{}", node.to_lowercase()));
    meta.namespace = Some(meta.namespace.take().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into()));
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{node}\n{}\n{text}", described.place).as_bytes());
    let hash: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    (meta.uid, meta.resource_version) = (None, None);
    let seen = serde_json::to_value(Time(now)).ok().and_then(|time| time.as_str().map(str::to_owned));
    for (key, value) in [(HASH, hash), (SOURCE, described.source.to_owned()), (SEEN, seen.unwrap_or_default())] {
        meta.annotations.insert(key.into(), value);
    }
    pod.status = Default::default();
    pod.spec.node_name = Some(node.to_owned());
    // Taints that end pods are for those that can go elsewhere.
    let anything =
        Toleration { operator: Some("Exists".into()), effect: Some("NoExecute".into()), ..Toleration::default() };
    if !pod.spec.tolerations.contains(&anything) {
        pod.spec.tolerations.push(anything);
    }
    Ok(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Pod, String> {
        let described = Described { place: "/m/web.yaml".into(), source: "file", text: Ok(text.into()) };
        pod(&described, "N1", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_description_is_completed_for_its_node() {
        let one = check("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: b}]}")
            .unwrap();
        let meta = &one.metadata;
        assert_eq!((meta.name.as_deref(), meta.namespace.as_deref()), (Some("web-n1"), Some("default")));
        assert_eq!((one.spec.node_name.as_deref(), &*meta.annotations[SOURCE]), (Some("N1"), "file"));
        assert_eq!((meta.annotations[HASH].len(), &*meta.annotations[SEEN]), (32, "1970-01-01T00:00:00Z"));
        let other =
            check("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: c}]}")
                .unwrap();
        assert_ne!(meta.annotations[HASH], other.metadata.annotations[HASH]);
    }

    #[test]
    fn what_describes_no_pod_is_refused_with_the_reason() {
        let said = |text| check(text).unwrap_err();
        assert_eq!(said(""), "it is empty");
        assert_eq!(said("apiVersion: v1\nkind: Service"), "it is not of apiVersion v1 and kind Pod");
        assert_eq!(
            said("apiVersion: v1\nkind: Pod\n---\na: b"),
            "it has more than one document: a file describes one pod"
        );
        assert_eq!(said("apiVersion: v1\nkind: Pod"), "metadata.name: Required value");
        assert!(said("a: [").contains("line"), "{}", said("a: ["));
    }

    #[test]
    fn a_folder_is_read_when_it_has_changed() {
        let folder = std::env::temp_dir().join(format!("windlass-statics-{}", std::process::id()));
        assert_eq!(look(&folder, None).unwrap(), (vec![], Some(vec![])));
        fs::create_dir_all(folder.join("deeper")).unwrap();
        for (name, text) in [("b.yaml", "2"), ("a.json", "1"), (".hidden", "3"), ("deeper/c", "4")] {
            fs::write(folder.join(name), text).unwrap();
        }
        let (stamps, described) = look(&folder, Some(&[])).unwrap();
        let texts: Vec<_> = described.unwrap().into_iter().map(|one| one.text.unwrap()).collect();
        assert_eq!(texts, ["1", "2"]);
        assert_eq!(look(&folder, Some(&stamps)).unwrap().1, None);
        fs::write(folder.join("b.yaml"), "22").unwrap();
        assert!(look(&folder, Some(&stamps)).unwrap().1.is_some());
        fs::remove_dir_all(&folder).unwrap();
    }
}
