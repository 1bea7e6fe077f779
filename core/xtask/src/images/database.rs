//! A database's image: MariaDB from Debian's packages.

use std::path::Path;

use anyhow::Result;
use windlass_cri::containerd::oci::Recipe;

use super::program;

/// Who it runs as, by name.
const USERS: &str = "root:x:0:0:root:/:/bin/false\nmysql:x:998:998:mysql:/:/bin/false\n";
const GROUPS: &str = "root:x:0:\nmysql:x:998:\n";

/// Where it was built to find what it says.
const MESSAGES: &str = "/usr/share/mysql/english/errmsg.sys";

/// The image with the name of its archive. It runs as a user of its own, and keeps its data in `/var/lib/mysql`.
pub(super) fn recipe() -> Result<(&'static str, Recipe)> {
    let recipe = Recipe::named("registry.local/mariadb:10.11").folder("/tmp", 0o1777).folder("/var/lib/mysql", 0o755);
    let recipe = recipe.file("/etc/passwd", 0o644, USERS).file("/etc/group", 0o644, GROUPS);
    let recipe = program::add(recipe, Path::new("/usr/sbin/mariadbd"), "/usr/sbin/mariadbd")?;
    let recipe = program::add(recipe, Path::new("/usr/bin/mariadb"), "/usr/bin/mariadb")?;
    let recipe = program::copy(recipe, Path::new(MESSAGES), MESSAGES)?;
    Ok(("mariadb.tar", recipe.entrypoint(&["/usr/sbin/mariadbd", "--no-defaults"]).user("998:998")))
}
