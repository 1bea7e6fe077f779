//! A program of this machine as a part of an image: the file and the libraries that it is linked to.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use windlass_cri::containerd::oci::Recipe;

/// Puts a program at a path of the image, and its libraries where its loader looks for them.
pub(super) fn add(recipe: Recipe, program: &Path, to: &str) -> Result<Recipe> {
    let mut recipe = copy(recipe, program, to)?;
    for library in libraries(program)? {
        recipe = copy(recipe, &library, &library.to_string_lossy())?;
    }
    Ok(recipe)
}

/// Copies a file's content; a link is followed.
pub(super) fn copy(recipe: Recipe, from: &Path, to: &str) -> Result<Recipe> {
    let cannot = || format!("cannot read {}", from.display());
    let content = fs::read(from).with_context(cannot)?;
    let mode = fs::metadata(from).with_context(cannot)?.permissions().mode() & 0o777;
    Ok(recipe.file(to, mode, content))
}

fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() && !text.contains("not a dynamic executable") {
        bail!("ldd cannot read {}: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    if let Some(lost) = text.lines().find(|line| line.contains("not found")) {
        bail!("{} lacks a library: {}", program.display(), lost.trim());
    }
    Ok(text.lines().filter_map(library).map(PathBuf::from).collect())
}

/// The path in a line such as `libm.so.6 => /lib/libm.so.6 (0x…)` or `/lib64/ld-linux.so.2 (0x…)`.
fn library(line: &str) -> Option<&str> {
    let line = line.trim();
    let path = line.split_once(" => ").map_or(line, |(_, path)| path);
    path.split(' ').next().filter(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<&str>) {
        assert_eq!(library(line), expect, "{line:?}");
    }

    #[test]
    fn libraries_are_named_by_their_paths() {
        check("\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f)", Some("/lib/x/libm.so.6"));
        check("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", Some("/lib64/ld-linux-x86-64.so.2"));
        check("\tlinux-vdso.so.1 (0x00007f)", None);
        check("\tstatically linked", None);
    }
}
