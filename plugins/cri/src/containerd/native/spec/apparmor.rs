//! AppArmor: by which of the kernel's profiles a container is confined. Profiles are loaded by whoever sets the machine up:
//! nothing is loaded here.

use std::{fs, io, path::Path};

use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{Security, SecurityProfile},
};

/// Where the kernel tells of AppArmor.
pub(super) const KERNEL: &str = "/sys/kernel/security/apparmor";
/// What containerd's own CRI loads, and gives to containers that name no other.
const DEFAULT: &str = "cri-containerd.apparmor.d";

/// The profile of a container, which has to be loaded.
///
/// A container that says nothing has the default where that is loaded, and is unconfined where it is not, as is a privileged one
/// that names no profile.
pub(super) fn profile(security: &Security, kernel: &Path) -> Result<Option<String>> {
    let wanted = match &security.apparmor {
        Some(SecurityProfile::Unconfined) => return Ok(None),
        None | Some(SecurityProfile::RuntimeDefault) if security.privileged => return Ok(None),
        None => return Ok(loaded(kernel)?.unwrap_or_default().contains(DEFAULT).then(|| DEFAULT.to_owned())),
        Some(SecurityProfile::RuntimeDefault) => DEFAULT,
        Some(SecurityProfile::Localhost(name)) => name,
    };
    let refused = |message: String| Error::new(ErrorKind::Invalid, message);
    let Some(loaded) = loaded(kernel)? else {
        let cure = "leave the profile out, or use a node whose kernel has it";
        return Err(refused(format!("AppArmor's profile {wanted} cannot be set: this kernel has no AppArmor; {cure}")));
    };
    if !loaded.contains(wanted) {
        let cure = "load it on the node with apparmor_parser, or name the profile Unconfined";
        return Err(refused(format!("AppArmor's profile {wanted} is not loaded: {cure}")));
    }
    Ok(Some(wanted.to_owned()))
}

/// Names of profiles, one a line, each with its mode behind it.
#[derive(Debug, Default)]
struct Loaded(String);

impl Loaded {
    fn contains(&self, name: &str) -> bool {
        self.0.lines().any(|line| line.rsplit_once(" (").map_or(line, |(name, _)| name) == name)
    }
}

/// What is loaded; `None` where the kernel has no AppArmor.
fn loaded(kernel: &Path) -> Result<Option<Loaded>> {
    let path = kernel.join("profiles");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Loaded(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read {}", path.display());
            Err(Error::new(ErrorKind::Internal, message).with_source(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(loaded: Option<&str>, asked: Option<&SecurityProfile>, expect: Result<Option<&str>, &str>) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(loaded) = loaded {
            fs::write(folder.path().join("profiles"), loaded).unwrap();
        }
        let security = Security { apparmor: asked.cloned(), ..Security::default() };
        let found = profile(&security, folder.path());
        match (&found, expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found.as_deref(), expect, "{loaded:?} {asked:?}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            _ => panic!("{loaded:?} {asked:?}: {found:?}"),
        }
        let privileged = Security { privileged: true, ..security };
        let named = matches!(asked, Some(SecurityProfile::Localhost(_)));
        let expect = found.ok().flatten().filter(|_| named);
        assert_eq!(profile(&privileged, folder.path()).ok().flatten(), expect, "{loaded:?} {asked:?}, privileged");
    }

    #[test]
    fn a_profile_is_taken_from_those_that_are_loaded() {
        const WITH: &str = "cri-containerd.apparmor.d (enforce)\na profile (complain)\n";
        const WITHOUT: &str = "cri-containerd.apparmor.d.old (enforce)\n";
        let local = SecurityProfile::Localhost("a profile".into());
        check(Some(WITH), Some(&SecurityProfile::RuntimeDefault), Ok(Some(DEFAULT)));
        check(Some(WITH), None, Ok(Some(DEFAULT)));
        check(Some(WITH), Some(&local), Ok(Some("a profile")));
        check(Some(WITH), Some(&SecurityProfile::Unconfined), Ok(None));
        check(Some(WITHOUT), Some(&SecurityProfile::RuntimeDefault), Err("is not loaded: load it"));
        check(Some(WITHOUT), None, Ok(None));
        check(Some(WITHOUT), Some(&local), Err("a profile is not loaded"));
        check(None, Some(&SecurityProfile::RuntimeDefault), Err("this kernel has no AppArmor"));
        check(None, Some(&local), Err("this kernel has no AppArmor"));
        check(None, None, Ok(None));
    }
}
