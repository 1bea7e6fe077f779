//! The NFS driver without an NFS client in the kernel, which machines that run tests seldom have: mounts are written down, and
//! a local folder that stands in for the export is bound in its place. What only a server could do is not seen here.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use parking_lot::{Condvar, Mutex};
use windlass_conformance::volume::{Fixture, Offers};
use windlass_csi::{
    nfs::{Export, KernelMounter, Mounter, Nfs, Settings},
    skel::{self, Setup},
};
use windlass_kernel::{
    Clock, Error, ErrorKind, Result, Stop, VolumeDriver,
    volume::{
        Access, AccessMode, CreateVolume, PublishVolume, Secrets, Volume, VolumeCapability, VolumeController, VolumeId,
    },
};

use crate::kit::{Kind, Kit, Place};

pub(crate) const TESTS: &[(&str, crate::Test)] = &[
    ("a_class_says_where_folders_are", by_class),
    ("a_folder_is_kept_or_archived_as_its_class_says", on_delete),
    ("an_export_that_somebody_else_made_is_mounted", by_hand),
    ("what_is_in_an_export_leads_nowhere_else", links),
    ("the_drivers_own_folder_in_an_export_leads_nowhere_else", own_links),
    ("a_volume_whose_server_is_away_is_unpublished", away),
    ("what_cannot_have_its_mode_is_not_published", modeless),
    ("a_share_is_mounted_only_while_volumes_are_made", meanwhile),
    ("a_kernel_without_a_client_says_so", real),
];

/// What stands in for the kernel's client: the path of each export is one below a folder.
#[derive(Debug)]
struct StandIn {
    folder: PathBuf,
    /// What was mounted, and with which options.
    noted: Mutex<Vec<(String, Vec<String>)>>,
    /// Whether the server is away: then nothing is unmounted until it is back.
    away: Mutex<bool>,
    back: Condvar,
    /// Stopped once something waits for the server.
    waited: Stop,
}

/// The variable with which this program is a driver: its stand-in's folder. The driver's own is the first argument.
pub(crate) const SERVES: &str = "WINDLASS_TEST_NFS";

/// Is a driver, at the socket that `CSI_ENDPOINT` names, until it is killed.
pub(crate) fn serve(folder: PathBuf) -> ExitCode {
    let root = std::env::args_os().nth(1).expect("the driver's folder");
    let mounter = Arc::new(StandIn::new(folder));
    skel::main(|setup| Ok(Arc::new(Nfs::open(Settings::at(root, "n1"), mounter, setup)?)))
}

impl StandIn {
    fn new(folder: PathBuf) -> Self {
        Self { folder, noted: Mutex::default(), away: Mutex::default(), back: Condvar::new(), waited: Stop::new() }
    }
}

impl Mounter for StandIn {
    fn mount(&self, export: &Export, at: &Path, options: &[String]) -> Result<()> {
        self.noted.lock().push((export.to_string(), options.to_vec()));
        let from = self.folder.join(export.path.trim_start_matches('/'));
        if !from.is_dir() {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no {export}")));
        }
        let none = None::<&str>;
        if !export.path.ends_with("/sealed") && !options.iter().any(|option| option == "ro") {
            mount(Some(&from), at, none, MsFlags::MS_BIND, none).expect("a folder is bound");
            return Ok(());
        }
        // An export comes with its options by one call. So does this, lest it be writable where a driver is killed between.
        let apart = tempfile::Builder::new().prefix("apart").tempdir_in(self.folder.parent().expect("a folder"));
        let apart = apart.expect("a folder").keep();
        mount(Some(&from), &apart, none, MsFlags::MS_BIND, none).expect("a folder is bound");
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &apart, none, flags, none).expect("a folder is bound again");
        mount(Some(&apart), at, none, MsFlags::MS_MOVE, none).expect("a mount is moved");
        fs::remove_dir(&apart).expect("an empty folder goes");
        Ok(())
    }

    fn unmount(&self, at: &Path) -> Result<()> {
        let mut away = self.away.lock();
        if *away {
            self.waited.stop();
        }
        self.back.wait_while(&mut away, |away| *away);
        drop(away);
        umount(at).map_err(|error| Error::new(ErrorKind::Conflict, "it is in use").with_source(error))
    }

    fn abandon(&self, at: &Path) -> Result<()> {
        umount2(at, MntFlags::MNT_DETACH).expect("it is mounted");
        Ok(())
    }
}

/// Time that flies once something waits for the server: who waits for that has waited. Were it sooner, the server would be given
/// up before it was asked.
#[derive(Debug)]
struct Hasty {
    clock: Arc<dyn Clock>,
    waited: Stop,
}

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    fn sleep_until(&self, _: Duration) -> BoxFuture<'static, ()> {
        let waited = self.waited.clone();
        Box::pin(async move { waited.wait().await })
    }
}

/// What stands in for a server, and the folder in it that stands in for the export `/srv`. It is a file system of its own, as
/// exports are.
fn server(place: &Place) -> (PathBuf, PathBuf) {
    let folder = place.folder.path().join("server");
    let srv = folder.join("srv");
    fs::create_dir_all(&srv).unwrap();
    mount(Some("srv"), &srv, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).expect("a file system in memory");
    (folder, srv)
}

fn driver(kit: &Kit, place: &Place, folder: PathBuf) -> (Nfs, Arc<StandIn>) {
    let mounter = Arc::new(StandIn::new(folder));
    let settings = Settings::at(place.root(), "n1");
    (Nfs::open(settings, Arc::clone(&mounter) as _, kit.setup()).unwrap(), mounter)
}

fn words(words: &[(&str, &str)]) -> BTreeMap<String, String> {
    words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn fixture(kit: &Kit, kind: Kind) -> (Fixture, Place) {
    let place = Place::new();
    let (folder, srv) = server(&place);
    let around = match kind {
        Kind::Direct => kit.around(&place, Arc::new(driver(kit, &place, folder).0)),
        Kind::Hosted => kit.remote(&place, kit.served(Arc::new(driver(kit, &place, folder).0), &place)),
        Kind::Process => {
            let root = place.root();
            kit.process(&place, move || {
                let mut command = Command::new(std::env::current_exe().expect("this program"));
                command.arg(&root).env(SERVES, &folder);
                command
            })
        }
    };
    let fixture = Fixture {
        state: Some(srv),
        parameters: words(&[("server", "nfs.example.com"), ("share", "/srv")]),
        offers: Offers { folders: true, blocks: false, ephemeral: false },
        ..around
    };
    (fixture, place)
}

/// A driver, and calls on it that wait.
struct Tried<'a> {
    kit: &'a Kit,
    driver: Nfs,
    mounter: Arc<StandIn>,
    srv: PathBuf,
    place: Place,
}

fn folder() -> VolumeCapability {
    VolumeCapability { access: Access::folder(), mode: AccessMode::MultiNodeMultiWriter }
}

impl<'a> Tried<'a> {
    fn new(kit: &'a Kit) -> Self {
        let place = Place::new();
        let (folder, srv) = server(&place);
        let (driver, mounter) = driver(kit, &place, folder);
        Self { kit, driver, mounter, srv, place }
    }

    fn create(&self, name: &str, more: &[(&str, &str)]) -> Result<Volume> {
        let parameters = words(&[&[("server", "nfs.example.com"), ("share", "/srv")], more].concat());
        let capabilities = vec![folder()];
        let request = CreateVolume { name: name.into(), capabilities, parameters, ..CreateVolume::default() };
        self.kit.runtime.block_on(self.driver.provisioning().unwrap().create(&request))
    }

    fn delete(&self, id: &VolumeId) -> Result<()> {
        self.kit.runtime.block_on(self.driver.provisioning().unwrap().delete(id, &Secrets::default()))
    }

    fn publish(&self, id: &str, context: &BTreeMap<String, String>, flags: &[&str]) -> Result<PathBuf> {
        let target = self.place.work().join("target");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let access = Access::Mount { fs_type: String::new(), flags, group: String::new() };
        let request = PublishVolume {
            volume: id.into(),
            publish_context: BTreeMap::new(),
            staging: None,
            target: target.clone(),
            capability: VolumeCapability { access, ..folder() },
            read_only: false,
            secrets: Secrets::default(),
            context: context.clone(),
        };
        self.kit.runtime.block_on(self.driver.node().unwrap().publish(&request)).map(|()| target)
    }

    fn unpublish(&self, id: &str, target: &Path) {
        self.kit.runtime.block_on(self.driver.node().unwrap().unpublish(&id.into(), target)).unwrap();
    }

    fn last_mount(&self) -> (String, Vec<String>) {
        self.mounter.noted.lock().last().cloned().expect("something was mounted")
    }
}

fn by_class(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried
        .create(
            "pvc-1",
            &[
                ("subDir", "${pvc.metadata.namespace}/${pvc.metadata.name}"),
                ("mountPermissions", "0770"),
                ("csi.storage.k8s.io/pvc/name", "data"),
                ("csi.storage.k8s.io/pvc/namespace", "team"),
            ],
        )
        .unwrap();
    assert_eq!(volume.id.as_str(), "nfs.example.com#srv#team/data#pvc-1#");
    assert_eq!(volume.context["subDir"], "team/data");
    let made = tried.srv.join("team/data");
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o7777, 0o770);
    let target = tried.publish(volume.id.as_str(), &volume.context, &["nfsvers=4.1"]).unwrap();
    assert_eq!(tried.last_mount(), ("nfs.example.com:/srv/team/data".to_owned(), vec!["nfsvers=4.1".to_owned()]));
    fs::write(target.join("file"), "mine").unwrap();
    assert_eq!(fs::read_to_string(made.join("file")).unwrap(), "mine");
    tried.unpublish(volume.id.as_str(), &target);
    assert!(!target.exists() && made.exists());
    tried.delete(&volume.id).unwrap();
    assert!(!made.exists());
    assert_eq!(tried.create("pvc-2", &[("size", "1")]).unwrap_err().kind(), ErrorKind::Invalid);
}

fn on_delete(kit: &Kit) {
    let tried = Tried::new(kit);
    let kept = tried.create("kept", &[("onDelete", "retain")]).unwrap();
    tried.delete(&kept.id).unwrap();
    assert!(tried.srv.join("kept").is_dir());
    for round in 0..2 {
        let volume = tried.create("old", &[("onDelete", "archive")]).unwrap();
        fs::write(tried.srv.join("old/round"), round.to_string()).unwrap();
        for _ in 0..2 {
            tried.delete(&volume.id).unwrap();
        }
    }
    let read = |name: &str| fs::read_to_string(tried.srv.join(name).join("round")).unwrap();
    assert_eq!((read("archived-old"), read("archived-old-2")), ("0".into(), "1".into()));
    let mut left: Vec<_> = fs::read_dir(&tried.srv).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["archived-old", "archived-old-2", "kept"]);
}

fn by_hand(kit: &Kit) {
    let tried = Tried::new(kit);
    fs::create_dir(tried.srv.join("photos")).unwrap();
    fs::write(tried.srv.join("photos/one"), "1").unwrap();
    let context = words(&[("server", "10.0.0.1"), ("share", "/srv/photos"), ("mountOptions", "soft")]);
    let target = tried.publish("any words", &context, &["ro"]).unwrap();
    assert_eq!(tried.last_mount(), ("10.0.0.1:/srv/photos".to_owned(), vec!["ro".to_owned(), "soft".to_owned()]));
    assert_eq!(fs::read_to_string(target.join("one")).unwrap(), "1");
    fs::write(target.join("two"), "2").unwrap_err();
    tried.unpublish("any words", &target);
    // Nothing tells the driver that it may delete it.
    tried.delete(&"any words".into()).unwrap();
    assert!(tried.srv.join("photos/one").exists());
    let missing = words(&[("server", "10.0.0.1"), ("share", "/srv/music")]);
    assert_eq!(tried.publish("any words", &missing, &[]).unwrap_err().kind(), ErrorKind::NotFound);
    let half = words(&[("server", "10.0.0.1")]);
    assert_eq!(tried.publish("any words", &half, &[]).unwrap_err().kind(), ErrorKind::Invalid);
}

fn links(kit: &Kit) {
    let tried = Tried::new(kit);
    let outside = tried.place.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(outside.join("precious")).unwrap();
    symlink(&outside, tried.srv.join("trap")).unwrap();
    let error = tried.create("pvc-1", &[("subDir", "trap/precious")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let error = tried.delete(&"nfs.example.com#srv#trap/precious#pvc-1#".into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(outside.join("precious").is_dir());
}

/// Whoever may write in the root of an export makes the driver's own folder there a link.
fn own_links(kit: &Kit) {
    let tried = Tried::new(kit);
    let outside = tried.place.folder.path().join("outside");
    fs::create_dir_all(outside.join("volumes")).unwrap();
    let there = tried.create("there", &[]).unwrap();
    let copied = "nfs.example.com#srv#copied##".into();
    let all = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let own = tried.srv.join(".windlass-csi");
    fs::rename(&own, tried.srv.join("aside")).unwrap();
    for trap in [own.clone(), own.join("volumes")] {
        symlink(if trap == own { outside.clone() } else { outside.join("volumes") }, &trap).unwrap();
        // Precious files that have the names of what the driver would take away.
        for id in [&there.id, &copied] {
            let error = tried.delete(id).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        let error = tried.create("pvc-1", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_eq!((all(&outside), all(&outside.join("volumes")).len()), (vec!["volumes".into()], 0));
        fs::remove_file(&trap).unwrap();
        if trap == own {
            fs::create_dir(&own).unwrap();
        }
    }
    fs::remove_dir(&own).unwrap();
    fs::rename(tried.srv.join("aside"), &own).unwrap();
    let mounts = tried.place.root().join("mounts");
    assert_eq!(fs::read_dir(&mounts).unwrap().count(), 0, "a share is mounted still");
}

fn away(kit: &Kit) {
    let place = Place::new();
    let (folder, _srv) = server(&place);
    let mounter = Arc::new(StandIn::new(folder));
    let usual = kit.setup();
    let setup =
        Setup { clock: Arc::new(Hasty { clock: usual.clock, waited: mounter.waited.clone() }), spawn: usual.spawn };
    let driver = Nfs::open(Settings::at(place.root(), "n1"), Arc::clone(&mounter) as _, setup).unwrap();
    let tried = Tried { kit, driver, mounter, srv: place.work(), place };
    let context = words(&[("server", "10.0.0.1"), ("share", "/srv")]);
    let target = tried.publish("a", &context, &[]).unwrap();
    *tried.mounter.away.lock() = true;
    tried.unpublish("a", &target);
    assert!(!target.exists());
    // The call that waits for the server keeps its path.
    let again = tried.publish("a", &context, &[]).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict, "{again}");
    *tried.mounter.away.lock() = false;
    tried.mounter.back.notify_all();
}

fn modeless(kit: &Kit) {
    let tried = Tried::new(kit);
    fs::create_dir(tried.srv.join("sealed")).unwrap();
    let with = |mode| words(&[("server", "10.0.0.1"), ("share", "/srv/sealed"), ("mountPermissions", mode)]);
    for _ in 0..2 {
        tried.publish("a", &with("0770"), &[]).unwrap_err();
        assert!(!tried.place.work().join("target").exists(), "what failed is left");
    }
    // Nothing of it is in the way of another.
    let target = tried.publish("b", &with("0"), &[]).unwrap();
    tried.unpublish("b", &target);
}

fn meanwhile(kit: &Kit) {
    let tried = Tried::new(kit);
    let volume = tried.create("pvc-1", &[]).unwrap();
    let mounts = tried.place.root().join("mounts");
    assert_eq!(fs::read_dir(&mounts).unwrap().count(), 0, "the share is mounted still");
    assert_eq!(tried.last_mount().0, "nfs.example.com:/srv");
    // What a killed driver left is taken away by the next one.
    fs::create_dir(mounts.join("left")).unwrap();
    let export = Export { server: "nfs.example.com".into(), path: "/srv".into() };
    tried.mounter.mount(&export, &mounts.join("left"), &[]).unwrap();
    let Tried { driver, mounter, place, .. } = tried;
    drop(driver);
    let again = Nfs::open(Settings::at(place.root(), "n1"), mounter, kit.setup()).unwrap();
    assert!(!mounts.join("left/pvc-1").exists(), "the share is mounted still");
    let request = CreateVolume {
        name: "pvc-1".into(),
        capabilities: vec![folder()],
        parameters: words(&[("server", "nfs.example.com"), ("share", "/srv")]),
        ..CreateVolume::default()
    };
    let same = kit.runtime.block_on(again.provisioning().unwrap().create(&request)).unwrap();
    assert_eq!(same, volume);
}

/// By the kernel's own client, where there is none. Where there is one, only that it is not asked before it is needed: nobody
/// exports anything here.
fn real(kit: &Kit) {
    let place = Place::new();
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("nfs4") {
        let at = place.work().join("mount");
        fs::create_dir(&at).unwrap();
        let export = Export { server: "127.0.0.1".into(), path: "/srv".into() };
        let error = KernelMounter.mount(&export, &at, &["soft".into()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
        assert!(error.message().contains("load its module nfsv4"), "{error}");
    }
    let settings = Settings::at(place.root(), "n1");
    let driver = Nfs::open(settings, Arc::new(KernelMounter), kit.setup()).unwrap();
    let bad = Settings::at("/proc/nowhere", "n1");
    let refused = Nfs::open(bad, Arc::new(KernelMounter), kit.setup()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(kit.runtime.block_on(driver.ready()).unwrap());
}
