//! A kubeconfig that is read again when it has changed: whoever is long-lived goes on after a certificate is renewed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use windlass_kernel::Result;

use crate::kubeconfig::{Access, Kubeconfig};

/// How often the files are looked at, at most: a look is asked for by requests, so that nothing happens at rest.
const PERIOD: Duration = Duration::from_secs(10);

/// A context of a kubeconfig file, and what was last seen of the files that say what it comes to.
#[derive(Debug)]
pub(super) struct Followed {
    file: PathBuf,
    context: String,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    looked: Duration,
    /// `None` where the files were changed to what cannot be read.
    seen: Option<Seen>,
}

/// The files, and how each was.
type Seen = Vec<(PathBuf, Option<Stamp>)>;

/// What tells a file from the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    changed: Option<SystemTime>,
    length: u64,
    number: u64,
}

impl Followed {
    /// Reads the file for the first time.
    pub(super) fn read(file: &Path, context: &str, now: Duration) -> Result<(Self, Access)> {
        let (access, seen) = read(file, context)?;
        let last = Mutex::new(Last { looked: now, seen: Some(seen) });
        Ok((Self { file: file.to_owned(), context: context.to_owned(), last }, access))
    }

    /// What the files say now, where that is not what they said; `None` while it is too early to look again.
    pub(super) fn changed(&self, now: Duration) -> Option<Access> {
        let mut last = self.last.lock();
        if now.saturating_sub(last.looked) < PERIOD {
            return None;
        }
        last.looked = now;
        let same = |(path, stamp): &(PathBuf, Option<Stamp>)| stamp_of(path) == *stamp;
        if last.seen.as_ref().is_some_and(|seen| seen.iter().all(same)) {
            return None;
        }
        match read(&self.file, &self.context) {
            Ok((access, seen)) => {
                last.seen = Some(seen);
                Some(access)
            }
            Err(error) => {
                self.complain(&mut last, &error);
                None
            }
        }
    }

    /// What was read last cannot be used, such as a certificate whose key is yet to be written: it is read again.
    pub(super) fn unusable(&self, error: &windlass_kernel::Error) {
        self.complain(&mut self.last.lock(), error);
    }

    fn complain(&self, last: &mut Last, error: &windlass_kernel::Error) {
        last.seen = None;
        tracing::warn!(file = %self.file.display(), %error, "the kubeconfig has changed to what cannot be used; as before");
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// What the file says, and how it and those that it names were just before.
fn read(file: &Path, context: &str) -> Result<(Access, Seen)> {
    // A change while it is read is seen by the next look.
    let own = (file.to_owned(), stamp_of(file));
    let config = Kubeconfig::read(file)?;
    let named = config.files(context)?.into_iter().map(|path| (path.clone(), stamp_of(&path)));
    let seen = std::iter::once(own).chain(named).collect();
    Ok((config.access(context)?, seen))
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&about);
    #[cfg(not(unix))]
    let number = 0;
    Some(Stamp { changed: about.modified().ok(), length: about.len(), number })
}
