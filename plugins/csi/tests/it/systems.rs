//! Volumes with a file system of their own, as the hostpath driver makes them.

use std::{fs, io::Write, process::Command, sync::Arc};

use windlass_conformance::volume::{Fixture, Offers};
use windlass_csi::hostpath::{HostPath, Settings};
use windlass_kernel::{
    ErrorKind, Result, VolumeDriver,
    volume::{
        Access, AccessMode, CapacityRange, CreateSnapshot, CreateVolume, ExpandOnNode, ExpandVolume, Secrets, Source,
        StageVolume, Usage, UsageQuery, Volume, VolumeCapability,
    },
};

use crate::kit::{Kind, Kit, Place};

pub(crate) const FIXTURES: &[(&str, crate::Fresh)] =
    &[("ext4", |kit| fixture(kit, "ext4", 16 << 20)), ("xfs", |kit| fixture(kit, "xfs", 320 << 20))];

pub(crate) const TESTS: &[(&str, &str, crate::Test)] = &[
    ("ext4", "a_file_system_is_as_large_as_its_volume", enforced),
    ("xfs", "a_file_system_grows_while_it_is_used", grows),
    ("ext4", "a_copy_of_a_file_system_is_whole_and_may_be_larger", copied),
    ("ext4", "a_volume_that_a_killed_driver_held_still_goes_on", released),
    ("ext4", "a_file_system_that_cannot_be_had_is_refused", refused),
];

/// What the machine lacks for a file system.
pub(crate) fn lacks(name: &str) -> Option<String> {
    let found = Command::new(format!("mkfs.{name}")).arg("-V").output();
    found.err().map(|error| format!("there is no mkfs.{name}: {error}"))
}

/// What it lacks for one that grows while it is mounted.
pub(crate) fn lacks_growth(name: &str, check: &str) -> Option<String> {
    if name != "ext4" || check != "a_folder_grows_and_keeps_what_is_in_it" {
        return None;
    }
    let status = fs::read_to_string("/proc/self/status").expect("what this process may do");
    let may = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("its capabilities");
    let may = u64::from_str_radix(may.trim(), 16).expect("a number");
    (may & (1 << 24) == 0).then(|| "an ext4 that is mounted grows with CAP_SYS_RESOURCE alone".into())
}

/// The driver as a process, whose folders are asked for with a file system.
fn fixture(kit: &Kit, fs_type: &str, size: u64) -> (Fixture, Place) {
    let (fixture, place) = kit.fixture(Kind::Process);
    let offers = Offers { folders: true, blocks: false, ephemeral: false };
    (Fixture { fs_type: fs_type.into(), size, offers, ..fixture }, place)
}

fn capability(fs_type: &str) -> VolumeCapability {
    let access = Access::Mount { fs_type: fs_type.into(), flags: Vec::new(), group: String::new() };
    VolumeCapability { access, mode: AccessMode::SingleNodeWriter }
}

/// A driver, and calls on it that wait.
struct Tried<'a> {
    kit: &'a Kit,
    driver: Arc<dyn VolumeDriver>,
    place: Place,
}

impl<'a> Tried<'a> {
    fn new(kit: &'a Kit) -> Self {
        let place = Place::new();
        Self { kit, driver: Arc::new(kit.hostpath(&place)), place }
    }

    fn create(&self, name: &str, fs_type: &str, bytes: u64, source: Option<Source>) -> Result<Volume> {
        let request = CreateVolume {
            name: name.into(),
            capacity: CapacityRange::at_least(bytes),
            capabilities: vec![capability(fs_type)],
            source,
            ..CreateVolume::default()
        };
        let service = self.driver.controller().and_then(|controller| controller.provisioning()).unwrap();
        self.kit.runtime.block_on(service.create(&request))
    }

    fn staging(&self, volume: &Volume) -> std::path::PathBuf {
        self.place.work().join(volume.id.as_str())
    }

    fn stage(&self, volume: &Volume, fs_type: &str) -> Result<()> {
        let request = StageVolume {
            volume: volume.id.clone(),
            publish_context: Default::default(),
            staging: self.staging(volume),
            capability: capability(fs_type),
            secrets: Secrets::default(),
            context: Default::default(),
        };
        self.kit.runtime.block_on(self.driver.node().and_then(|node| node.staging()).unwrap().stage(&request))
    }

    /// Takes a volume away, whole.
    fn end(&self, volume: &Volume) {
        let staging = self.driver.node().and_then(|node| node.staging()).unwrap();
        self.kit.runtime.block_on(staging.unstage(&volume.id, &self.staging(volume))).unwrap();
        let service = self.driver.controller().and_then(|controller| controller.provisioning()).unwrap();
        self.kit.runtime.block_on(service.delete(&volume.id, &Secrets::default())).unwrap();
    }

    fn usage(&self, volume: &Volume) -> Usage {
        let query = UsageQuery { volume: volume.id.clone(), path: self.staging(volume), staging: None };
        let usage = self.driver.node().and_then(|node| node.usage()).unwrap();
        self.kit.runtime.block_on(usage.usage_of(&query)).unwrap().bytes.unwrap()
    }

    fn expand(&self, volume: &Volume, fs_type: &str, bytes: u64) {
        let (capacity, capability) = (CapacityRange::at_least(bytes), Some(capability(fs_type)));
        let request = ExpandVolume {
            volume: volume.id.clone(),
            capacity,
            capability: capability.clone(),
            secrets: Secrets::default(),
        };
        let expanding = self.driver.controller().and_then(|controller| controller.expanding()).unwrap();
        assert!(self.kit.runtime.block_on(expanding.expand(&request)).unwrap().node_expansion);
        let request = ExpandOnNode {
            volume: volume.id.clone(),
            path: self.staging(volume),
            staging: None,
            capacity,
            capability,
            secrets: Secrets::default(),
        };
        let expanding = self.driver.node().and_then(|node| node.expanding()).unwrap();
        assert_eq!(self.kit.runtime.block_on(expanding.expand(&request)).unwrap(), Some(bytes));
    }
}

fn enforced(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried.create("a", "ext4", 16 << 20, None).unwrap();
    tried.stage(&volume, "ext4").unwrap();
    let total = tried.usage(&volume).total;
    assert!((8 << 20..=16 << 20).contains(&total), "{total}");
    let large = tried.staging(&volume).join("large");
    let full = fs::write(&large, vec![7; 17 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    assert!(tried.usage(&volume).available < total / 8, "{:?}", tried.usage(&volume));
    fs::remove_file(large).unwrap();
    assert!(tried.usage(&volume).available > 8 << 20);
    tried.end(&volume);
}

fn grows(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried.create("a", "xfs", 320 << 20, None).unwrap();
    tried.stage(&volume, "xfs").unwrap();
    let at = tried.staging(&volume).join("kept");
    let mut open = fs::File::create(&at).unwrap();
    open.write_all(b"before").unwrap();
    let before = tried.usage(&volume).total;
    tried.expand(&volume, "xfs", 400 << 20);
    open.write_all(b" and after").unwrap();
    let after = tried.usage(&volume).total;
    assert!(after > before + (60 << 20), "{before} and {after}");
    assert_eq!(fs::read_to_string(at).unwrap(), "before and after");
    drop(open);
    tried.end(&volume);
}

/// Of a volume that is written to meanwhile: its copies mount, and have what was written down before.
fn copied(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried.create("a", "ext4", 16 << 20, None).unwrap();
    tried.stage(&volume, "ext4").unwrap();
    let at = tried.staging(&volume);
    // In no device's file yet, unless somebody sees to it.
    fs::write(at.join("kept"), "kept").unwrap();
    let request = CreateSnapshot { source: volume.id.clone(), name: "s".into(), ..CreateSnapshot::default() };
    let snapshotting = tried.driver.controller().and_then(|controller| controller.snapshotting()).unwrap();
    let snapshot = kit.runtime.block_on(snapshotting.snapshot(&request)).unwrap();
    fs::write(at.join("kept"), "later").unwrap();
    let of_snapshot = Source::Snapshot(snapshot.id.clone());
    let clone = tried.create("b", "ext4", 16 << 20, Some(Source::Volume(volume.id.clone()))).unwrap();
    // One for which nobody names a file system has the same, and one that is larger is all usable.
    let restored = tried.create("c", "", 64 << 20, Some(of_snapshot.clone())).unwrap();
    for (copy, words) in [(&clone, "later"), (&restored, "kept")] {
        tried.stage(copy, "ext4").unwrap();
        assert_eq!(fs::read_to_string(tried.staging(copy).join("kept")).unwrap(), words);
        fs::write(tried.staging(copy).join("own"), "own").unwrap();
    }
    assert!(tried.usage(&restored).total > 50 << 20);
    assert_eq!(tried.create("c", "", 64 << 20, Some(of_snapshot.clone())).unwrap().id, restored.id);
    let other = tried.create("d", "ext3", 16 << 20, Some(of_snapshot)).unwrap_err();
    assert!(other.is(ErrorKind::Invalid) && other.message().contains("ext4"), "{other}");
    assert!(!at.join("own").exists());
    for volume in [&clone, &restored, &volume] {
        tried.end(volume);
    }
}

fn released(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried.create("a", "ext4", 16 << 20, None).unwrap();
    tried.stage(&volume, "ext4").unwrap();
    let at = tried.staging(&volume);
    let freeze = |word: &str| Command::new("fsfreeze").arg(word).arg(&at).output().unwrap().status.success();
    // As a driver leaves it that is killed while it cuts a snapshot.
    assert!(freeze("--freeze"));
    let Tried { driver, place, .. } = tried;
    drop(driver);
    let driver = Arc::new(HostPath::open(Settings::at(place.root(), "n1"), kit.setup()).unwrap());
    // What is not held still cannot be let go. It is before anything is written, which would wait for ever.
    assert!(!freeze("--unfreeze"), "the volume was still held");
    fs::write(at.join("words"), "after").unwrap();
    Tried { kit, driver, place }.end(&volume);
}

fn refused(kit: &Kit) {
    let tried = Tried::new(kit);
    let no = tried.create("a", "ntfs", 16 << 20, None).unwrap_err();
    assert_eq!(no.kind(), ErrorKind::Invalid);
    assert!(no.message().contains("\"ntfs\"") && no.message().contains("ask for ext4"), "{no}");
    let folder = tried.create("a", "", 16 << 20, None).unwrap();
    let no = tried.stage(&folder, "ext4").unwrap_err();
    assert!(no.is(ErrorKind::Invalid) && no.message().contains("ext4"), "{no}");
    assert!(!tried.staging(&folder).exists());
    assert!(tried.create("a", "ext4", 16 << 20, None).unwrap_err().is(ErrorKind::AlreadyExists));
    let system = tried.create("b", "ext4", 1, None).unwrap();
    assert_eq!(system.capacity, Some(4 << 20), "less than a file system has");
    let no = tried.stage(&system, "xfs").unwrap_err();
    assert!(no.is(ErrorKind::Invalid) && no.message().contains("the volume has ext4, not xfs"), "{no}");
    // Asked for as nothing in particular, it is what it is.
    tried.stage(&system, "").unwrap();
    tried.end(&system);
    tried.end(&folder);
}
