//! Loop devices: block volumes as the kernel shows them. Which there are is read from the kernel, so that none is forgotten.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use windlass_kernel::{Error, ErrorKind, Result, volume::Refusal};

use super::tools::Tools;
use crate::machine::mounts::Origin;

/// How often it is looked whether a device has gone, and how long between.
const ATTEMPTS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// A loop device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Its name, such as `loop3`.
    pub(super) name: String,
    pub(super) read_only: bool,
}

impl Device {
    pub(super) fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// What mounts of the file system on it show; `None` where it has gone.
    pub(super) fn system(&self) -> Option<Origin> {
        let number = fs::read_to_string(Path::new("/sys/block").join(&self.name).join("dev")).ok()?;
        Some(Origin::whole(number.trim()))
    }
}

/// The devices that show a file.
pub(super) fn of(file: &Path) -> Result<Vec<Device>> {
    let blocks = fs::read_dir("/sys/block")
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot list block devices").with_source(error))?;
    let device = |entry: fs::DirEntry| {
        // A device without a file has no such entry.
        let shown = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        let shown = shown.trim_end_matches('\n');
        let shown = shown.strip_suffix(" (deleted)").unwrap_or(shown);
        let read_only = fs::read_to_string(entry.path().join("ro")).is_ok_and(|ro| ro.trim() == "1");
        let name = entry.file_name().to_string_lossy().into_owned();
        (Path::new(shown) == file).then_some(Device { name, read_only })
    };
    let mut devices: Vec<Device> = blocks.filter_map(Result::ok).filter_map(device).collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(devices)
}

/// The device that shows a file, made if there is none.
pub(super) fn attach(tools: &Tools, file: &Path, read_only: bool) -> Result<Device> {
    if let Some(device) = of(file)?.into_iter().find(|device| device.read_only == read_only) {
        return Ok(device);
    }
    let mut arguments: Vec<&OsStr> = vec!["--find".as_ref(), "--show".as_ref()];
    if read_only {
        arguments.push("--read-only".as_ref());
    }
    arguments.push(file.as_os_str());
    let output = tools.run("losetup", &arguments)?;
    let name = output.trim().strip_prefix("/dev/").unwrap_or_default();
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Internal, format!("losetup gave no device: {output:?}")));
    }
    Ok(Device { name: name.into(), read_only })
}

/// Takes a device away. One that is gone is success.
pub(super) fn detach(tools: &Tools, device: &Device, file: &Path) -> Result<()> {
    let done = tools.run("losetup", &["--detach".as_ref(), device.path().as_os_str()]);
    for _ in 0..ATTEMPTS {
        if !of(file)?.contains(device) {
            return Ok(());
        }
        // Whoever looks at all devices has it open for a moment, and it goes with that.
        #[allow(clippy::disallowed_methods, reason = "this is work that blocks, apart from tasks")]
        std::thread::sleep(PAUSE);
    }
    done?;
    Err(Refusal::Precondition.error(format!("device {} is in use", device.path().display())))
}

/// Shows a file as large as it is now.
pub(super) fn resize(tools: &Tools, device: &Device) -> Result<()> {
    tools.run("losetup", &["--set-capacity".as_ref(), device.path().as_os_str()]).map(drop)
}
