//! Whose devices are, as a file: written whole or not at all, with a sum by which damage shows. Blocks: run it apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use windlass_kernel::{
    device::{Allocation, DeviceMount},
    runtime::Device,
};

use super::{Given, PodDevices};

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    /// Whether pods may have devices that are not in here, and that their containers tell of.
    pub(super) lost: bool,
    /// The resources that plugins brought.
    pub(super) resources: BTreeSet<String>,
    pub(super) pods: BTreeMap<String, PodDevices>,
}

#[derive(Deserialize, Serialize)]
struct File {
    /// Of the text of the state.
    sha256: String,
    state: Box<RawValue>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct State {
    lost: bool,
    resources: BTreeSet<String>,
    pods: BTreeMap<String, Pod>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Pod {
    namespace: String,
    name: String,
    containers: BTreeMap<String, BTreeMap<String, Own>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Own {
    devices: BTreeSet<String>,
    prepared: bool,
    answer: Option<Answer>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    env: BTreeMap<String, String>,
    /// Where inside, what outside, whether read-only.
    mounts: Vec<(String, String, bool)>,
    /// Where inside, what outside, permissions.
    devices: Vec<(String, String, String)>,
    annotations: BTreeMap<String, String>,
    cdi_devices: Vec<String>,
}

impl From<Allocation> for Answer {
    fn from(own: Allocation) -> Self {
        let mount = |one: DeviceMount| (one.container_path, one.host_path, one.read_only);
        let device = |one: Device| (one.container_path, one.host_path, one.permissions);
        Self {
            env: own.env,
            mounts: own.mounts.into_iter().map(mount).collect(),
            devices: own.devices.into_iter().map(device).collect(),
            annotations: own.annotations,
            cdi_devices: own.cdi_devices,
        }
    }
}

impl From<Answer> for Allocation {
    fn from(own: Answer) -> Self {
        let mount = |(container_path, host_path, read_only)| DeviceMount { container_path, host_path, read_only };
        let device = |(container_path, host_path, permissions)| Device { container_path, host_path, permissions };
        Self {
            env: own.env,
            mounts: own.mounts.into_iter().map(mount).collect(),
            devices: own.devices.into_iter().map(device).collect(),
            annotations: own.annotations,
            cdi_devices: own.cdi_devices,
        }
    }
}

impl From<Given> for Own {
    fn from(given: Given) -> Self {
        let devices = given.devices.iter().map(ToString::to_string).collect();
        Self { devices, prepared: given.prepared, answer: given.answer.map(Into::into) }
    }
}

impl From<Own> for Given {
    fn from(own: Own) -> Self {
        let devices = own.devices.into_iter().map(Into::into).collect();
        Self { devices, prepared: own.prepared, answer: own.answer.map(Into::into) }
    }
}

fn each<A: Into<B>, B>(all: BTreeMap<String, A>) -> BTreeMap<String, B> {
    all.into_iter().map(|(name, one)| (name, one.into())).collect()
}

impl From<PodDevices> for Pod {
    fn from(pod: PodDevices) -> Self {
        let containers = pod.containers.into_iter().map(|(name, own)| (name, each(own))).collect();
        Self { namespace: pod.namespace, name: pod.name, containers }
    }
}

impl From<Pod> for PodDevices {
    fn from(pod: Pod) -> Self {
        let containers = pod.containers.into_iter().map(|(name, own)| (name, each(own))).collect();
        Self { namespace: pod.namespace, name: pod.name, containers }
    }
}

fn sum(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// Writes it, whole or not at all. Plugins may say secrets: nobody else reads it.
pub(super) fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    let state = State { lost: saved.lost, resources: saved.resources.clone(), pods: each(saved.pods.clone()) };
    let state = serde_json::value::to_raw_value(&state)?;
    let text = serde_json::to_vec(&File { sha256: sum(state.get()), state })?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let next = path.with_extension("next");
    // One that was left half-written may be anybody's.
    crate::volume::record::gone(fs::remove_file(&next))?;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    fs::File::open(folder)?.sync_all()
}

/// Reads what was written; `None` where nothing was. What is damaged is put aside, and an error says so.
pub(super) fn read(path: &Path) -> Result<Option<Saved>, String> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read the devices of pods in {}: {error}", path.display())),
    };
    let whole = parse(&text).map(Some);
    whole.map_err(|why| {
        let aside = path.with_extension("damaged");
        let kept = match fs::rename(path, &aside) {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("it cannot be put aside: {error}"),
        };
        format!(
            "the devices of pods in {} are damaged ({why}); they are read from the containers that run, and {kept}",
            path.display()
        )
    })
}

fn parse(text: &[u8]) -> Result<Saved, String> {
    let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if sum(file.state.get()) != file.sha256 {
        return Err("the sum is another".into());
    }
    let state: State = serde_json::from_str(file.state.get()).map_err(|error| error.to_string())?;
    Ok(Saved { lost: state.lost, resources: state.resources, pods: each(state.pods) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_damage_shows() {
        let folder = std::env::temp_dir().join(format!("windlass-devices-record-{}", std::process::id()));
        let path = folder.join("devices.json");
        assert_eq!(read(&path), Ok(None));
        let answer = Allocation {
            env: [("SECRET".into(), "s".into())].into(),
            mounts: vec![DeviceMount { container_path: "/a".into(), host_path: "/b".into(), read_only: true }],
            devices: vec![Device { container_path: "/c".into(), host_path: "/d".into(), permissions: "rw".into() }],
            annotations: [("k".into(), "v".into())].into(),
            cdi_devices: vec!["x/y=z".into()],
        };
        let given = Given { devices: ["one".into()].into(), prepared: true, answer: Some(answer) };
        let containers = [("c".to_owned(), [("x/y".to_owned(), given)].into())].into();
        let pod = PodDevices { namespace: "n".into(), name: "p".into(), containers };
        let saved = Saved { lost: true, resources: ["x/y".to_owned()].into(), pods: [("uid".to_owned(), pod)].into() };
        write(&path, &saved).unwrap();
        assert_eq!(read(&path), Ok(Some(saved.clone())));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let whole = fs::read_to_string(&path).unwrap();
        for damaged in [whole.replace("one", "two"), whole[..whole.len() / 2].to_owned(), String::new()] {
            write(&path, &saved).unwrap();
            fs::write(&path, &damaged).unwrap();
            let why = read(&path).unwrap_err();
            assert!(why.contains("are damaged") && why.contains("devices.json"), "{why}");
            assert_eq!((read(&path), fs::read_to_string(path.with_extension("damaged")).unwrap()), (Ok(None), damaged));
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
