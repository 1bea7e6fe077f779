//! Images that are made here, without a registry: what a node needs before it can pull anything, and the guestbook's.

mod database;
mod guestbook;
mod program;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use windlass_cri::containerd::oci::Recipe;

/// The image of sandboxes, by the name that containerd is told.
pub(crate) const PAUSE: &str = "registry.local/pause:3.9";

/// A shell and the usual small programs.
pub(crate) const BUSYBOX: &str = "registry.local/busybox:1.35";

/// The images that can be named, beside those that every node needs.
const GUESTBOOK: &str = "guestbook";
const DATABASE: &str = "mariadb";
/// It is built in any case: by its name nothing is built beside it.
const ALWAYS: &str = "busybox";

const SOURCE: &str = include_str!("images/pause.c");

/// Writes archives of images into a folder and lists them: those named, or the usual ones.
pub(crate) fn run(folder: &Path, names: &[String]) -> Result<()> {
    for archive in build(folder, names)? {
        println!("{}", archive.display());
    }
    Ok(())
}

/// Writes archives of images into a folder: those named, or the usual ones. The same programs give the same bytes.
pub(crate) fn build(folder: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut recipes = vec![("pause.tar", pause(folder)?), ("busybox.tar", busybox(Path::new("/bin/busybox"))?)];
    let more: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    if let Some(unknown) = more.iter().find(|name| !matches!(**name, ALWAYS | GUESTBOOK | DATABASE)) {
        bail!("there is no image {unknown:?}: there are {ALWAYS}, {GUESTBOOK} and {DATABASE}");
    }
    if more.is_empty() || more.contains(GUESTBOOK) {
        recipes.extend(guestbook::recipes()?);
    }
    if more.contains(DATABASE) {
        recipes.push(database::recipe()?);
    }
    let mut archives = Vec::new();
    for (name, recipe) in recipes {
        let (archive, fresh) = (folder.join(name), folder.join(format!(".{name}.new")));
        recipe.save(&fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, &archive).with_context(|| format!("cannot write {}", archive.display()))?;
        archives.push(archive);
    }
    Ok(archives)
}

/// Compiles the pause program and wraps it.
fn pause(folder: &Path) -> Result<Recipe> {
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&source);
    ensure!(compiler.status().context("cannot run cc")?.success(), "cc refused {}", source.display());
    let binary = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    for left in [&source, &program] {
        fs::remove_file(left).with_context(|| format!("cannot remove {}", left.display()))?;
    }
    Ok(Recipe::named(PAUSE).file("/pause", 0o755, binary).entrypoint(&["/pause"]).user("65535:65535"))
}

/// Wraps a static busybox with a link for each program that it has.
fn busybox(program: &Path) -> Result<Recipe> {
    let binary = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let list = Command::new(program).arg("--list").output().context("cannot ask busybox for its programs")?;
    let recipe = Recipe::named(BUSYBOX).also("docker.io/library/busybox:1.35").also("docker.io/library/busybox:latest");
    let recipe = recipe.file("/bin/busybox", 0o755, binary).folder("/tmp", 0o1777).folder("/root", 0o700);
    let recipe = recipe
        .file("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        .file("/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n");
    let names = String::from_utf8_lossy(&list.stdout).into_owned();
    let names = names.lines().filter(|name| *name != "busybox");
    Ok(names.fold(recipe, |recipe, name| recipe.link(&format!("/bin/{name}"), "busybox")).arguments(&["sh"]))
}
