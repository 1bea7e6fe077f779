//! A cluster on the seeded executor, whose store's every change is logged.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use windlass::{
    Cluster,
    client::Client,
    kernel::{ClockExt, Revision, SpawnExt, Store, store::KeyRange},
    testing::{FakeCluster, Moment, Rim},
    testkit::{
        EventLog, FakeNode,
        sim::{Executor, Process},
    },
};

/// What a simulation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// What a reader wants to know, line by line.
    pub story: Vec<String>,
    /// How many changes the store made.
    pub changes: usize,
    /// How often tasks were polled.
    pub polls: u64,
    /// The hash of every change: its revision, key and value.
    pub hash: String,
}

/// A cluster in virtual time.
#[derive(Debug)]
pub struct World {
    executor: Executor,
    cluster: FakeCluster,
    nodes: BTreeMap<String, Process>,
    log: Arc<EventLog>,
    story: Vec<String>,
}

impl World {
    /// A cluster without nodes, whose every choice comes from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let executor = Executor::new(seed);
        let rim = Rim::of(&executor.handle());
        let begun = Moment::first(&rim).begin(Cluster::builder(), rim);
        let cluster = executor.run_until(begun).expect("a cluster in memory starts");
        let log = Arc::new(EventLog::default());
        let store = Arc::clone(cluster.cluster().store());
        executor.spawn().spawn("sim.log", record(store, Arc::clone(&log))).detach();
        Self { executor, cluster, nodes: BTreeMap::new(), log, story: vec![] }
    }

    /// Adds a node whose host and agent die together.
    pub fn add_node(&mut self, name: &str, at: u16) {
        let process = self.executor.process();
        let added = self.cluster.add_node(FakeNode::new(name, at), Rim::of(&process.handle()));
        self.executor.run_until(added).expect("a node of a new name is added");
        self.nodes.insert(name.to_owned(), process);
    }

    /// Kills a node: its host and its agent are gone between two steps.
    pub fn kill_node(&mut self, name: &str) {
        if let Some(process) = self.nodes.remove(name) {
            process.kill();
            self.cluster.kill_node(name);
            self.tell(&format!("{name} dies"));
        }
    }

    /// A client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.cluster.cluster().client().with_field_manager("sim")
    }

    /// Runs the cluster until `work` is done.
    pub fn run<F: Future>(&self, work: F) -> F::Output {
        self.executor.run_until(work)
    }

    /// Waits until `holds` answers yes, looked at each second of virtual time.
    ///
    /// # Panics
    ///
    /// Where that takes longer than `limit`.
    pub fn wait(&mut self, what: &str, limit: Duration, mut holds: impl AsyncFnMut(&Client) -> bool) {
        let (client, clock) = (self.client(), self.executor.clock());
        let began = clock.uptime();
        let waiting = async {
            while !holds(&client).await {
                assert!(clock.uptime() - began < limit, "{what}: not within {limit:?} of virtual time");
                clock.sleep(Duration::from_secs(1)).await;
            }
        };
        self.executor.run_until(waiting);
        self.tell(what);
    }

    /// Adds a line to the story, with its time.
    pub fn tell(&mut self, line: &str) {
        let seconds = self.executor.clock().uptime().as_secs();
        self.story.push(format!("{seconds:>5} s  {line}"));
    }

    /// Lets everything settle and says what happened.
    #[must_use]
    pub fn end(self) -> History {
        self.executor.run_for(Duration::from_secs(5));
        let panics = self.executor.panics();
        assert!(panics.is_empty(), "tasks panicked: {panics:?}");
        let polls = self.executor.steps();
        History { story: self.story, changes: self.log.lines().len(), polls, hash: self.log.hash() }
    }
}

/// Logs every change of the store.
async fn record(store: Arc<dyn Store>, log: Arc<EventLog>) {
    let Ok(mut changes) = store.watch(KeyRange::prefix(""), Revision(0)).await else { return };
    while let Some(Ok(change)) = futures::StreamExt::next(&mut changes).await {
        let value = change.after.as_ref().map_or(&[][..], |entry| &entry.value[..]);
        log.append(format!("{} {:?} {}", change.revision, change.key(), String::from_utf8_lossy(value)));
    }
}
