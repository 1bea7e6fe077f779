//! Who has which address: a file for each, in the layout of the well-known `host-local` plugin, so that either finds the
//! other's.
//!
//! A file appears with its content in one step, under a lock that dies with its holder. A process that is killed between
//! two steps leaves reservations that name their owner: DEL and GC free them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use windlass_kernel::{
    Error, ErrorKind, Result,
    network::{AddressRange, AttachmentKey},
};

use super::{
    failed,
    ranges::{self, Choice},
};

#[derive(Clone, Debug)]
pub(super) struct Reservations {
    folder: PathBuf,
    network: String,
}

impl Reservations {
    pub(super) fn of(data_dir: &Path, network: &str) -> Self {
        Self { folder: data_dir.join(network), network: network.into() }
    }

    /// Reserves one address of each set, or none at all.
    pub(super) fn reserve(
        &self,
        key: &AttachmentKey,
        sets: &[Vec<AddressRange>],
        wanted: &[IpNet],
    ) -> Result<Vec<Choice>> {
        let _lock = self.lock()?;
        let mut taken = self.taken()?;
        let mut chosen = Vec::new();
        for (at, set) in sets.iter().enumerate() {
            let Some(choice) = ranges::next(set, &taken, self.last(at), wanted)? else {
                return Err(self.exhausted(set, wanted));
            };
            taken.insert(choice.address.addr());
            chosen.push(choice);
        }
        let unknown = wanted.iter().find(|ip| !chosen.iter().any(|choice| choice.address.addr() == ip.addr()));
        if let Some(ip) = unknown {
            let message = format!("address {} is in no range of network {:?}", ip.addr(), self.network);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        for (at, choice) in chosen.iter().enumerate() {
            let ip = choice.address.addr().to_string();
            self.put(&ip, &owner(key))?;
            self.put(&format!("last_reserved_ip.{at}"), &ip)?;
        }
        Ok(chosen)
    }

    /// Whether an address of each set could be reserved now.
    pub(super) fn could(&self, sets: &[Vec<AddressRange>]) -> Result<()> {
        let taken = self.taken()?;
        for (at, set) in sets.iter().enumerate() {
            if ranges::next(set, &taken, self.last(at), &[])?.is_none() {
                return Err(self.exhausted(set, &[]));
            }
        }
        Ok(())
    }

    /// Frees addresses of an attachment: those that are named, or all where none is.
    pub(super) fn free(&self, key: &AttachmentKey, known: &[IpAddr]) -> Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let owner = owner(key);
        let all = if known.is_empty() { self.taken()?.into_iter().collect() } else { known.to_vec() };
        for ip in all {
            if self.owner(ip)?.is_some_and(|found| found == owner) {
                self.remove(ip)?;
            }
        }
        Ok(())
    }

    /// Frees all addresses whose owners are not named.
    pub(super) fn keep(&self, valid: &[AttachmentKey]) -> Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let valid: BTreeSet<String> = valid.iter().map(owner).collect();
        for ip in self.taken()? {
            if self.owner(ip)?.is_some_and(|found| !valid.contains(&found)) {
                self.remove(ip)?;
            }
        }
        Ok(())
    }

    /// Whether the attachment has the address.
    pub(super) fn has(&self, key: &AttachmentKey, ip: IpAddr) -> Result<bool> {
        Ok(self.owner(ip)?.is_some_and(|found| found == owner(key)))
    }

    fn lock(&self) -> Result<File> {
        let path = self.folder.join("lock");
        let file = fs::create_dir_all(&self.folder).and_then(|()| File::create(&path));
        let file = file.map_err(failed(format!("open {}", path.display())))?;
        file.lock().map_err(failed(format!("lock {}", path.display())))?;
        // Whoever wrote it died: else the lock would be theirs.
        let _ = fs::remove_file(self.folder.join(".draft"));
        Ok(file)
    }

    fn taken(&self) -> Result<BTreeSet<IpAddr>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed(format!("list {}", self.folder.display()))(error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(names.collect())
    }

    fn last(&self, set: usize) -> Option<IpAddr> {
        fs::read_to_string(self.folder.join(format!("last_reserved_ip.{set}"))).ok()?.trim().parse().ok()
    }

    /// An empty name is that of a file which a power failure emptied: it is nobody's.
    fn owner(&self, ip: IpAddr) -> Result<Option<String>> {
        let path = self.folder.join(ip.to_string());
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().replace("\r\n", "\n"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(format!("read {}", path.display()))(error)),
        }
    }

    fn put(&self, name: &str, text: &str) -> Result<()> {
        let (draft, path) = (self.folder.join(".draft"), self.folder.join(name));
        let written = fs::write(&draft, text.replace('\n', "\r\n")).and_then(|()| fs::rename(&draft, &path));
        written.map_err(failed(format!("write {}", path.display())))
    }

    fn remove(&self, ip: IpAddr) -> Result<()> {
        let path = self.folder.join(ip.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    fn exhausted(&self, set: &[AddressRange], wanted: &[IpNet]) -> Error {
        let nets: Vec<_> = set.iter().map(|range| range.subnet.trunc().to_string()).collect();
        let message = match wanted {
            [] => format!("network {:?} has no free address in {}", self.network, nets.join(", ")),
            [ip, ..] => format!("address {} of network {:?} is not free", ip.addr(), self.network),
        };
        Error::new(ErrorKind::Unavailable, message)
    }
}

fn owner(key: &AttachmentKey) -> String {
    format!("{}\n{}", key.sandbox, key.interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> Vec<Vec<AddressRange>> {
        ["10.0.0.0/29", "fd00::/120"]
            .map(|net| vec![AddressRange { subnet: net.parse().unwrap(), start: None, end: None, gateway: None }])
            .into()
    }

    fn ips(chosen: &[Choice]) -> Vec<String> {
        chosen.iter().map(|choice| choice.address.addr().to_string()).collect()
    }

    #[test]
    fn one_address_of_each_set_or_none_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let reservations = Reservations::of(folder.path(), "pods");
        let key = |n: usize| AttachmentKey::new(format!("s{n}"), "eth0");
        for n in 0..5 {
            let chosen = reservations.reserve(&key(n), &sets(), &[]).unwrap();
            assert_eq!(ips(&chosen), [format!("10.0.0.{}", n + 2), format!("fd00::{}", n + 2)]);
        }
        let full = reservations.reserve(&key(5), &sets(), &[]).unwrap_err();
        assert!(full.message().contains("no free address in 10.0.0.0/29"), "{full}");
        assert!(!reservations.folder.join("fd00::7").exists(), "nothing is kept of what was refused");
        assert!(reservations.could(&sets()).is_err());
        reservations.free(&key(1), &[]).unwrap();
        assert!(reservations.could(&sets()).is_ok());
        assert_eq!(ips(&reservations.reserve(&key(5), &sets(), &[]).unwrap())[0], "10.0.0.3");
    }

    #[test]
    fn the_layout_is_that_of_host_local() {
        let folder = tempfile::tempdir().unwrap();
        let reservations = Reservations::of(folder.path(), "pods");
        let key = AttachmentKey::new("abc", "eth0");
        reservations.reserve(&key, &sets()[..1], &[]).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("pods/10.0.0.2")).unwrap(), "abc\r\neth0");
        assert_eq!(fs::read_to_string(folder.path().join("pods/last_reserved_ip.0")).unwrap(), "10.0.0.2");
    }

    #[test]
    fn what_is_not_named_is_freed_and_what_is_stays() {
        let folder = tempfile::tempdir().unwrap();
        let reservations = Reservations::of(folder.path(), "pods");
        let [one, two] = ["one", "two"].map(|name| AttachmentKey::new(name, "eth0"));
        reservations.reserve(&one, &sets(), &[]).unwrap();
        reservations.reserve(&two, &sets(), &[]).unwrap();
        // What a power failure leaves is nobody's.
        fs::write(reservations.folder.join("10.0.0.6"), "").unwrap();
        reservations.keep(std::slice::from_ref(&two)).unwrap();
        let left: Vec<_> = reservations.taken().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(left, ["10.0.0.3", "fd00::3"]);
        assert!(reservations.has(&two, "10.0.0.3".parse().unwrap()).unwrap());
        reservations.free(&one, &["10.0.0.3".parse().unwrap()]).unwrap();
        assert!(reservations.has(&two, "10.0.0.3".parse().unwrap()).unwrap(), "only its owner frees an address");
    }
}
