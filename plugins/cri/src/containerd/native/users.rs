//! Users: who a container's process is, by numbers, or by names that only the image's own files know.

use std::{
    fs::{self, File},
    io::Read,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use containerd_client::types::Mount;
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{GroupsPolicy, Security, User},
};

/// A file of users longer than this is none.
const LIMIT: u64 = 4 << 20;

/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) further: Vec<u32>,
}

/// The files of an image that say who is who.
#[derive(Debug, Default)]
pub(super) struct Names {
    passwd: String,
    group: String,
}

fn number(id: i64) -> Option<u32> {
    u32::try_from(id).ok()
}

impl Identity {
    /// The numbers of a text such as `65535:65535`.
    pub(super) fn of_numbers(text: &str) -> Option<Self> {
        let (user, group) = text.split_once(':').unwrap_or((text, "0"));
        Some(Self { uid: user.parse().ok()?, gid: group.parse().ok()?, further: Vec::new() })
    }

    /// The numbers that were asked for, where a user was.
    pub(super) fn wanted(security: &Security) -> Option<Self> {
        let Some(User::Id(id)) = &security.user else { return None };
        let further = security.supplemental_groups.iter().copied().filter_map(number).collect();
        Some(Self { uid: number(*id)?, gid: security.group.and_then(number).unwrap_or_default(), further })
    }

    /// As a label keeps it.
    pub(super) fn text(&self) -> String {
        let further: Vec<String> = self.further.iter().map(u32::to_string).collect();
        format!("{} {} {}", self.uid, self.gid, further.join(","))
    }
}

impl Names {
    /// Who a process of that image is. `of_image` is the image's own wish, such as `www` or `33:33`.
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a name that the image does not know.
    pub(super) fn resolve(&self, security: &Security, of_image: &str) -> Result<Identity> {
        let (user, group) = match (&security.user, of_image.split_once(':')) {
            (Some(User::Id(id)), _) => (id.to_string(), None),
            (Some(User::Name(name)), _) => (name.clone(), None),
            (None, Some((user, group))) => (user.to_owned(), Some(group.to_owned())),
            (None, None) => (of_image.to_owned(), None),
        };
        // Who is not named is root.
        let user = if user.is_empty() { "0".to_owned() } else { user };
        let unknown = |what: &str, name: &str| {
            Error::new(ErrorKind::Invalid, format!("the image knows no {what} {name:?}: give its number"))
        };
        let line = self
            .passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() > 3 && (fields[0] == user || fields[2] == user));
        let uid = match (&line, user.parse()) {
            (Some(fields), _) => fields[2].parse().unwrap_or_default(),
            (None, Ok(uid)) => uid,
            (None, Err(_)) => return Err(unknown("user", &user)),
        };
        let of_user = line.as_ref().and_then(|fields| fields[3].parse().ok()).unwrap_or_default();
        let gid = match (security.group.and_then(number), group.filter(|group| !group.is_empty())) {
            (Some(gid), _) => gid,
            (None, Some(group)) => self.group(&group).ok_or_else(|| unknown("group", &group))?,
            (None, None) => of_user,
        };
        let mut further: Vec<u32> = security.supplemental_groups.iter().copied().filter_map(number).collect();
        if security.groups_policy == GroupsPolicy::Merge {
            let name = line.as_ref().map_or(user.as_str(), |fields| fields[0]);
            further.extend(self.memberships(name));
        }
        further.sort_unstable();
        further.dedup();
        Ok(Identity { uid, gid, further })
    }

    fn group(&self, name: &str) -> Option<u32> {
        let known = self.groups().find(|fields| fields[0] == name).and_then(|fields| fields[2].parse().ok());
        known.or_else(|| name.parse().ok())
    }

    fn groups(&self) -> impl Iterator<Item = Vec<&str>> {
        self.group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() > 3)
    }

    fn memberships(&self, user: &str) -> impl Iterator<Item = u32> {
        let member = move |fields: &Vec<&str>| fields[3].split(',').any(|name| !name.is_empty() && name.trim() == user);
        self.groups().filter(member).filter_map(|fields| fields[2].parse().ok())
    }

    /// Reads them from a root file system that is mounted for that alone, where nobody else sees it. Blocks.
    pub(super) fn read(mounts: &[Mount], at: &Path) -> Result<Self> {
        let failed = |what: &str| {
            let message = format!("cannot {what} to look up users");
            move |error: std::io::Error| Error::new(ErrorKind::Internal, message).with_source(error)
        };
        fs::create_dir_all(at).map_err(failed("make a folder"))?;
        // Ends with its namespace, and the mounts with both.
        let read = std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().name("cri.users".into()).spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_NEWNS).map_err(|error| failed("leave the mounts")(error.into()))?;
                let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
                    .map_err(|error| failed("leave the mounts")(error.into()))?;
                for one in mounts {
                    attach(one, at).map_err(|error| failed("mount an image")(error.into()))?;
                }
                let root = open(at, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                    .map_err(|error| failed("open an image")(error.into()))?;
                Ok(Self { passwd: file_in(&root, "etc/passwd"), group: file_in(&root, "etc/group") })
            });
            let reader = reader.map_err(failed("start a thread"))?;
            reader.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "looking up users panicked")))
        });
        // An empty folder; whoever removes the container removes it too.
        let _ = fs::remove_dir(at);
        read
    }
}

/// Mounts one for reading.
fn attach(one: &Mount, at: &Path) -> nix::Result<()> {
    let mut flags = MsFlags::MS_RDONLY;
    let mut data = Vec::new();
    for option in &one.options {
        match option.as_str() {
            "bind" => flags |= MsFlags::MS_BIND,
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            "ro" | "rw" => {}
            other => data.push(other),
        }
    }
    let (kind, data) = (Some(one.r#type.as_str()).filter(|kind| *kind != "bind"), data.join(","));
    mount(Some(one.source.as_str()), at, kind, flags, Some(data.as_str()).filter(|data| !data.is_empty()))
}

/// A file below a root, by whatever links that do not leave it; empty if there is none.
fn file_in(root: &OwnedFd, path: &str) -> String {
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK);
    let how = how.resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let Ok(file) = openat2(root.as_fd(), path, how) else { return String::new() };
    let (file, mut text) = (File::from(file), Vec::new());
    // A pipe or a device in its place says nothing.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return String::new();
    }
    let _ = file.take(LIMIT).read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: Option<User>, of_image: &str, expect: Result<&str, &str>) {
        let names = Names {
            passwd: "root:x:0:0::/:/bin/sh\nwww:x:33:34::/:/bin/sh\n".into(),
            group: "root:x:0:\nweb:x:34:\nlogs:x:90:www,other\n".into(),
        };
        let security = Security { user, supplemental_groups: vec![7], ..Security::default() };
        match (names.resolve(&security, of_image), expect) {
            (Ok(identity), Ok(expect)) => assert_eq!(identity.text(), expect, "{of_image}"),
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            (other, _) => panic!("{of_image}: {other:?}"),
        }
    }

    #[test]
    fn users_are_looked_up_in_the_image() {
        check(None, "", Ok("0 0 7"));
        check(None, "www", Ok("33 34 7,90"));
        check(None, "www:logs", Ok("33 90 7,90"));
        check(None, "33", Ok("33 34 7,90"));
        check(None, "1000:2000", Ok("1000 2000 7"));
        check(Some(User::Id(1000)), "www", Ok("1000 0 7"));
        check(Some(User::Name("www".into())), "", Ok("33 34 7,90"));
        check(Some(User::Name("nobody".into())), "", Err("no user \"nobody\""));
        check(None, "www:nobody", Err("no group \"nobody\""));
    }
}
