//! What is written down of a driver's volume before anything is asked of the driver, so that an agent that comes later can
//! take it away again. Blocks: run it apart.

use std::{fs, io, io::Write, path::Path};

use serde::{Deserialize, Serialize};

/// The file of a record, beside the path that the volume is shown at.
const FILE: &str = "vol_data.json";

/// A volume of a driver at a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// What events call it; unique at its pod.
    pub(crate) name: String,
    /// What the pod calls it. Agents of earlier versions did not write it down.
    pub(crate) volume: String,
    pub(crate) driver: String,
    pub(crate) handle: String,
    /// Whether it had to be attached.
    pub(crate) attached: bool,
    /// Whether the driver prepares it for all its pods together.
    pub(crate) staged: bool,
    /// Whether the pod had all of it at least once.
    pub(crate) published: bool,
}

/// Writes a record into the volume's folder, whole or not at all.
pub(crate) fn write(folder: &Path, record: &Record) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let next = folder.join(format!("{FILE}.next"));
    let mut file = fs::File::create(&next)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()?;
    fs::rename(&next, folder.join(FILE))?;
    fs::File::open(folder)?.sync_all()
}

/// Strikes a record out. What is still shown there is an error. Gone is success.
pub(crate) fn strike(folder: &Path) -> io::Result<()> {
    for name in [format!("{FILE}.next"), FILE.to_owned()] {
        gone(fs::remove_file(folder.join(name)))?;
    }
    gone(fs::remove_dir(folder))
}

/// All records below the folder of pods.
pub(crate) fn all(pods: &Path) -> Vec<Record> {
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for pod in below(pods) {
        for volume in below(&pod.join(super::DRIVERS)) {
            let file = volume.join(FILE);
            let Ok(text) = fs::read(&file) else { continue };
            match serde_json::from_slice(&text) {
                Ok(record) => found.push(record),
                Err(error) => tracing::error!(file = %file.display(), %error, "the record of a volume is unreadable"),
            }
        }
    }
    found
}

pub(crate) fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_again_until_they_are_struck_out() {
        let pods = std::env::temp_dir().join(format!("windlass-records-{}", std::process::id()));
        let record = Record { uid: "u".into(), name: "pv".into(), handle: "h".into(), ..Record::default() };
        let folder = pods.join("u").join(super::super::DRIVERS).join("pv");
        write(&folder, &record).unwrap();
        fs::write(folder.join("vol_data.json.next"), "half of").unwrap();
        assert_eq!(all(&pods), [record]);
        strike(&folder).unwrap();
        strike(&folder).unwrap();
        assert_eq!((all(&pods), folder.exists()), (vec![], false));
        fs::remove_dir_all(&pods).unwrap();
    }
}
