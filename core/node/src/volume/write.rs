//! Writes a volume's files so that readers see all old or all new ones: a folder per version and a link that is replaced.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use super::File;

/// The link that leads to the present version.
const DATA: &str = "..data";

/// Makes `folder` hold exactly `files`. Nothing is written if it does already.
pub(crate) fn write(folder: &Path, files: &[File], version: &str, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let data = folder.join(DATA);
    let before = fs::read_link(&data).ok();
    if before.as_ref().is_some_and(|before| same(&folder.join(before), files)) {
        return Ok(());
    }
    let name = format!("..{version}");
    let next = folder.join(&name);
    let _ = fs::remove_dir_all(&next);
    fs::create_dir(&next)?;
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755))?;
    for file in files {
        let path = next.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.content)?;
        // With a group of its own, a volume's files can be read by that group.
        let mode = if group.is_some() { file.mode | (file.mode & 0o400) >> 3 } else { file.mode };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o7777))?;
    }
    if let Some(group) = group {
        super::place::own(&next, group)?;
    }
    let swap = folder.join("..data_tmp");
    let _ = fs::remove_file(&swap);
    symlink(&name, &swap)?;
    fs::rename(&swap, &data)?;
    // What users see are links to what the link leads to.
    let tops: std::collections::BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    for top in &tops {
        let link = folder.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(top), &link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with("..")) else { continue };
        if !tops.contains(name) {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(before) = before.filter(|before| before.as_os_str() != name.as_str()) {
        fs::remove_dir_all(folder.join(before))?;
    }
    Ok(())
}

fn same(version: &Path, files: &[File]) -> bool {
    let equal = |file: &File| fs::read(version.join(&file.path)).is_ok_and(|content| content == file.content);
    files.iter().all(equal) && count(version).is_ok_and(|count| count == files.len())
}

fn count(folder: &Path) -> io::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        found += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> File {
        File { path: path.into(), mode: 0o600, content: content.into() }
    }

    #[test]
    fn a_new_version_replaces_the_old_one_whole() {
        let folder = std::env::temp_dir().join(format!("windlass-write-{}", std::process::id()));
        let read = |path: &str| fs::read_to_string(folder.join(path)).ok();
        write(&folder, &[file("a", "1"), file("d/x", "2")], "one", None).unwrap();
        assert_eq!((read("a").as_deref(), read("d/x").as_deref()), (Some("1"), Some("2")));
        write(&folder, &[file("a", "1"), file("d/x", "2")], "two", None).unwrap();
        assert_eq!(fs::read_link(folder.join("..data")).unwrap(), Path::new("..one"), "nothing changed");
        write(&folder, &[file("a", "3")], "three", None).unwrap();
        assert_eq!((read("a").as_deref(), read("d/x")), (Some("3"), None));
        assert!(!folder.join("..one").exists() && !folder.join("d").is_symlink());
        fs::remove_dir_all(&folder).unwrap();
    }
}
