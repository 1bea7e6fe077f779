//! The machine as the suite sees it: mounts, devices and files.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// Everything that a driver may have made: mounts below the check's folder, files in it and in the driver's folder, and loop
/// devices of files there (of all files, where the driver's folder is not known).
pub(super) fn inventory(folder: &Path, state: Option<&Path>) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = mounts(folder).iter().map(|at| format!("mount {}", at.display())).collect();
    files(folder, folder, &mut found);
    if let Some(state) = state {
        files(state, state, &mut found);
    }
    for (name, file) in devices() {
        if state.is_none_or(|state| Path::new(&file).starts_with(state)) {
            found.insert(format!("device {name} of {file}"));
        }
    }
    found
}

/// The mounts below a folder.
pub(super) fn mounts(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("the table of mounts");
    let at = table.lines().filter_map(|line| line.split(' ').nth(4));
    at.map(PathBuf::from).filter(|at| at.starts_with(folder)).collect()
}

/// How often something is mounted at a path.
pub(super) fn mounted(path: &Path) -> usize {
    mounts(path).iter().filter(|at| *at == path).count()
}

fn devices() -> Vec<(String, String)> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let device = |entry: fs::DirEntry| {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), file.trim().to_owned()))
    };
    entries.filter_map(device).collect()
}

fn files(top: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        found.insert(format!("file {}", path.display()));
        // What is mounted is counted as a mount.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && (top != folder || mounted(&path) == 0) {
            files(top, &path, found);
        }
    }
}

/// Whether a path is a block device, and how many bytes it has.
pub(super) fn device_size(path: &Path) -> Option<u64> {
    use std::io::{Seek, SeekFrom};
    let file = fs::File::open(path).ok()?;
    let is_block = file.metadata().ok()?.file_type().is_block_device();
    is_block.then(|| (&file).seek(SeekFrom::End(0)).ok()).flatten()
}
