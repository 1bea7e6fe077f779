//! What every [`VolumeDriver`] must keep, and what a plugin must answer on the wire.
//!
//! The suite runs where the driver's node service runs, as root: it looks at mounts, devices and files with its own eyes.
//! Checks share nothing but the driver: each uses names that begin with its own prefix, and a folder of its own. What a check
//! leaves behind is compared with what was there before it, item by item, so that a leak is named.

mod copies;
mod crash;
mod growth;
mod identity;
mod lifecycle;
mod lists;
mod machine;
mod nonsense;
mod parallel;
mod places;
mod publish;
mod traced;
mod usage;
mod used;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug},
    path::PathBuf,
    sync::Arc,
};

use futures::future::BoxFuture;
use windlass_kernel::{
    Clock, ErrorKind, Result, VolumeDriver,
    volume::{
        Access, AccessMode, CapacityRange, CreateVolume, Provisioning, Secrets, Volume, VolumeCapability,
        VolumeController, VolumeId, VolumeNode,
    },
};

pub use self::traced::Traced;
use crate::report::Case;

/// Kills the driver at once and starts it anew. It has ended when the driver answers again.
pub type Restart = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Calls a method, such as `/csi.v1.Node/NodeGetInfo`, with a message as it is, and gives gRPC's code.
pub type Raw = Arc<dyn Fn(&'static str, Vec<u8>) -> BoxFuture<'static, i32> + Send + Sync>;

/// What a driver offers that nothing in its services says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Whether volumes can be folders.
    pub folders: bool,
    /// Whether volumes can be block devices.
    pub blocks: bool,
    /// Whether volumes can live with a pod, made when they are published.
    pub ephemeral: bool,
}

/// A driver, and what a check has to know around it.
#[derive(Clone)]
pub struct Fixture {
    /// The driver.
    pub driver: Arc<dyn VolumeDriver>,
    /// The time that it lives in.
    pub clock: Arc<dyn Clock>,
    /// What this check's names begin with: no other has it.
    pub prefix: String,
    /// An empty folder for this check, in which volumes are staged and published.
    pub folder: PathBuf,
    /// The driver's own folder, where it has one: what is left there is a leak, too.
    pub state: Option<PathBuf>,
    /// The parameters that volumes are made with.
    pub parameters: BTreeMap<String, String>,
    /// The secrets that calls are made with.
    pub secrets: Secrets,
    /// How large volumes are, in bytes. Some become four times as large.
    pub size: u64,
    /// The file system that folders are asked for with; empty for the driver's choice.
    pub fs_type: String,
    /// What it offers.
    pub offers: Offers,
    /// Kills the driver, where that can be done.
    pub restart: Option<Restart>,
    /// Talks to the plugin word by word, where there is one.
    pub raw: Option<Raw>,
}

impl Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("driver", &self.driver).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// One check of the suite, by clauses of the CSI specification (1.12).
pub type Check = crate::check::Check<Fixture>;

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    [
        identity::CHECKS,
        lifecycle::CHECKS,
        nonsense::CHECKS,
        publish::CHECKS,
        growth::CHECKS,
        copies::CHECKS,
        lists::CHECKS,
        usage::CHECKS,
        places::CHECKS,
        parallel::CHECKS,
        crash::CHECKS,
        wire::CHECKS,
    ]
    .concat()
}

/// Every check as a case for [`report::run`](crate::report::run). `fresh` is given a prefix that differs for each.
pub fn cases(fresh: impl Fn(String) -> Fixture) -> Vec<Case> {
    crate::check::cases("volume", checks(), fresh)
}

/// Finds out which kinds of volumes a driver makes, by making one of each.
///
/// # Errors
///
/// Where a volume cannot be made for another reason than its kind, or not deleted.
pub async fn probe(driver: &dyn VolumeDriver, wanted: &CreateVolume) -> Result<Offers> {
    let Some(provisioning) = driver.controller().and_then(|controller| controller.provisioning()) else {
        return Ok(Offers::default());
    };
    let mut offers = Offers::default();
    for (access, offered) in [(Access::folder(), &mut offers.folders), (Access::Block, &mut offers.blocks)] {
        let name = format!("{}-{}", wanted.name, if access == Access::Block { "block" } else { "folder" });
        let capabilities = vec![VolumeCapability { access, mode: AccessMode::SingleNodeWriter }];
        match provisioning.create(&CreateVolume { name, capabilities, ..wanted.clone() }).await {
            Ok(volume) => {
                *offered = true;
                provisioning.delete(&volume.id, &wanted.secrets).await?;
            }
            Err(error) if error.is(ErrorKind::Invalid) || error.is(ErrorKind::NotSupported) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(offers)
}

/// Nothing beyond the driver itself is needed.
fn always(_: &Fixture) -> Option<&'static str> {
    None
}

/// Volumes must be made.
fn makes(fixture: &Fixture) -> Option<&'static str> {
    let makes = fixture.driver.controller().is_some_and(|controller| controller.provisioning().is_some());
    if !makes {
        return Some("the driver makes no volumes (CREATE_DELETE_VOLUME)");
    }
    (!fixture.offers.folders && !fixture.offers.blocks).then_some("the driver makes neither folders nor block devices")
}

/// Volumes must be made and brought to this node.
fn uses(fixture: &Fixture) -> Option<&'static str> {
    let node = fixture.driver.node().is_none().then_some("the driver has no node service");
    makes(fixture).or(node)
}

/// The same, as folders.
fn uses_folders(fixture: &Fixture) -> Option<&'static str> {
    uses(fixture).or((!fixture.offers.folders).then_some("the driver makes no folders"))
}

/// The same, as block devices.
fn uses_blocks(fixture: &Fixture) -> Option<&'static str> {
    uses(fixture).or((!fixture.offers.blocks).then_some("the driver makes no block devices"))
}

impl Fixture {
    fn controller(&self) -> &dyn VolumeController {
        self.driver.controller().expect("the check needs a controller")
    }

    fn provisioning(&self) -> &dyn Provisioning {
        self.controller().provisioning().expect("the check needs volumes")
    }

    fn node(&self) -> &dyn VolumeNode {
        self.driver.node().expect("the check needs a node")
    }

    /// The capability of most checks.
    fn capability(&self) -> VolumeCapability {
        let fs_type = self.fs_type.clone();
        let folder = || Access::Mount { fs_type, flags: Vec::new(), group: String::new() };
        let access = if self.offers.folders { folder() } else { Access::Block };
        VolumeCapability { access, mode: AccessMode::SingleNodeWriter }
    }

    fn block() -> VolumeCapability {
        VolumeCapability { access: Access::Block, mode: AccessMode::SingleNodeWriter }
    }

    /// A volume that can be asked for.
    fn wanted(&self, name: &str) -> CreateVolume {
        CreateVolume {
            name: format!("{}-{name}", self.prefix),
            capacity: CapacityRange::at_least(self.size),
            capabilities: vec![self.capability()],
            parameters: self.parameters.clone(),
            secrets: self.secrets.clone(),
            ..CreateVolume::default()
        }
    }

    async fn made(&self, name: &str) -> Volume {
        self.provisioning().create(&self.wanted(name)).await.expect("a volume is made")
    }

    async fn delete(&self, volume: &VolumeId) {
        self.provisioning().delete(volume, &self.secrets).await.expect("a volume is deleted");
    }

    /// What is on the machine.
    fn inventory(&self) -> BTreeSet<String> {
        machine::inventory(&self.folder, self.state.as_deref())
    }

    /// Ends a check: nothing is left of it.
    #[track_caller]
    fn end(&self, before: &BTreeSet<String>) {
        let left: Vec<_> = self.inventory().difference(before).cloned().collect();
        assert!(left.is_empty(), "what is left on the machine: {}", left.join("; "));
    }
}

/// A call is refused, and so.
#[track_caller]
fn refused<T: Debug>(answer: Result<T>, kinds: &[ErrorKind], what: &str) {
    match answer {
        Ok(done) => panic!("{what} was not refused: {done:?}"),
        Err(error) => {
            assert!(
                kinds.contains(&error.kind()),
                "{what} was refused with {:?}, not {kinds:?}: {error}",
                error.kind()
            );
        }
    }
}
