//! What only this driver promises: its folder, its space, and paths that lead nowhere else.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use windlass_csi::hostpath::{HostPath, Settings};
use windlass_kernel::{
    ErrorKind, Result, VolumeDriver,
    volume::{
        Access, AccessMode, AttachVolume, CapacityQuery, CapacityRange, CreateVolume, PublishVolume, Refusal, Secrets,
        StageVolume, Volume, VolumeCapability,
    },
};

use crate::kit::{Kit, Place};

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    ("two_drivers_do_not_share_a_folder", alone),
    ("space_that_is_given_away_is_gone", space),
    ("a_volume_in_use_is_not_deleted", in_use),
    ("a_target_that_is_a_link_is_refused", links),
    ("mount_options_are_kept_or_refused", options),
    ("something_else_at_the_target_is_left_alone", foreign),
    ("nobody_but_root_sees_the_folder", hidden),
];

fn folder() -> VolumeCapability {
    VolumeCapability { access: Access::folder(), mode: AccessMode::SingleNodeWriter }
}

fn wanted(name: &str, bytes: u64) -> CreateVolume {
    let capacity = CapacityRange::at_least(bytes);
    CreateVolume { name: name.into(), capacity, capabilities: vec![folder()], ..CreateVolume::default() }
}

/// A driver, and calls on it that wait.
struct Tried<'a> {
    kit: &'a Kit,
    driver: HostPath,
    place: Place,
}

impl<'a> Tried<'a> {
    fn new(kit: &'a Kit) -> Self {
        let place = Place::new();
        Self { kit, driver: kit.hostpath(&place), place }
    }

    fn create(&self, request: &CreateVolume) -> Result<Volume> {
        let service = self.driver.controller().and_then(|controller| controller.provisioning()).unwrap();
        self.kit.runtime.block_on(service.create(request))
    }

    fn delete(&self, volume: &Volume) -> Result<()> {
        let service = self.driver.controller().and_then(|controller| controller.provisioning()).unwrap();
        self.kit.runtime.block_on(service.delete(&volume.id, &Secrets::default()))
    }

    fn stage(&self, volume: &Volume) -> Result<()> {
        let request = StageVolume {
            volume: volume.id.clone(),
            publish_context: Default::default(),
            staging: self.place.work().join("staging"),
            capability: folder(),
            secrets: Secrets::default(),
            context: Default::default(),
        };
        self.kit.runtime.block_on(self.driver.node().and_then(|node| node.staging()).unwrap().stage(&request))
    }

    fn publish(&self, volume: &Volume, target: &Path, flags: &[&str]) -> Result<()> {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let access = Access::Mount { fs_type: String::new(), flags, group: String::new() };
        let request = PublishVolume {
            volume: volume.id.clone(),
            publish_context: Default::default(),
            staging: Some(self.place.work().join("staging")),
            target: target.to_owned(),
            capability: VolumeCapability { access, ..folder() },
            read_only: false,
            secrets: Secrets::default(),
            context: Default::default(),
        };
        self.kit.runtime.block_on(self.driver.node().unwrap().publish(&request))
    }

    fn unpublish(&self, volume: &Volume, target: &Path) -> Result<()> {
        self.kit.runtime.block_on(self.driver.node().unwrap().unpublish(&volume.id, target))
    }

    fn unstage(&self, volume: &Volume) -> Result<()> {
        let staging = self.driver.node().and_then(|node| node.staging()).unwrap();
        self.kit.runtime.block_on(staging.unstage(&volume.id, &self.place.work().join("staging")))
    }
}

fn alone(kit: &Kit) {
    let tried = Tried::new(kit);
    let second = HostPath::open(Settings::at(tried.place.root(), "n2"), kit.setup());
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let Tried { driver, place, .. } = tried;
    drop(driver);
    HostPath::open(Settings::at(place.root(), "n2"), kit.setup()).expect("the folder is free");
}

fn space(kit: &Kit) {
    let place = Place::new();
    let settings = Settings { capacity: Some(100 << 20), ..Settings::at(place.root(), "n1") };
    let driver = HostPath::open(settings, kit.setup()).unwrap();
    let tried = Tried { kit, driver, place };
    let left = || {
        let capacity = tried.driver.controller().and_then(|controller| controller.capacity()).unwrap();
        kit.runtime.block_on(capacity.available(&CapacityQuery::default())).unwrap().available
    };
    assert_eq!(left(), 100 << 20);
    let volume = tried.create(&wanted("a", 60 << 20)).unwrap();
    assert_eq!(left(), 40 << 20);
    assert_eq!(tried.create(&wanted("b", 50 << 20)).unwrap_err().kind(), ErrorKind::Full);
    tried.delete(&volume).unwrap();
    assert_eq!(left(), 100 << 20);
    tried.create(&wanted("b", 50 << 20)).unwrap();
}

fn in_use(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried.create(&wanted("a", 1 << 20)).unwrap();
    let attaching = tried.driver.controller().and_then(|controller| controller.attaching()).unwrap();
    let attach = AttachVolume {
        volume: volume.id.clone(),
        node: "n1".into(),
        capability: folder(),
        read_only: false,
        secrets: Secrets::default(),
        context: Default::default(),
    };
    kit.runtime.block_on(attaching.attach(&attach)).unwrap();
    let refused = tried.delete(&volume).unwrap_err();
    assert_eq!(Refusal::of(&refused), Some(Refusal::Precondition), "{refused}");
    kit.runtime.block_on(attaching.detach(&volume.id, None, &Secrets::default())).unwrap();
    tried.stage(&volume).unwrap();
    let refused = tried.delete(&volume).unwrap_err();
    assert_eq!(Refusal::of(&refused), Some(Refusal::Precondition), "{refused}");
    tried.unstage(&volume).unwrap();
    tried.delete(&volume).unwrap();
}

fn links(kit: &Kit) {
    let tried = Tried::new(kit);
    let work = tried.place.work();
    let volume = tried.create(&wanted("a", 1 << 20)).unwrap();
    tried.stage(&volume).unwrap();
    let victim = work.join("victim");
    fs::create_dir(&victim).unwrap();
    symlink(&victim, work.join("link")).unwrap();
    for target in [work.join("link"), work.join("staging/../link"), tried.place.root().join("volumes/x")] {
        let refused = tried.publish(&volume, &target, &[]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{target:?}: {refused}");
    }
    // Unpublishing at a link does not follow it either.
    assert_eq!(tried.unpublish(&volume, &work.join("link")).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(victim.is_dir() && fs::read_dir(&victim).unwrap().next().is_none());
    tried.unstage(&volume).unwrap();
}

fn options(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried.create(&wanted("a", 1 << 20)).unwrap();
    tried.stage(&volume).unwrap();
    let target = tried.place.work().join("target");
    tried.publish(&volume, &target, &["noexec", "nosuid"]).unwrap();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(&*target.to_string_lossy())).unwrap();
    assert!(line.contains("nosuid") && line.contains("noexec"), "{line}");
    tried.unpublish(&volume, &target).unwrap();
    let refused = tried.publish(&volume, &target, &["password=hidden"]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(!refused.message().contains("hidden"), "an option that may be secret is shown: {refused}");
    tried.unstage(&volume).unwrap();
}

fn foreign(kit: &Kit) {
    let tried = Tried::new(kit);
    let (a, b) = (tried.create(&wanted("a", 1 << 20)).unwrap(), tried.create(&wanted("b", 1 << 20)).unwrap());
    tried.stage(&a).unwrap();
    let target = tried.place.work().join("target");
    tried.publish(&a, &target, &[]).unwrap();
    fs::write(target.join("words"), "of a").unwrap();
    // Another volume was never there: that is success, and changes nothing.
    tried.unpublish(&b, &target).unwrap();
    assert_eq!(fs::read_to_string(target.join("words")).unwrap(), "of a");
    // Nor can a folder with something in it be taken for a target that was made here.
    let own = tried.place.work().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("words"), "of somebody").unwrap();
    tried.unpublish(&b, &own).unwrap();
    assert_eq!(fs::read_to_string(own.join("words")).unwrap(), "of somebody");
    // What somebody mounted over it is not this driver's to take away.
    let over = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&own), &target, None::<&str>, over, None::<&str>).unwrap();
    let refused = tried.unpublish(&a, &target).unwrap_err();
    assert_eq!(Refusal::of(&refused), Some(Refusal::Precondition), "{refused}");
    assert_eq!(fs::read_to_string(target.join("words")).unwrap(), "of somebody");
    nix::mount::umount(&target).unwrap();
    tried.unpublish(&a, &target).unwrap();
    tried.unstage(&a).unwrap();
}

fn hidden(kit: &Kit) {
    use std::os::unix::fs::PermissionsExt;
    let tried = Tried::new(kit);
    let mode = fs::metadata(tried.place.root()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let driver: Arc<dyn VolumeDriver> = Arc::new(tried.driver.clone());
    assert!(kit.runtime.block_on(driver.ready()).unwrap());
}
