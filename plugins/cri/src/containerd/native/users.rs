//! Users: who a container's process is, by numbers, or by names that only the image's own files know.

use std::{
    env,
    fs::{self, File},
    io::Read,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use containerd_client::types::Mount;
use nix::{
    errno::Errno,
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
    /// Who a process is where numbers say it all; `None` where a name has to be looked up. `of_image` is as for
    /// [`Names::resolve`].
    ///
    /// [`Invalid`](ErrorKind::Invalid) for a number out of range.
    pub(super) fn of_numbers(security: &Security, of_image: &str) -> Result<Option<Self>> {
        let (user, group) = asked(security, of_image);
        let Groups { main, further } = Groups::of(security)?;
        // Nobody in particular is root.
        let id = if user.is_empty() { Ok(0) } else { user.parse::<i64>() };
        let gid = group.filter(|group| !group.is_empty()).unwrap_or("0").parse();
        let (Ok(id), Ok(gid)) = (id, gid) else { return Ok(None) };
        let uid = number(id).ok_or_else(|| unknown("user", &user))?;
        Ok(Some(Self { uid, gid: main.unwrap_or(gid), further }))
    }
}

/// The user that is asked for, and the group that the image has for it.
fn asked<'a>(security: &Security, of_image: &'a str) -> (String, Option<&'a str>) {
    match (&security.user, of_image.split_once(':')) {
        (Some(User::Id(id)), _) => (id.to_string(), None),
        (Some(User::Name(name)), _) => (name.clone(), None),
        (None, Some((user, group))) => (user.to_owned(), Some(group)),
        (None, None) => (of_image.to_owned(), None),
    }
}

/// The groups that are asked for.
struct Groups {
    main: Option<u32>,
    further: Vec<u32>,
}

impl Groups {
    fn of(security: &Security) -> Result<Self> {
        let group = |id: i64| number(id).ok_or_else(|| unknown("group", &id.to_string()));
        let further = security.supplemental_groups.iter().map(|id| group(*id)).collect::<Result<_>>()?;
        Ok(Self { main: security.group.map(group).transpose()?, further })
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the image knows no {what} {name:?}: give its number"))
}

impl Names {
    /// Who a process of that image is. `of_image` is the image's own wish, such as `www` or `33:33`.
    ///
    /// A number is that user, whatever the image calls its users: the image only says which groups it is in.
    /// [`Invalid`](ErrorKind::Invalid) for a name that the image does not know, and where it knows no number for it.
    pub(super) fn resolve(&self, security: &Security, of_image: &str) -> Result<Identity> {
        let (user, group) = asked(security, of_image);
        let Groups { main, mut further } = Groups::of(security)?;
        let (uid, line) = self.user(&user)?;
        let gid = match (main, group.filter(|group| !group.is_empty()), &line) {
            (Some(gid), _, _) => gid,
            (None, Some(group), _) => self.group(group).ok_or_else(|| unknown("group", group))?,
            (None, None, Some(fields)) => fields[3].parse().map_err(|_| unknown("group of user", &user))?,
            (None, None, None) => 0,
        };
        if let (GroupsPolicy::Merge, Some(fields)) = (security.groups_policy, &line) {
            further.extend(self.memberships(fields[0]));
        }
        further.sort_unstable();
        further.dedup();
        Ok(Identity { uid, gid, further })
    }

    /// The number of a user, and its line if it has one. A number is looked for among numbers only, and a name among names.
    fn user(&self, user: &str) -> Result<(u32, Option<Vec<&str>>)> {
        let mut lines = self.passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let mut line = |of_user: &dyn Fn(&[&str]) -> bool| lines.find(|fields| fields.len() > 3 && of_user(fields));
        // Nobody in particular is root.
        let asked = if user.is_empty() { Ok(0) } else { user.parse::<i64>() };
        if let Ok(asked) = asked {
            // One that is out of range is no name either.
            let uid = number(asked).ok_or_else(|| unknown("user", user))?;
            return Ok((uid, line(&|fields| fields[2].parse() == Ok(uid))));
        }
        let fields = line(&|fields| fields[0] == user).ok_or_else(|| unknown("user", user))?;
        Ok((fields[2].parse().map_err(|_| unknown("number of user", user))?, Some(fields)))
    }

    /// The number of a group; a number is itself.
    fn group(&self, name: &str) -> Option<u32> {
        let known = || self.groups().find(|fields| fields[0] == name).and_then(|fields| fields[2].parse().ok());
        name.parse().ok().or_else(known)
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
        // It is empty here: what was mounted was never seen outside. One that stays goes when the runtime is started anew.
        let _ = fs::remove_dir(at);
        read
    }
}

/// Mounts one for reading. Changes the working directory, which has to be the calling thread's own.
fn attach(one: &Mount, at: &Path) -> nix::Result<()> {
    let mut flags = MsFlags::MS_RDONLY;
    let mut data = Vec::new();
    for option in &one.options {
        match option.as_str() {
            "bind" => flags |= MsFlags::MS_BIND,
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            "ro" | "rw" => {}
            other => data.push(other.to_owned()),
        }
    }
    if let Some((folder, shorter)) = shortened(&data) {
        env::set_current_dir(folder).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        data = shorter;
    }
    let (kind, data) = (Some(one.r#type.as_str()).filter(|kind| *kind != "bind"), data.join(","));
    mount(Some(one.source.as_str()), at, kind, flags, Some(data.as_str()).filter(|data| !data.is_empty()))
}

/// The lower folders of an overlay by paths below one that they share: the kernel takes a page of options at the most, where
/// whole paths of more than some fifty layers have no room.
fn shortened(options: &[String]) -> Option<(PathBuf, Vec<String>)> {
    const LOWER: &str = "lowerdir=";
    let lower = options.iter().find_map(|option| option.strip_prefix(LOWER))?;
    let folders: Vec<&str> = lower.split(':').collect();
    // A colon in a path is written with a backslash: such paths are left alone.
    if lower.contains('\\') || folders.iter().any(|folder| !folder.starts_with('/')) {
        return None;
    }
    let shared = folders.iter().skip(1).fold(folders[0], |shared, folder| {
        let same = shared.bytes().zip(folder.bytes()).take_while(|(a, b)| a == b).count();
        shared.get(..same).unwrap_or("/")
    });
    let parent = &shared[..=shared.rfind('/')?];
    let below: Option<Vec<&str>> = folders.iter().map(|folder| folder.strip_prefix(parent)).collect();
    let below = below?.join(":");
    let shorter = |option: &String| match option.starts_with(LOWER) {
        true => format!("{LOWER}{below}"),
        false => option.clone(),
    };
    Some((PathBuf::from(parent), options.iter().map(shorter).collect()))
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
            passwd: "root:x:0:0::/:/bin/sh\nwww:x:33:34::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n1001:x:zz:\nodd:x:zz:0\n\
                     -1:x:0:0\n4294967296:x:0:0\n\
                     none:x:44:zz\n"
                .into(),
            group: "root:x:0:\nweb:x:34:\nlogs:x:90:www,other\nall:x:91:1000,www\n2000:x:0:\n".into(),
        };
        let security = Security { user, supplemental_groups: vec![7], ..Security::default() };
        match (names.resolve(&security, of_image), expect) {
            (Ok(Identity { uid, gid, further }), Ok(expect)) => {
                let further: Vec<String> = further.iter().map(u32::to_string).collect();
                assert_eq!(format!("{uid} {gid} {}", further.join(",")), expect, "{of_image}");
            }
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            (other, _) => panic!("{of_image}: {other:?}"),
        }
    }

    #[test]
    fn a_number_is_that_user_whatever_the_image_calls_its_users() {
        check(Some(User::Id(1000)), "", Ok("1000 0 7"));
        check(Some(User::Id(1001)), "", Ok("1001 0 7"));
        check(Some(User::Id(33)), "", Ok("33 34 7,90,91"));
        check(None, "1000", Ok("1000 0 7"));
        check(None, "1001:2000", Ok("1001 2000 7"));
        check(Some(User::Name("1000".into())), "", Ok("1000 0 7"));
        check(Some(User::Id(-1)), "", Err("no user \"-1\""));
        check(None, "4294967296", Err("no user \"4294967296\""));
        check(None, "odd", Err("no number of user \"odd\""));
        check(None, "none", Err("no group of user \"none\""));
        check(None, "none:web", Ok("44 34 7"));
    }

    #[test]
    fn numbers_need_no_names() {
        let check = |user: Option<User>, group: Option<i64>, of_image: &str, expect: Result<Option<&str>, &str>| {
            let security = Security { user, group, supplemental_groups: vec![7], ..Security::default() };
            let told = Identity::of_numbers(&security, of_image);
            let told = told.map(|who| who.map(|who| format!("{} {} {:?}", who.uid, who.gid, who.further)));
            match (told, expect) {
                (Ok(told), Ok(expect)) => assert_eq!(told.as_deref(), expect, "{of_image}"),
                (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
                (other, _) => panic!("{of_image}: {other:?}"),
            }
        };
        check(None, None, "", Ok(Some("0 0 [7]")));
        check(None, None, "65535:65534", Ok(Some("65535 65534 [7]")));
        check(None, None, "65535", Ok(Some("65535 0 [7]")));
        check(None, None, "nonroot", Ok(None));
        check(None, None, "65535:nogroup", Ok(None));
        check(Some(User::Id(1000)), Some(5), "nonroot:nogroup", Ok(Some("1000 5 [7]")));
        check(Some(User::Name("www".into())), None, "65535", Ok(None));
        check(Some(User::Id(-1)), None, "", Err("no user \"-1\""));
        check(Some(User::Id(1)), Some(1 << 32), "", Err("no group \"4294967296\""));
        check(None, None, "4294967296", Err("no user \"4294967296\""));
    }

    #[test]
    fn folders_of_many_layers_have_room() {
        let at = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots";
        let options = |lower: &str| ["index=off", &format!("lowerdir={lower}")].map(str::to_owned).to_vec();
        for (lower, expect) in [
            (format!("{at}/12/fs:{at}/1/fs"), Some((format!("{at}/"), "12/fs:1/fs"))),
            (format!("{at}/12/fs:{at}/12/fs2"), Some((format!("{at}/12/"), "fs:fs2"))),
            (format!("{at}/1/fs"), Some((format!("{at}/1/"), "fs"))),
            ("/a:/b".into(), Some(("/".into(), "a:b"))),
            ("/a\\:b:/c".into(), None),
            ("a:b".into(), None),
        ] {
            let expect = expect.map(|(folder, below)| (PathBuf::from(folder), options(below)));
            assert_eq!(shortened(&options(&lower)), expect, "{lower}");
        }
        assert_eq!(shortened(&["size=1m".to_owned()]), None);
    }

    #[test]
    fn users_are_looked_up_in_the_image() {
        check(None, "", Ok("0 0 7"));
        check(None, "www", Ok("33 34 7,90,91"));
        check(None, "www:logs", Ok("33 90 7,90,91"));
        check(None, "33", Ok("33 34 7,90,91"));
        check(None, "1000:2000", Ok("1000 2000 7"));
        check(Some(User::Id(1000)), "www", Ok("1000 0 7"));
        check(Some(User::Name("www".into())), "", Ok("33 34 7,90,91"));
        check(Some(User::Name("nobody".into())), "", Err("no user \"nobody\""));
        check(None, "www:nobody", Err("no group \"nobody\""));
    }
}
