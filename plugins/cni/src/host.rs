//! A `PodNetwork` by running plugin binaries, as libcni does for containerd and CRI-O.
//!
//! What is attached is remembered in files only, so that a restarted host goes on where it was. The configuration is read
//! anew for each call: a change needs no restart.

mod cache;
mod chain;
mod config;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::channel::oneshot;
use windlass_kernel::{
    Clock, Error, ErrorKind, PodNetwork, Result, Spawn, SpawnExt,
    network::{Attached, Attachment, AttachmentKey},
};

use self::{cache::Cache, chain::Chain};
use crate::{failed, net::bring_lo_up, turns::Turns, wire};

/// Where everything is, and how long a plugin may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder of network configurations. The first file in order of names that can be read is the network.
    pub config_dir: PathBuf,
    /// The name of the network to use in place of the first.
    pub network: Option<String>,
    /// The folders of plugin binaries (`CNI_PATH`).
    pub plugin_dirs: Vec<PathBuf>,
    /// Where it is remembered what is attached, and with which configuration.
    pub cache_dir: PathBuf,
    /// How long one plugin may take for one verb. Then it is killed.
    pub deadline: Duration,
}

impl Settings {
    /// The usual places: `/etc/cni/net.d`, `/opt/cni/bin` and Debian's `/usr/lib/cni`, `/var/lib/cni`, two minutes.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            config_dir: "/etc/cni/net.d".into(),
            network: None,
            plugin_dirs: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            cache_dir: "/var/lib/cni".into(),
            deadline: Duration::from_secs(120),
        }
    }

    /// The network's configuration as it is now.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where there is none, with the reason and the cure.
    pub fn network(&self) -> Result<wire::NetworkList> {
        config::load(self)
    }
}

/// One run of one plugin, for whoever wants to see what was said.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The plugin.
    pub plugin: PathBuf,
    /// The verb.
    pub verb: &'static str,
    /// What the environment said, beside the verb.
    pub environment: Vec<(&'static str, String)>,
    /// The configuration that it was handed.
    pub input: String,
    /// What it answered.
    pub output: String,
    /// What it wrote beside.
    pub errors: String,
    /// How it ended, in words.
    pub end: String,
    /// How long it took.
    pub took: Duration,
}

/// Who is shown each exchange.
pub type Observer = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// A network made by plugin binaries. Clones are the same one.
#[derive(Clone)]
pub struct CniNetwork(Arc<Inner>);

struct Inner {
    settings: Settings,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    observer: Option<Observer>,
    cache: Cache,
    turns: Turns,
}

impl CniNetwork {
    /// The network that `settings` lead to. Nothing is read yet.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        let cache = Cache::at(&settings.cache_dir);
        Self(Arc::new(Inner { settings, clock, spawn, observer: None, cache, turns: Turns::default() }))
    }

    /// Shows each exchange to `observer`.
    #[must_use]
    pub fn observed(self, observer: Observer) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            settings: inner.settings.clone(),
            clock: Arc::clone(&inner.clock),
            spawn: Arc::clone(&inner.spawn),
            observer: Some(observer),
            cache: inner.cache.clone(),
            turns: Turns::default(),
        }))
    }

    /// What each plugin of the network says of itself: its name and the versions that it speaks.
    ///
    /// # Errors
    ///
    /// That no configuration can be read, or that a plugin does not answer.
    pub async fn versions(&self) -> Result<Vec<(String, wire::VersionInfo)>> {
        let inner = Arc::clone(&self.0);
        self.owned(async move { inner.chain()?.versions().await }).await
    }

    /// Runs work in a task of its own: dropping the call's future leaves no plugin half-watched.
    async fn owned<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let (give, take) = oneshot::channel();
        let task = async move {
            // Nobody waits any more: what was done is found again by the next call.
            let _ = give.send(work.await);
        };
        self.0.spawn.spawn("cni.call", task).detach();
        take.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the call to CNI was ended").maybe_applied()))
    }
}

impl Inner {
    /// The network's plugins as they are configured now.
    fn chain(&self) -> Result<Chain<'_>> {
        let list = self.settings.network()?;
        Ok(Chain::new(self, list))
    }

    async fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        let Some(namespace) = &attachment.namespace else {
            let message = format!("cannot attach {}: it has no network namespace", attachment.key);
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let chain = self.chain()?;
        let known = self.cache.read(chain.name(), &attachment.key)?;
        if known.is_some_and(|known| known.result.is_some()) {
            let message = format!("{} is attached to {} already: detach it first", attachment.key, chain.name());
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        // Noted first: whatever happens from here on, a later detach or collect knows what was begun.
        self.cache.write(&chain.note(attachment, None))?;
        let added = match self.bring_lo_up(&chain, namespace).await {
            Ok(()) => chain.add(attachment, namespace).await,
            Err(error) => Err(error),
        };
        match added {
            Ok(result) => {
                self.cache.write(&chain.note(attachment, Some(&result)))?;
                Ok(wire::attached_from_wire(&result))
            }
            Err(error) => {
                // "If ADD fails, the runtime must call DEL." Where that fails too, the note stays for the next try.
                if let Err(left) = chain.del(attachment, None).await {
                    tracing::warn!(key = %attachment.key, %left, "what a failed ADD left could not be removed");
                    return Err(error.maybe_applied());
                }
                self.cache.remove(chain.name(), &attachment.key)?;
                Err(error)
            }
        }
    }

    /// Brings `lo` up where no plugin of the chain is there for that. What is no namespace is left to the plugins to refuse.
    async fn bring_lo_up(&self, chain: &Chain<'_>, namespace: &Path) -> Result<()> {
        if chain.has("loopback") {
            return Ok(());
        }
        let Ok(there) = crate::namespace::open(namespace) else { return Ok(()) };
        let work = move || crate::namespace::inside(&there, || bring_lo_up().map_err(failed("bring lo up")));
        let done = self.spawn.run_blocking("cni.loopback", work).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "bringing lo up panicked")))
    }

    /// Removes an attachment, with the configuration that it was made with where that is known.
    async fn release(&self, attachment: &Attachment) -> Result<()> {
        let now = self.chain();
        let known = match &now {
            Ok(chain) => self.cache.read(chain.name(), &attachment.key)?,
            // The configuration is gone; what it made can be removed all the same.
            Err(_) => self.cache.find(&attachment.key)?,
        };
        let Some(known) = known else {
            // Never seen, or seen by another: the plugins say what they know.
            return now?.del(attachment, None).await;
        };
        let chain = Chain::new(self, known.list()?);
        let attachment = known.attachment(attachment);
        chain.del(&attachment, known.result(chain.version()?)?.as_ref()).await?;
        self.cache.remove(chain.name(), &attachment.key)
    }

    async fn check(&self, attachment: &Attachment) -> Result<()> {
        let now = self.chain()?;
        let known = self.cache.read(now.name(), &attachment.key)?.filter(|known| known.result.is_some());
        let Some(known) = known else {
            let message = format!("{} is not attached to {}", attachment.key, now.name());
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let chain = Chain::new(self, known.list()?);
        let result = known.result(chain.version()?)?;
        chain.check(&known.attachment(attachment), result.as_ref()).await
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        let chain = self.chain()?;
        let mut failed = None;
        for known in self.cache.all(chain.name())? {
            let key = known.key();
            if valid.contains(&key) {
                continue;
            }
            let _turn = self.turns.next(&key.sandbox).await;
            let gone = known.attachment(&Attachment { key, ..Attachment::default() });
            if let Err(error) = self.release(&gone).await {
                tracing::warn!(key = %gone.key, %error, "a stale attachment could not be removed");
                failed = Some(error);
            }
        }
        chain.gc(valid).await?;
        failed.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl PodNetwork for CniNetwork {
    async fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        attachment.key.validate()?;
        let turn = self.0.turns.next(&attachment.key.sandbox).await;
        let (inner, attachment) = (Arc::clone(&self.0), attachment.clone());
        self.owned(async move {
            let _turn = turn;
            inner.attach(&attachment).await
        })
        .await
    }

    async fn detach(&self, attachment: &Attachment) -> Result<()> {
        attachment.key.validate()?;
        let turn = self.0.turns.next(&attachment.key.sandbox).await;
        let (inner, attachment) = (Arc::clone(&self.0), attachment.clone());
        self.owned(async move {
            let _turn = turn;
            inner.release(&attachment).await
        })
        .await
    }

    async fn check(&self, attachment: &Attachment) -> Result<()> {
        attachment.key.validate()?;
        let turn = self.0.turns.next(&attachment.key.sandbox).await;
        let (inner, attachment) = (Arc::clone(&self.0), attachment.clone());
        self.owned(async move {
            let _turn = turn;
            inner.check(&attachment).await
        })
        .await
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        let (inner, valid) = (Arc::clone(&self.0), valid.to_vec());
        self.owned(async move { inner.collect(&valid).await }).await
    }

    async fn ready(&self) -> Result<()> {
        let inner = Arc::clone(&self.0);
        self.owned(async move { inner.chain()?.status().await }).await
    }
}

impl fmt::Debug for CniNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CniNetwork").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
