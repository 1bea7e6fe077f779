//! What came of specs, kept in a folder so that a run can go on where it ended.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use windlass_kernel::{Error, ErrorKind, Result};

use crate::spec::Spec;

const FILE: &str = "result.json";

/// What came of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed, and why.
    Failed(String),
    /// It found itself not to apply, and why.
    Skipped(String),
}

impl Verdict {
    /// As ginkgo's reports say it.
    pub(crate) fn status(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// A spec that was run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its full text.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
    /// How often it was run until then.
    pub attempts: u64,
}

/// The folder of a run.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Opens a folder for a suite of this version.
    pub(crate) fn open(path: &Path, version: &str) -> Result<Self> {
        let own = Self(path.to_owned());
        let file = path.join("run.json");
        if let Ok(text) = fs::read_to_string(&file) {
            let known: Value = serde_json::from_str(&text).unwrap_or_default();
            if known["suite"] != version {
                let other = known["suite"].as_str().unwrap_or("another");
                let message = format!(
                    "{} has the results of the suite {other}, and this is {version}: name another folder",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            return Ok(own);
        }
        fs::create_dir_all(path).map_err(cannot_write(path))?;
        put(&file, &format!("{:#}\n", json!({"suite": version})))?;
        Ok(own)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where a spec's log and reports are.
    pub(crate) fn of(&self, spec: &Spec) -> PathBuf {
        self.0.join("specs").join(spec.slug())
    }

    pub(crate) fn log(&self, spec: &Spec) -> PathBuf {
        self.of(spec).join("e2e.log")
    }

    /// What is known of a spec from before.
    pub(crate) fn known(&self, spec: &Spec) -> Option<Outcome> {
        let text = fs::read_to_string(self.of(spec).join(FILE)).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        let message = value["message"].as_str().unwrap_or_default().to_owned();
        let verdict = match value["verdict"].as_str()? {
            "passed" => Verdict::Passed,
            "failed" => Verdict::Failed(message),
            "skipped" => Verdict::Skipped(message),
            _ => return None,
        };
        let (seconds, attempts) = (value["seconds"].as_f64()?, value["attempts"].as_u64()?);
        Some(Outcome { name: spec.name.clone(), verdict, seconds, attempts })
    }

    /// Writes down what came of a spec, all or nothing.
    pub(crate) fn keep(&self, spec: &Spec, outcome: &Outcome) -> Result<()> {
        let mut value = json!({"name": outcome.name, "place": spec.place, "verdict": outcome.verdict.status(),
            "seconds": outcome.seconds, "attempts": outcome.attempts});
        if let Verdict::Failed(message) | Verdict::Skipped(message) = &outcome.verdict {
            value["message"] = message.as_str().into();
        }
        let (folder, text) = (self.of(spec), format!("{value:#}\n"));
        let draft = folder.join("result.json.new");
        put(&draft, &text)?;
        fs::rename(&draft, folder.join(FILE)).map_err(cannot_write(&folder))
    }
}

/// Writes a file.
pub(crate) fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(cannot_write(path))
}

pub(crate) fn cannot_write(path: &Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let message = format!("cannot write {}", path.display());
    move |error| Error::new(ErrorKind::Unavailable, message.clone()).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    #[test]
    fn what_came_of_a_spec_is_known_later() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path(), "v1.36.0").unwrap();
        let spec = &spec::read("  a.go:1: [sig-a] one [Conformance]\n")[0];
        assert_eq!(folder.known(spec), None);
        fs::create_dir_all(folder.of(spec)).unwrap();
        let outcome =
            Outcome { name: spec.name.clone(), verdict: Verdict::Failed("no".into()), seconds: 2.5, attempts: 2 };
        folder.keep(spec, &outcome).unwrap();
        let again = Folder::open(place.path(), "v1.36.0").unwrap();
        assert_eq!(again.known(spec), Some(outcome));
        let other = Folder::open(place.path(), "v1.35.0").unwrap_err();
        assert!(other.message().contains("has the results of the suite v1.36.0"), "{}", other.message());
    }
}
