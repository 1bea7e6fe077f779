//! A profile: the scheduler that answers to a name, and what happens between its decision and the binding.

use std::{sync::Arc, time::Duration};

use windlass_kernel::{
    Scheduler,
    scheduler::{Bind, Permit, PreBind, Reserve},
};

use crate::framework::Framework;

/// The name that pods ask for unless told otherwise.
pub const DEFAULT_NAME: &str = "default-scheduler";

/// How long claims may take to get their volumes, unless told otherwise: upstream's default of `bindTimeoutSeconds`.
pub(crate) const BIND_TIMEOUT: Duration = Duration::from_secs(600);

/// What answers to a `schedulerName`.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) name: Arc<str>,
    pub(crate) scheduler: Arc<dyn Scheduler>,
    pub(crate) reserves: Vec<Arc<dyn Reserve>>,
    pub(crate) permits: Vec<Arc<dyn Permit>>,
    pub(crate) pre_binds: Vec<Arc<dyn PreBind>>,
    pub(crate) binds: Vec<Arc<dyn Bind>>,
    pub(crate) trusted: bool,
    /// `None` where somebody else sees to volumes.
    pub(crate) volumes_within: Option<Duration>,
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(DEFAULT_NAME, Framework::default()).trusted()
    }
}

impl Profile {
    /// A scheduler under a name. Its turns are watched: see [`trusted`](Self::trusted).
    #[must_use]
    pub fn new(name: &str, scheduler: impl Scheduler) -> Self {
        Self {
            name: name.into(),
            scheduler: Arc::new(scheduler),
            reserves: Vec::new(),
            permits: Vec::new(),
            pre_binds: Vec::new(),
            binds: Vec::new(),
            trusted: false,
            volumes_within: Some(BIND_TIMEOUT),
        }
    }

    /// Runs turns in the host's own task, without a limit: a few microseconds less for each, and a plugin that never
    /// returns stops every profile of the host. The default profile is trusted, since all its plugins are known.
    ///
    /// Without it, a turn has a thread of its own where [`Spawn`](windlass_kernel::Spawn) has such. One that does not
    /// end within [`Config::limit`](crate::Config::limit) stops its profile, and the plugin at work is named.
    #[must_use]
    pub const fn trusted(mut self) -> Self {
        self.trusted = true;
        self
    }

    /// How long the claims of a pod may take to get their volumes before it is given another turn: ten minutes unless
    /// told otherwise. With `None` pods are bound whether they have their volumes or not.
    #[must_use]
    pub const fn volumes_within(mut self, timeout: Option<Duration>) -> Self {
        self.volumes_within = timeout;
        self
    }

    /// Adds a plugin that sets something aside.
    #[must_use]
    pub fn reserve(mut self, plugin: impl Reserve) -> Self {
        self.reserves.push(Arc::new(plugin));
        self
    }

    /// Adds a plugin that lets pods go.
    #[must_use]
    pub fn permit(mut self, plugin: impl Permit) -> Self {
        self.permits.push(Arc::new(plugin));
        self
    }

    /// Adds a plugin that prepares for pods.
    #[must_use]
    pub fn pre_bind(mut self, plugin: impl PreBind) -> Self {
        self.pre_binds.push(Arc::new(plugin));
        self
    }

    /// Adds a plugin that binds pods. What all of them leave alone is bound by the API.
    #[must_use]
    pub fn bind(mut self, plugin: impl Bind) -> Self {
        self.binds.push(Arc::new(plugin));
        self
    }
}
