//! Whether a path of the node is what a pod says it is (HostPathVolumeSource.type). A runtime would make a folder of
//! whatever is missing, so this comes first.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

/// Checks the path, and makes it where the type says so.
pub(super) fn check(path: &Path, kind: &str) -> Result<(), String> {
    let meta = fs::metadata(path).ok();
    let made = |error: std::io::Error| format!("cannot make {}: {error}", path.display());
    let fits = match (kind, &meta) {
        ("", Some(_)) => true,
        // Without a type, what is missing is made a folder.
        ("" | "DirectoryOrCreate", None) => {
            fs::create_dir_all(path).map_err(made)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(made)?;
            true
        }
        ("FileOrCreate", None) => {
            fs::OpenOptions::new().create(true).append(true).open(path).map_err(made)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(made)?;
            true
        }
        ("DirectoryOrCreate" | "Directory", Some(meta)) => meta.is_dir(),
        ("FileOrCreate" | "File", Some(meta)) => meta.is_file(),
        ("Socket", Some(meta)) => meta.file_type().is_socket(),
        ("CharDevice", Some(meta)) => meta.file_type().is_char_device(),
        ("BlockDevice", Some(meta)) => meta.file_type().is_block_device(),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("hostPath type check failed: {} is not {}", path.display(), article(kind))) }
}

fn article(kind: &str) -> String {
    match kind {
        "Directory" | "DirectoryOrCreate" => "a directory".into(),
        "File" | "FileOrCreate" => "a file".into(),
        "Socket" => "a socket file".into(),
        "CharDevice" => "a character device".into(),
        "BlockDevice" => "a block device".into(),
        other => format!("of the known type {other:?}"),
    }
}
