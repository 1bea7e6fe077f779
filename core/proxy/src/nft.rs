//! Service rules as one nftables table, changed by atomic batches handed to `nft`.
//!
//! Nothing here decides which endpoints a service has; that is [`wanted`](crate::wanted)'s business.

mod render;
mod stale;

use std::{
    collections::BTreeMap,
    io::Write,
    net::IpAddr,
    process::{Command, Stdio},
    sync::Arc,
};

use async_trait::async_trait;
use windlass_kernel::{
    Error, ErrorKind, FlowMemory, Result, ServiceRules, Spawn, SpawnExt,
    rules::{Flows, PortKey, RulesChange, ServicePort},
};

use self::render::Script;

/// Service rules in the kernel's nftables, under one table of their own.
#[derive(Clone, Debug)]
pub struct NftRules {
    spawn: Arc<dyn Spawn>,
    command: Vec<String>,
    table: String,
    applied: Arc<async_lock::Mutex<Applied>>,
    memory: Option<Arc<dyn FlowMemory>>,
}

impl NftRules {
    /// Rules in the table `inet windlass` of this process's network namespace.
    #[must_use]
    pub fn new(spawn: Arc<dyn Spawn>) -> Self {
        Self { spawn, command: vec!["nft".into()], table: "windlass".into(), applied: Arc::default(), memory: None }
    }

    /// Runs `nft` through another command, such as `nsenter --net=… nft`.
    #[must_use]
    pub fn through(mut self, command: Vec<String>) -> Self {
        self.command = command;
        self
    }

    /// Has the node forget where packets without a connection went when their service's endpoints change.
    #[must_use]
    pub fn forgetting(mut self, memory: Arc<dyn FlowMemory>) -> Self {
        self.memory = Some(memory);
        self
    }

    /// Uses another table, so that two clusters share a machine.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// What the rules say now is done; packets that go where they used to are a lesser evil than rules that are not as told.
    async fn forget(&self, flows: Vec<Flows>) {
        let Some(memory) = self.memory.as_ref().filter(|_| !flows.is_empty()) else { return };
        if let Err(error) = memory.forget(flows).await {
            tracing::warn!(%error, "packets without a connection may go to endpoints of before for a while");
        }
    }

    async fn run(&self, script: String) -> Result<()> {
        let command = self.command.clone();
        let done = self.spawn.run_blocking("proxy.nft", move || feed(&command, &script)).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the nft runner panicked")))
    }
}

/// What the kernel's table holds now.
#[derive(Debug, Default)]
struct Applied {
    ports: BTreeMap<PortKey, ServicePort>,
    /// How many ports have an endpoint at the address. Each address stands once in the table.
    addresses: BTreeMap<IpAddr, usize>,
}

impl Applied {
    /// Enters a port, or its absence, and returns what it replaces; `script` learns which addresses come and go.
    fn set(&mut self, key: &PortKey, port: Option<ServicePort>, script: &mut Script) -> Option<ServicePort> {
        for endpoint in port.iter().flat_map(|port| &port.endpoints) {
            let count = self.addresses.entry(endpoint.ip).or_default();
            *count += 1;
            if *count == 1 {
                script.hairpin("add", endpoint.ip);
            }
        }
        let old = match port {
            Some(port) => self.ports.insert(key.clone(), port),
            None => self.ports.remove(key),
        };
        for endpoint in old.iter().flat_map(|old| &old.endpoints) {
            let count = self.addresses.entry(endpoint.ip).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.addresses.remove(&endpoint.ip);
                script.hairpin("delete", endpoint.ip);
            }
        }
        old
    }
}

#[async_trait]
impl ServiceRules for NftRules {
    async fn replace(&self, wanted: Vec<ServicePort>) -> Result<()> {
        let mut applied = self.applied.lock().await;
        let mut next = Applied::default();
        let mut script = Script::fresh(&self.table);
        for port in wanted {
            script.put(None, &port);
            next.set(&port.key.clone(), Some(port), &mut script);
        }
        self.run(script.finish()).await?;
        *applied = next;
        // Nobody knows what was there before.
        self.forget(applied.ports.values().flat_map(stale::all).collect()).await;
        Ok(())
    }

    async fn change(&self, change: RulesChange) -> Result<()> {
        let mut applied = self.applied.lock().await;
        let mut script = Script::of(&self.table);
        let gone = change.gone.into_iter().map(|key| (key, None));
        let put = change.put.into_iter().map(|port| (port.key.clone(), Some(port)));
        let mut undo = Vec::new();
        for (key, port) in gone.chain(put) {
            match (applied.ports.get(&key), &port) {
                (old, Some(port)) => script.put(old, port),
                (Some(old), None) => script.remove(old),
                (None, None) => continue,
            }
            let old = applied.set(&key, port, &mut script);
            undo.push((key, old));
        }
        let done = self.run(script.finish()).await;
        if done.is_ok() {
            let before = undo.iter().filter_map(|(key, old)| Some((key, old.as_ref()?)));
            let flows = before.flat_map(|(key, old)| stale::between(old, applied.ports.get(key)));
            let new = undo.iter().filter(|(_, old)| old.is_none()).filter_map(|(key, _)| applied.ports.get(key));
            self.forget(flows.chain(new.flat_map(stale::all)).collect()).await;
        } else {
            let mut ignored = Script::of(&self.table);
            for (key, old) in undo.into_iter().rev() {
                applied.set(&key, old, &mut ignored);
            }
        }
        done
    }

    async fn clear(&self) -> Result<()> {
        let mut applied = self.applied.lock().await;
        // Adding a table that exists changes nothing, and lets the deletion succeed where there is none.
        self.run(format!("add table inet {0}\ndelete table inet {0}\n", self.table)).await?;
        *applied = Applied::default();
        Ok(())
    }
}

fn feed(command: &[String], script: &str) -> Result<()> {
    let broken = |what: &str| Error::new(ErrorKind::Unavailable, format!("cannot {what} {:?}", command.join(" ")));
    let (program, arguments) = command.split_first().ok_or_else(|| broken("run the empty command"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| broken("run").with_source(error))?;
    let written = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(|error| broken("wait for").with_source(error))?;
    if output.status.success() {
        return written.map_err(|error| broken("write to").with_source(error));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("no message");
    Err(Error::new(ErrorKind::Internal, format!("nft refused the service rules: {first}")))
}
