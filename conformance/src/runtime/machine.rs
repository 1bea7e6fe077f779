//! The machine as the suite sees it: what a runtime made there for sandboxes and containers, by their ids.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How deep the folders of a runtime are looked through. Images lie deeper.
const DEPTH: usize = 4;
/// Files longer than this are databases, which keep what was deleted.
const SMALL: u64 = 4096;
/// Where CNI plugins keep what they gave to whom.
const ADDRESSES: &str = "/var/lib/cni";

/// The machine on which a runtime runs, seen by another pair of eyes than the runtime's own.
///
/// Counted are mounts, network namespaces, processes, control groups and small files that name an id, in their path, their
/// command line or their content; and, where nobody else is there, what names none.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The runtime's own folders: what names an id there is a leak.
    pub state: Vec<PathBuf>,
    /// Whether nobody else makes anything meanwhile. Then new links, and new mounts and namespaces below `state` (or the
    /// machine's named namespaces, where `state` is empty), are leaks, too.
    pub alone: bool,
}

impl Machine {
    /// Everything that there is of these ids, each item with a word for its kind in front.
    #[must_use]
    pub fn inventory(&self, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.mounts(ids, &mut found);
        if self.alone {
            links(&mut found);
        }
        if !ids.is_empty() {
            processes(ids, &mut found);
            groups(Path::new("/sys/fs/cgroup"), ids, &mut found);
            for folder in self.state.iter().map(PathBuf::as_path).chain([Path::new(ADDRESSES)]) {
                files(folder, ids, DEPTH, &mut found);
            }
        }
        found
    }

    fn mounts(&self, ids: &BTreeSet<String>, found: &mut BTreeSet<String>) {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        for line in table.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(at) = before.split(' ').nth(4) else { continue };
            let namespace = after.starts_with("nsfs ");
            let below = |folder: &Path| Path::new(at).starts_with(folder);
            let own = match self.state.is_empty() {
                true => namespace && ["/run/netns", "/var/run/netns"].iter().any(|folder| below(Path::new(folder))),
                false => self.state.iter().any(|folder| below(folder)),
            };
            if (self.alone && own) || mentions(at, ids) {
                found.insert(format!("{} {at}", if namespace { "namespace" } else { "mount" }));
            }
        }
    }
}

fn mentions(text: &str, ids: &BTreeSet<String>) -> bool {
    ids.iter().any(|id| text.contains(id.as_str()))
}

/// The links of the network that this thread is in.
fn links(found: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let names = table.lines().skip(2).filter_map(|line| line.split_once(':'));
    found.extend(names.map(|(name, _)| format!("link {}", name.trim())));
}

/// Processes whose command line or control groups name an id.
fn processes(ids: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let (command, group) = (read("cmdline"), read("cgroup"));
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if mentions(&command, ids) || mentions(&String::from_utf8_lossy(&group), ids) {
            found.insert(format!("process {pid} {}", command.trim()));
        }
    }
}

fn groups(folder: &Path, ids: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Hierarchies may be named twice, by links.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if mentions(&entry.file_name().to_string_lossy(), ids) {
            found.insert(format!("control group {}", entry.path().display()));
        }
        groups(&entry.path(), ids, found);
    }
}

/// Small files and folders that name an id, by their name or their content.
fn files(folder: &Path, ids: &BTreeSet<String>, depth: usize, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
        let content = || fs::read(&path).is_ok_and(|bytes| mentions(&String::from_utf8_lossy(&bytes), ids));
        let small = metadata.is_file() && metadata.len() <= SMALL;
        if mentions(&entry.file_name().to_string_lossy(), ids) || (small && content()) {
            found.insert(format!("file {}", path.display()));
        } else if metadata.is_dir() && depth > 1 {
            files(&path, ids, depth - 1, found);
        }
    }
}
