//! The guestbook's images: redis and nginx from Debian's packages, the front end from this repository.

use std::path::Path;

use anyhow::Result;
use windlass_cri::containerd::oci::Recipe;

use super::program;
use crate::built;

/// The front end's versions. They differ in what they say that they are.
const VERSIONS: [(&str, &str); 2] = [("guestbook-frontend-v1.tar", "v1"), ("guestbook-frontend-v2.tar", "v2")];

/// Who the programs run as, by name.
const USERS: &str = "root:x:0:0:root:/:/bin/false\nwww-data:x:33:33:www-data:/:/bin/false\n\
                     redis:x:999:999:redis:/data:/bin/false\nfrontend:x:65532:65532:frontend:/:/bin/false\n";
const GROUPS: &str = "root:x:0:\nwww-data:x:33:\nredis:x:999:\nfrontend:x:65532:\n";

/// Every image with the name of its archive. Builds the front end first.
pub(super) fn recipes() -> Result<Vec<(&'static str, Recipe)>> {
    let mut recipes = vec![("redis.tar", redis()?), ("nginx.tar", nginx()?)];
    let frontend = built::release("guestbook-frontend")?;
    for (archive, version) in VERSIONS {
        recipes.push((archive, self::frontend(&frontend, version)?));
    }
    Ok(recipes)
}

fn redis() -> Result<Recipe> {
    let recipe = base("registry.local/redis:7.0").folder("/data", 0o1777);
    let recipe = program::add(recipe, Path::new("/usr/bin/redis-server"), "/usr/bin/redis-server")?;
    let recipe = program::add(recipe, Path::new("/usr/bin/redis-cli"), "/usr/bin/redis-cli")?;
    // `kubectl cp` is tar at both ends.
    let recipe = program::add(recipe, Path::new("/usr/bin/tar"), "/usr/bin/tar")?;
    Ok(recipe.entrypoint(&["/usr/bin/redis-server"]).user("999:999"))
}

/// Its configuration is the deployment's business.
fn nginx() -> Result<Recipe> {
    let recipe = base("registry.local/nginx:1.22");
    // Where it was built to find things, whatever its configuration says.
    let recipe = recipe.folder("/var/log/nginx", 0o1777).folder("/var/lib/nginx", 0o1777).folder("/etc/nginx", 0o755);
    let recipe = program::add(recipe, Path::new("/usr/sbin/nginx"), "/usr/sbin/nginx")?;
    Ok(recipe.entrypoint(&["/usr/sbin/nginx", "-e", "stderr"]).user("33:33"))
}

fn frontend(binary: &Path, version: &str) -> Result<Recipe> {
    let recipe = base(&format!("registry.local/guestbook-frontend:{version}"));
    let recipe = program::add(recipe, binary, "/guestbook-frontend")?;
    Ok(recipe.entrypoint(&["/guestbook-frontend", version]).user("65532:65532"))
}

/// What every program expects to find.
fn base(name: &str) -> Recipe {
    Recipe::named(name).folder("/tmp", 0o1777).file("/etc/passwd", 0o644, USERS).file("/etc/group", 0o644, GROUPS).file(
        "/etc/nsswitch.conf",
        0o644,
        "hosts: files dns\n",
    )
}
