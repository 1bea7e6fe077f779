//! Control groups of pods, in every hierarchy that the node has (version 1, 2 or both). Blocks: run it apart.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use windlass_kernel::runtime::Resources;

/// A hierarchy: where it is mounted and its controllers; none for version 2.
struct Hierarchy {
    root: PathBuf,
    controllers: Option<Vec<String>>,
}

fn hierarchies() -> Vec<Hierarchy> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (root, kind, options) = (words.nth(1)?, words.next()?, words.next()?);
            let controllers = match kind {
                "cgroup" => Some(options.split(',').map(str::to_owned).collect()),
                "cgroup2" => None,
                _ => return None,
            };
            Some(Hierarchy { root: root.into(), controllers })
        })
        .collect()
}

/// Makes a pod's group in every hierarchy and sets its limits.
pub(crate) fn make(group: &str, limits: &Resources) -> io::Result<()> {
    for Hierarchy { root, controllers } in hierarchies() {
        let folder = root.join(group.trim_start_matches('/'));
        if controllers.is_none() {
            delegate(&root, group);
        }
        fs::create_dir_all(&folder)?;
        match &controllers {
            Some(controllers) => {
                for controller in controllers {
                    set_v1(controller, &root, &folder, limits)?;
                }
            }
            None => set_v2(&folder, limits)?,
        }
    }
    Ok(())
}

fn set_v1(controller: &str, root: &Path, folder: &Path, limits: &Resources) -> io::Result<()> {
    match controller {
        "cpu" => {
            set(folder, "cpu.shares", limits.cpu_shares)?;
            set(folder, "cpu.cfs_period_us", limits.cpu_period)?;
            set(folder, "cpu.cfs_quota_us", limits.cpu_quota)
        }
        "memory" => set(folder, "memory.limit_in_bytes", limits.memory_limit),
        // A group without CPUs and memory nodes cannot hold processes.
        "cpuset" => inherit(root, folder),
        _ => Ok(()),
    }
}

fn set_v2(folder: &Path, limits: &Resources) -> io::Result<()> {
    // Where a controller is bound to version 1, its files are not here.
    if folder.join("cpu.max").exists() {
        set(folder, "cpu.weight", limits.cpu_shares.map(|shares| 1 + (shares.max(2) - 2) * 9999 / 262_142))?;
        if let (Some(quota), Some(period)) = (limits.cpu_quota, limits.cpu_period) {
            fs::write(folder.join("cpu.max"), format!("{quota} {period}"))?;
        }
    }
    if folder.join("memory.max").exists() {
        set(folder, "memory.max", limits.memory_limit)?;
    }
    Ok(())
}

fn set(folder: &Path, file: &str, value: Option<i64>) -> io::Result<()> {
    value.map_or(Ok(()), |value| fs::write(folder.join(file), value.to_string()))
}

fn inherit(root: &Path, folder: &Path) -> io::Result<()> {
    let Ok(below) = folder.strip_prefix(root) else { return Ok(()) };
    let mut at = root.to_owned();
    for part in below {
        let parent = at.clone();
        at.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(at.join(file))?.trim().is_empty() {
                fs::write(at.join(file), fs::read(parent.join(file))?)?;
            }
        }
    }
    Ok(())
}

/// Hands the controllers down to the group's parents. What cannot be handed down is not there to be set.
fn delegate(root: &Path, group: &str) {
    let mut at = root.to_owned();
    for part in group.trim_matches('/').split('/') {
        let offered = fs::read_to_string(at.join("cgroup.controllers")).unwrap_or_default();
        for controller in offered.split_whitespace() {
            // Some controllers cannot be handed down; the others still can.
            let _ = fs::write(at.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        at.push(part);
        // The caller makes what is still missing and says what is wrong.
        let _ = fs::create_dir(&at);
    }
}

/// How many bytes a group and those below it hold of memory, without file pages that were not used lately, as kubelets count.
/// `None` where no hierarchy counts its memory.
pub(crate) fn working_set(group: &str) -> io::Result<Option<u64>> {
    for Hierarchy { root, controllers } in hierarchies() {
        let (usage, inactive) = match &controllers {
            Some(all) if all.iter().any(|one| one == "memory") => ("memory.usage_in_bytes", "total_inactive_file "),
            Some(_) => continue,
            None => ("memory.current", "inactive_file "),
        };
        let folder = root.join(group.trim_start_matches('/'));
        let usage = match fs::read_to_string(folder.join(usage)) {
            Ok(usage) => usage,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let stat = fs::read_to_string(folder.join("memory.stat"))?;
        let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive)?.parse::<u64>().ok());
        let usage = usage.trim().parse::<u64>().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        return Ok(Some(usage.saturating_sub(inactive.unwrap_or(0))));
    }
    Ok(None)
}

/// Removes groups that nothing is in, in this order. Pods of another cluster may be: then the group stays.
pub(crate) fn remove_empty(groups: &[String]) {
    for Hierarchy { root, .. } in hierarchies() {
        for group in groups {
            let _ = fs::remove_dir(root.join(group.trim_start_matches('/')));
        }
    }
}

/// Removes a pod's groups. Gone is success.
pub(crate) fn remove(groups: &[String]) -> io::Result<()> {
    for Hierarchy { root, .. } in hierarchies() {
        for group in groups {
            remove_tree(&root.join(group.trim_start_matches('/')))?;
        }
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
