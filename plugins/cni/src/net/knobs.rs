//! Kernel parameters of the calling thread's network namespace.

use std::{fs, io, path::Path};

/// Turns a parameter on, where it is not.
pub(crate) fn turn_on(knob: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys/net").join(knob);
    if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    write_knob(knob, "1")
}

/// A parameter that the kernel does not have needs no setting.
pub(crate) fn write_knob(knob: &str, value: &str) -> io::Result<()> {
    match fs::write(Path::new("/proc/sys/net").join(knob), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot set net/{knob} to {value}: {error}"))),
        Ok(()) => Ok(()),
    }
}
