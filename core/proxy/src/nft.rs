//! Service rules as one nftables table, changed by atomic batches handed to `nft`.
//!
//! Nothing here decides which endpoints a service has; that is [`wanted`](crate::wanted)'s business.

mod doors;
mod render;
mod stale;

use std::{
    collections::{BTreeMap, BTreeSet},
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

use self::{
    doors::{Claim, Door, Element, Shared},
    render::Script,
};

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

/// Ports, or their absence.
type Ports = BTreeMap<PortKey, Option<ServicePort>>;

/// What the kernel's table holds now.
#[derive(Debug, Default)]
struct Applied {
    ports: BTreeMap<PortKey, ServicePort>,
    /// Who wants each address and port. The first of them has it.
    doors: BTreeMap<Door, BTreeSet<Claim>>,
    /// How many ports have an endpoint at the address. Each address stands once in the table.
    addresses: BTreeMap<IpAddr, usize>,
    /// The shared chains that were made. They stay.
    shared: BTreeSet<Shared>,
}

impl Applied {
    /// Enters ports, or their absence, and returns what they replace; `script` becomes what the table needs for it.
    fn change(&mut self, ports: Ports, script: &mut Script) -> Ports {
        let changed = |(key, port): &(PortKey, Option<ServicePort>)| self.ports.get(key) != port.as_ref();
        let ports: Ports = ports.into_iter().filter(changed).collect();
        let both = ports.iter().flat_map(|(key, port)| self.ports.get(key).into_iter().chain(port));
        let touched: BTreeSet<_> = both.flat_map(doors::of).map(|(door, _)| door).collect();
        let before = self.elements(&touched);
        let mut undo = Ports::new();
        for (key, port) in ports {
            let old = self.set(&key, port, script);
            script.chains(old.as_ref(), self.ports.get(&key));
            undo.insert(key, old);
        }
        let now = self.elements(&touched);
        for element in before.difference(&now) {
            script.gone(element);
        }
        for element in now.difference(&before) {
            if let Some(shared) = element.shared {
                self.share(shared, script);
            }
            script.come(element);
        }
        undo
    }

    /// What the doors lead to.
    fn elements(&self, doors: &BTreeSet<Door>) -> BTreeSet<Element> {
        let of = |door: &Door| {
            let first = self.doors.get(door)?.first()?;
            Some(doors::elements(*door, first.outside, self.ports.get(&first.port)?))
        };
        doors.iter().filter_map(of).flatten().collect()
    }

    /// Makes a chain, and those that it leads to before it, where they are not there.
    fn share(&mut self, shared: Shared, script: &mut Script) {
        if self.shared.insert(shared) {
            for next in shared.next() {
                self.share(next, script);
            }
            script.share(shared);
        }
    }

    /// Enters a port, or its absence, and returns what it replaced; `script` learns which addresses come and go.
    fn set(&mut self, key: &PortKey, port: Option<ServicePort>, script: &mut Script) -> Option<ServicePort> {
        for endpoint in port.iter().flat_map(|port| &port.endpoints) {
            let count = self.addresses.entry(endpoint.ip).or_default();
            *count += 1;
            if *count == 1 {
                script.hairpin(endpoint.ip);
            }
        }
        let new: Vec<_> = port.iter().flat_map(doors::of).collect();
        let old = match port {
            Some(port) => self.ports.insert(key.clone(), port),
            None => self.ports.remove(key),
        };
        for endpoint in old.iter().flat_map(|old| &old.endpoints) {
            let count = self.addresses.entry(endpoint.ip).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.addresses.remove(&endpoint.ip);
                script.no_hairpin(endpoint.ip);
            }
        }
        for (door, claim) in old.iter().flat_map(doors::of) {
            if let Some(claims) = self.doors.get_mut(&door) {
                claims.remove(&claim);
            }
        }
        for (door, claim) in new {
            self.doors.entry(door).or_default().insert(claim);
        }
        for (door, _) in old.iter().flat_map(doors::of) {
            if self.doors.get(&door).is_some_and(BTreeSet::is_empty) {
                self.doors.remove(&door);
            }
        }
        old
    }

    /// Warns of addresses that several of the ports want.
    fn tell_shared(&self, ports: &Ports) {
        for (door, claim) in ports.keys().filter_map(|key| self.ports.get(key)).flat_map(doors::of) {
            let first = self.doors.get(&door).and_then(BTreeSet::first);
            if let Some(first) = first.filter(|first| first.port != claim.port) {
                tracing::warn!(%door, has = %first.port.service, wants = %claim.port.service, "two services want one address");
            }
        }
    }
}

#[async_trait]
impl ServiceRules for NftRules {
    async fn replace(&self, wanted: Vec<ServicePort>) -> Result<()> {
        let mut applied = self.applied.lock().await;
        let mut next = Applied::default();
        let mut script = Script::fresh(&self.table);
        let new = next.change(wanted.into_iter().map(|port| (port.key.clone(), Some(port))).collect(), &mut script);
        self.run(script.finish()).await?;
        *applied = next;
        applied.tell_shared(&new);
        // Nobody knows what was there before.
        self.forget(applied.ports.values().flat_map(stale::all).collect()).await;
        Ok(())
    }

    async fn change(&self, change: RulesChange) -> Result<()> {
        let mut applied = self.applied.lock().await;
        let mut script = Script::of(&self.table);
        let gone = change.gone.into_iter().map(|key| (key, None));
        let put = change.put.into_iter().map(|port| (port.key.clone(), Some(port)));
        let shared = applied.shared.clone();
        let undo = applied.change(gone.chain(put).collect(), &mut script);
        if undo.is_empty() {
            return Ok(());
        }
        let done = self.run(script.finish()).await;
        if done.is_ok() {
            applied.tell_shared(&undo);
            let before = undo.iter().filter_map(|(key, old)| Some((key, old.as_ref()?)));
            let flows = before.flat_map(|(key, old)| stale::between(old, applied.ports.get(key)));
            let new = undo.iter().filter(|(_, old)| old.is_none()).filter_map(|(key, _)| applied.ports.get(key));
            self.forget(flows.chain(new.flat_map(stale::all)).collect()).await;
        } else {
            applied.change(undo, &mut Script::of(&self.table));
            applied.shared = shared;
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
