//! Parameters of classes and contexts of volumes, by the names that csi-driver-nfs gave them. Names have no case.

use std::collections::BTreeMap;

use windlass_kernel::{Error, ErrorKind, Result};

use super::id::{Export, OnDelete, below, is_folder};

/// The name of the folder, in a volume's context.
pub(super) const FOLDER: &str = "subDir";

/// What parameters say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) server: String,
    pub(super) share: String,
    /// The folder, with its words put in.
    pub(super) folder: Option<String>,
    pub(super) on_delete: OnDelete,
    /// The mode that the folder is given; `None` leaves it as it is.
    pub(super) mode: Option<u32>,
    /// More options of mounts.
    pub(super) options: Vec<String>,
}

/// Words of folders, and the parameters that they stand for.
const WORDS: [(&str, &str); 3] = [
    ("${pvc.metadata.name}", "csi.storage.k8s.io/pvc/name"),
    ("${pvc.metadata.namespace}", "csi.storage.k8s.io/pvc/namespace"),
    ("${pv.metadata.name}", "csi.storage.k8s.io/pv/name"),
];

impl Parameters {
    /// The parameters of a class. What is not known is refused.
    pub(super) fn of_class(words: &BTreeMap<String, String>) -> Result<Self> {
        Self::read(words, true)
    }

    /// The context of a volume, which may have whatever orchestrators add.
    pub(super) fn of_context(words: &BTreeMap<String, String>) -> Result<Self> {
        Self::read(words, false)
    }

    fn read(words: &BTreeMap<String, String>, strict: bool) -> Result<Self> {
        let mut own = Self::default();
        let mut folder = None;
        for (name, value) in words {
            let wrong =
                |what: &str| Error::new(ErrorKind::Invalid, format!("parameter {name}: {value:?} is no {what}"));
            match name.to_ascii_lowercase().as_str() {
                "server" => own.server.clone_from(value),
                "share" => own.share = absolute(value),
                "subdir" => folder = Some(value.as_str()).filter(|value| !value.is_empty()),
                "ondelete" => {
                    let read = OnDelete::read(value);
                    own.on_delete = read.ok_or_else(|| wrong("delete, retain or archive"))?;
                }
                "mountpermissions" => {
                    let mode = if value.is_empty() { Ok(0) } else { u32::from_str_radix(value, 8) };
                    let mode = mode.ok().filter(|mode| *mode <= 0o7777).ok_or_else(|| wrong("mode in octal"))?;
                    own.mode = (mode > 0).then_some(mode);
                }
                "mountoptions" if !strict => own.options = options(value),
                name if WORDS.iter().any(|(_, parameter)| *parameter == name) || !strict => {}
                _ => return Err(Error::new(ErrorKind::Invalid, format!("parameter {name} is not known"))),
            }
        }
        if let Some(template) = folder {
            own.folder = Some(filled(template, words)?);
        }
        Ok(own)
    }

    /// The share; refused where it is not said.
    pub(super) fn share(&self) -> Result<Export> {
        let missing = |what: &str| Error::new(ErrorKind::Invalid, format!("parameter {what} is required"));
        if self.server.is_empty() {
            return Err(missing("server"));
        }
        if self.share.is_empty() {
            return Err(missing("share"));
        }
        if self.share.split('/').any(|part| part == "..") || self.share.contains(['\0', '#']) {
            return Err(Error::new(ErrorKind::Invalid, format!("parameter share: {:?} is no path", self.share)));
        }
        Ok(Export { server: self.server.clone(), path: self.share.clone() })
    }

    /// What is mounted for a volume: the share, or a folder of it.
    pub(super) fn export(&self) -> Result<Export> {
        let share = self.share()?;
        Ok(self.folder.as_ref().map_or_else(|| share.clone(), |folder| below(&share, folder)))
    }
}

fn absolute(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("/{}", path.trim_matches('/')) }
}

/// Options as they stand in one word.
pub(super) fn options(word: &str) -> Vec<String> {
    word.split(',').map(str::trim).filter(|option| !option.is_empty()).map(str::to_owned).collect()
}

/// A folder with the words of its template put in.
fn filled(template: &str, words: &BTreeMap<String, String>) -> Result<String> {
    let mut folder = template.to_owned();
    for (word, parameter) in WORDS {
        if !folder.contains(word) {
            continue;
        }
        let value = words.get(parameter).ok_or_else(|| {
            let message =
                format!("parameter subDir: {word} is not known, since the provisioner does not tell {parameter}");
            Error::new(ErrorKind::Invalid, message)
        })?;
        folder = folder.replace(word, value);
    }
    let folder = folder.trim_matches('/').to_owned();
    if is_folder(&folder) {
        return Ok(folder);
    }
    Err(Error::new(ErrorKind::Invalid, format!("parameter subDir: {folder:?} is no folder of the share")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[(&str, &str)]) -> BTreeMap<String, String> {
        words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_are_read_without_case() {
        let all = words(&[
            ("Server", "a"),
            ("share", "srv/data/"),
            ("subdir", "of/${pvc.metadata.namespace}-${pvc.metadata.name}"),
            ("onDelete", "Archive"),
            ("mountPermissions", "0770"),
            ("csi.storage.k8s.io/pvc/name", "data"),
            ("csi.storage.k8s.io/pvc/namespace", "team"),
        ]);
        let own = Parameters::of_class(&all).unwrap();
        assert_eq!(own.share().unwrap().to_string(), "a:/srv/data");
        assert_eq!(own.export().unwrap().to_string(), "a:/srv/data/of/team-data");
        assert_eq!((own.on_delete, own.mode), (OnDelete::Archive, Some(0o770)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |more: &[(&str, &str)], part: &str| {
            let all: Vec<_> = [&[("server", "a"), ("share", "/srv")], more].concat();
            let error = Parameters::of_class(&words(&all)).unwrap_err();
            assert!(error.is(ErrorKind::Invalid) && error.message().contains(part), "{error}");
        };
        check(&[("size", "1")], "parameter size");
        check(&[("onDelete", "burn")], "\"burn\"");
        check(&[("mountPermissions", "999")], "\"999\"");
        check(&[("subDir", "../x")], "no folder");
        check(&[("subDir", ".windlass-csi/x")], "no folder");
        check(&[("subDir", "${pvc.metadata.name}")], "csi.storage.k8s.io/pvc/name");
        check(&[("mountOptions", "soft")], "parameter mountOptions");
        let bare = Parameters::of_class(&words(&[("server", "a")])).unwrap();
        assert!(bare.share().unwrap_err().message().contains("share is required"));
    }

    #[test]
    fn contexts_may_have_more() {
        let all = words(&[("server", "a"), ("share", "/"), ("mountOptions", "soft, timeo=30"), ("other", "x")]);
        let own = Parameters::of_context(&all).unwrap();
        assert_eq!(
            (own.export().unwrap().to_string(), own.options),
            ("a:/".into(), vec!["soft".into(), "timeo=30".into()])
        );
    }
}
