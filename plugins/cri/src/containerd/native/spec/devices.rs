//! Devices: which nodes a container has, and which it may use.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use nix::sys::stat::{major, minor};
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};
use windlass_kernel::{Error, ErrorKind, Result, runtime::Device};

use super::unbuildable;

/// What the specification's own mounts are at, and no device of the node is put.
const MOUNTED: &[&str] = &["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd", "/dev/console"];
/// How deep folders of devices are.
const DEPTH: usize = 8;

/// Rules for nothing beyond what every container has, which the low-level runtime adds.
pub(super) fn none() -> Result<Vec<LinuxDeviceCgroup>> {
    Ok(vec![rule(false, None)?])
}

/// The nodes, and the rules on them. A privileged container has all of the node's.
pub(super) fn of(wanted: &[Device], privileged: bool) -> Result<(Vec<LinuxDevice>, Vec<LinuxDeviceCgroup>)> {
    if privileged {
        let mut found = Vec::new();
        walk(Path::new("/dev"), Path::new("/dev"), DEPTH, &mut found)?;
        return Ok((found, vec![rule(true, None)?]));
    }
    let (mut devices, mut rules) = (Vec::new(), none()?);
    for device in wanted {
        let before = devices.len();
        let (from, to) = (Path::new(&device.host_path), Path::new(&device.container_path));
        if from.is_dir() {
            walk(from, to, DEPTH, &mut devices)?;
        } else {
            devices.extend(node(from, to)?);
        }
        if devices.len() == before {
            let message = format!("{} is no device of this node", device.host_path);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        for made in &devices[before..] {
            rules.push(rule(true, Some((made, &device.permissions)))?);
        }
    }
    Ok((devices, rules))
}

fn walk(from: &Path, to: &Path, depth: usize, found: &mut Vec<LinuxDevice>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(from).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if MOUNTED.iter().any(|mounted| to.starts_with(mounted)) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&path, &to, depth - 1, found)?,
            Ok(kind) if !kind.is_symlink() => found.extend(node(&path, &to)?),
            _ => {}
        }
    }
    Ok(())
}

/// A node, if it is one.
fn node(from: &Path, to: &Path) -> Result<Option<LinuxDevice>> {
    let Ok(metadata) = fs::metadata(from) else { return Ok(None) };
    let kind = metadata.file_type();
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => LinuxDeviceType::C,
        (_, true) => LinuxDeviceType::B,
        _ => return Ok(None),
    };
    let number = |number: u64| i64::try_from(number).unwrap_or_default();
    let built = LinuxDeviceBuilder::default()
        .path(to)
        .typ(kind)
        .major(number(major(metadata.rdev())))
        .minor(number(minor(metadata.rdev())))
        .file_mode(metadata.mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build();
    built.map(Some).map_err(unbuildable)
}

fn rule(allow: bool, one: Option<(&LinuxDevice, &String)>) -> Result<LinuxDeviceCgroup> {
    let mut rule = LinuxDeviceCgroupBuilder::default().allow(allow).access("rwm").build().map_err(unbuildable)?;
    if let Some((device, permissions)) = one {
        rule.set_typ(Some(device.typ())).set_major(Some(device.major())).set_minor(Some(device.minor()));
        if !permissions.is_empty() {
            rule.set_access(Some(permissions.clone()));
        }
    }
    Ok(rule)
}
