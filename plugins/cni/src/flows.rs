//! The memory of the kernel of where packets went, for service rules and others who lead packets.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use nix::libc;
use windlass_kernel::{Error, ErrorKind, FlowMemory, Result, Spawn, SpawnExt, rules::Flows};

use crate::{failed, namespace, net};

/// The connection tracking of a network namespace.
#[derive(Clone, Debug)]
pub struct KernelFlows {
    spawn: Arc<dyn Spawn>,
    namespace: Option<PathBuf>,
}

impl KernelFlows {
    /// That of this process's namespace.
    #[must_use]
    pub fn new(spawn: Arc<dyn Spawn>) -> Self {
        Self { spawn, namespace: None }
    }

    /// That of another namespace.
    #[must_use]
    pub fn inside(mut self, namespace: PathBuf) -> Self {
        self.namespace = Some(namespace);
        self
    }
}

#[async_trait]
impl FlowMemory for KernelFlows {
    async fn forget(&self, flows: Vec<Flows>) -> Result<()> {
        let space = self.namespace.clone();
        let work = move || match space {
            Some(space) => namespace::inside(&namespace::open(&space)?, || forget(&flows)),
            None => forget(&flows),
        };
        let done = self.spawn.run_blocking("cni.flows", work).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "forgetting flows panicked").maybe_applied()))
    }
}

/// Forgets flows in the calling thread's namespace. Blocks.
pub(crate) fn forget(flows: &[Flows]) -> Result<()> {
    net::forget(flows).map_err(|error| {
        let absent = [libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT, libc::EOPNOTSUPP, libc::EINVAL];
        if error.raw_os_error().is_some_and(|code| absent.contains(&code)) {
            let message = "this kernel does not show its connection tracking (CONFIG_NF_CT_NETLINK)";
            return Error::new(ErrorKind::NotSupported, message).with_source(error);
        }
        failed("forget where packets went")(error)
    })
}
