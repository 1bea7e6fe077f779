//! A volume on its way to a path and back.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
};

use windlass_kernel::{
    Result,
    volume::{Access, AttachVolume, PublishVolume, StageVolume, Volume, VolumeCapability},
};

use super::{Fixture, machine};

/// A volume that is used, or will be.
pub(super) struct Used<'a> {
    fixture: &'a Fixture,
    pub(super) volume: Volume,
    pub(super) capability: VolumeCapability,
    pub(super) staging: PathBuf,
    pub(super) target: PathBuf,
    context: BTreeMap<String, String>,
}

impl Fixture {
    /// A volume with paths of its own in the check's folder. Nothing is there yet but the staging folder.
    pub(super) fn used(&self, volume: &Volume, capability: VolumeCapability, name: &str) -> Used<'_> {
        let (staging, target) =
            (self.folder.join(format!("{name}-staging")), self.folder.join(format!("{name}-target")));
        if self.node().staging().is_some() {
            fs::create_dir_all(&staging).expect("a staging folder");
        }
        Used { fixture: self, volume: volume.clone(), capability, staging, target, context: BTreeMap::new() }
    }
}

impl Used<'_> {
    pub(super) async fn attach(&mut self) -> Result<()> {
        let Some(attaching) = self.fixture.driver.controller().and_then(|controller| controller.attaching()) else {
            return Ok(());
        };
        let node = self.fixture.node().node_info().await?.id;
        let request = AttachVolume {
            volume: self.volume.id.clone(),
            node,
            capability: self.capability.clone(),
            read_only: false,
            secrets: self.fixture.secrets.clone(),
            context: self.volume.context.clone(),
        };
        self.context = attaching.attach(&request).await?;
        Ok(())
    }

    pub(super) fn staging_request(&self) -> StageVolume {
        StageVolume {
            volume: self.volume.id.clone(),
            publish_context: self.context.clone(),
            staging: self.staging.clone(),
            capability: self.capability.clone(),
            secrets: self.fixture.secrets.clone(),
            context: self.volume.context.clone(),
        }
    }

    pub(super) fn publishing(&self, read_only: bool) -> PublishVolume {
        PublishVolume {
            volume: self.volume.id.clone(),
            publish_context: self.context.clone(),
            staging: self.fixture.node().staging().map(|_| self.staging.clone()),
            target: self.target.clone(),
            capability: self.capability.clone(),
            read_only,
            secrets: self.fixture.secrets.clone(),
            context: self.volume.context.clone(),
        }
    }

    pub(super) async fn stage(&self) -> Result<()> {
        match self.fixture.node().staging() {
            Some(staging) => staging.stage(&self.staging_request()).await,
            None => Ok(()),
        }
    }

    pub(super) async fn publish(&self, read_only: bool) -> Result<()> {
        self.fixture.node().publish(&self.publishing(read_only)).await
    }

    /// All the way to the target.
    pub(super) async fn up(&mut self, read_only: bool) {
        self.attach().await.expect("a volume is attached");
        self.stage().await.expect("a volume is staged");
        self.publish(read_only).await.expect("a volume is published");
    }

    pub(super) async fn unpublish(&self) -> Result<()> {
        self.fixture.node().unpublish(&self.volume.id, &self.target).await
    }

    pub(super) async fn unstage(&self) -> Result<()> {
        match self.fixture.node().staging() {
            Some(staging) => staging.unstage(&self.volume.id, &self.staging).await,
            None => Ok(()),
        }
    }

    pub(super) async fn detach(&self) -> Result<()> {
        match self.fixture.driver.controller().and_then(|controller| controller.attaching()) {
            Some(attaching) => attaching.detach(&self.volume.id, None, &self.fixture.secrets).await,
            None => Ok(()),
        }
    }

    /// All the way back.
    pub(super) async fn down(&self) {
        self.unpublish().await.expect("a volume is unpublished");
        assert!(fs::symlink_metadata(&self.target).is_err(), "the target path is left: {}", self.target.display());
        self.unstage().await.expect("a volume is unstaged");
        self.detach().await.expect("a volume is detached");
        // The orchestrator made it.
        let _ = fs::remove_dir(&self.staging);
    }

    /// Whether the volume is there as what it was asked for.
    #[track_caller]
    pub(super) fn is_there(&self) {
        let kind = fs::symlink_metadata(&self.target).expect("the target is there").file_type();
        assert_eq!(machine::mounted(&self.target), 1, "the target {} is one mount", self.target.display());
        match self.capability.access {
            Access::Block => assert!(machine::device_size(&self.target).is_some(), "the target is no block device"),
            Access::Mount { .. } => assert!(kind.is_dir(), "the target is no folder"),
        }
    }

    /// Writes so that it is on the volume when this ends.
    pub(super) fn write(&self, words: &str) -> std::io::Result<()> {
        let mut file = match self.capability.access {
            Access::Block => fs::OpenOptions::new().write(true).open(&self.target)?,
            Access::Mount { .. } => fs::File::create(self.target.join("words"))?,
        };
        let mut bytes = words.as_bytes().to_vec();
        bytes.resize(512, 0);
        file.write_all(&bytes)?;
        file.sync_all()
    }

    /// What is written there; nothing where nothing is.
    pub(super) fn read(&self) -> String {
        let mut bytes = vec![0; 512];
        let path = match self.capability.access {
            Access::Block => self.target.clone(),
            Access::Mount { .. } => self.target.join("words"),
        };
        let read = fs::File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(0))?;
            file.read_exact(&mut bytes)
        });
        if read.is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }
}
