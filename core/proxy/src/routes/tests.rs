//! The router against the real API server, in virtual time, over routes that only write down what they are told.

use async_trait::async_trait;
use futures::{
    StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_apiserver::{
    ApiServer,
    access::{InTurn, NodeAuthorizer, Rbac},
};
use windlass_client::{Client, informer::Parts};
use windlass_kernel::{Error, ErrorKind, Identity, Result, SpawnExt, api::PatchType};
use windlass_store::MemoryStore;
use windlass_testkit::sim::Executor;

use super::*;

/// Tells each call as a line of text.
#[derive(Debug)]
struct Told {
    calls: UnboundedSender<String>,
    /// How often each call fails from now on.
    failures: Mutex<usize>,
    /// Nodes that cannot be reached.
    cut_off: Mutex<Vec<String>>,
    /// Says that somebody else changed something.
    disturb: Mutex<Option<UnboundedSender<()>>>,
}

impl Told {
    fn tell(&self, call: String, put: &[RoutedNode]) -> Result<Vec<Unreached>> {
        let mut failures = self.failures.lock();
        let fails = *failures > 0;
        *failures = failures.saturating_sub(1);
        self.calls.unbounded_send(call).unwrap();
        let broken = || Error::new(ErrorKind::Internal, "netlink is broken");
        if fails {
            return Err(broken());
        }
        let cut_off = self.cut_off.lock();
        let unreached = put.iter().filter(|node| cut_off.contains(&node.name));
        Ok(unreached.map(|node| Unreached { node: node.name.clone(), why: broken() }).collect())
    }
}

fn words(nodes: &[RoutedNode]) -> String {
    let word = |node: &RoutedNode| {
        let list = |all: Vec<String>| all.join("+");
        let ranges = list(node.ranges.iter().map(ToString::to_string).collect());
        format!(" {}={}@{}", node.name, ranges, list(node.addresses.iter().map(ToString::to_string).collect()))
    };
    nodes.iter().map(word).collect()
}

#[async_trait]
impl PodRoutes for Told {
    async fn replace(&self, own: RoutedNode, others: Vec<RoutedNode>) -> Result<Vec<Unreached>> {
        self.tell(format!("replace{} with{}", words(&[own]), words(&others)), &others)
    }

    async fn change(&self, change: RoutesChange) -> Result<Vec<Unreached>> {
        let gone: String = change.gone.iter().map(|name| format!(" -{name}")).collect();
        self.tell(format!("change{}{gone}", words(&change.put)), &change.put)
    }

    fn disturbances(&self) -> Option<Disturbances> {
        let (sender, told) = unbounded();
        sender.unbounded_send(()).unwrap();
        *self.disturb.lock() = Some(sender);
        Some(told.boxed())
    }

    async fn clear(&self) -> Result<()> {
        Ok(())
    }
}

struct Cluster {
    executor: Executor,
    admin: Client,
    told: Arc<Told>,
    calls: UnboundedReceiver<String>,
}

impl Cluster {
    fn new() -> Self {
        let executor = Executor::new(1);
        let store = Arc::new(MemoryStore::new(executor.clock(), executor.spawn()));
        // Nodes write their own status by the one, everything else goes by the other.
        let nodes = Arc::new(NodeAuthorizer::new(&(Arc::clone(&store) as _)));
        let authorizer = InTurn::new().then(nodes).then(Arc::new(Rbac::new(Arc::clone(&store) as _)));
        let builder = ApiServer::builder()
            .store(Arc::clone(&store) as _)
            .authorizer(Arc::new(authorizer))
            .clock(executor.clock())
            .entropy(executor.entropy())
            .spawn(executor.spawn());
        let server = executor.run_until(builder.start()).unwrap();
        let identity = Identity::new("admin", &["system:masters", "system:authenticated"]);
        let admin = Client::new(server, Arc::new(identity));
        let (sender, calls) = unbounded();
        let told = Arc::new(Told {
            calls: sender,
            failures: Mutex::default(),
            cut_off: Mutex::default(),
            disturb: Mutex::default(),
        });
        Self { executor, admin, told, calls }
    }

    /// Starts a router for the node `own`.
    fn route(&self) {
        let (clock, spawn, entropy) = (self.executor.clock(), self.executor.spawn(), self.executor.entropy());
        let proxy = Identity::new("system:kube-proxy", &["system:authenticated"]);
        let client = self.admin.clone().with_identity(Arc::new(proxy));
        let node = Identity::new("system:node:own", &["system:nodes", "system:authenticated"]);
        let told = Parts {
            client: self.admin.clone().with_identity(Arc::new(node)),
            spawn: spawn.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let informers = Informers::new(Parts { client, spawn, clock, entropy });
        let router = Router::new(&informers, Arc::clone(&self.told) as _, "own").telling(&told);
        self.executor.spawn().spawn("router", router.run(Stop::new())).detach();
    }

    fn node(&self, name: &str, ranges: &[&str], address: &str) {
        let node = json!({"metadata": {"name": name}, "spec": {"podCIDRs": ranges}});
        let node: Node = serde_json::from_value(node).unwrap();
        self.executor.run_until(self.admin.create(&node)).unwrap();
        if !address.is_empty() {
            self.addresses(
                name,
                &json!([
                    {"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address},
                ]),
            );
        }
    }

    fn addresses(&self, name: &str, addresses: &Value) {
        let patch = json!({"status": {"addresses": addresses}});
        self.executor.run_until(self.admin.patch_status::<Node>("", name, PatchType::Merge, patch)).unwrap();
    }

    /// The next call, whenever it comes.
    fn call(&mut self) -> String {
        self.executor.run_until(self.calls.next()).unwrap()
    }
}

#[test]
fn a_node_is_routed_to_when_it_has_ranges_and_not_when_it_is_gone() {
    let mut cluster = Cluster::new();
    cluster.node("n2", &["10.0.2.0/24", "fd00:2::/64"], "192.0.2.2");
    cluster.node("n3", &[], "192.0.2.3");
    cluster.route();
    cluster.node("own", &["10.0.1.0/24"], "192.0.2.1");
    // The node was there before its address was, and nothing was made before both.
    assert_eq!(cluster.call(), "replace own=10.0.1.0/24@192.0.2.1 with n2=10.0.2.0/24+fd00:2::/64@192.0.2.2");
    let patch = |cluster: &Cluster, name: &str, body: Value| {
        cluster.executor.run_until(cluster.admin.patch::<Node>("", name, PatchType::Merge, body)).unwrap();
    };
    // What routes do not care about is told to nobody.
    patch(&cluster, "n2", json!({"metadata": {"labels": {"zone": "a"}}}));
    patch(&cluster, "own", json!({"metadata": {"labels": {"zone": "a"}}}));
    patch(&cluster, "n3", json!({"spec": {"podCIDRs": ["10.0.3.0/24"]}}));
    assert_eq!(cluster.call(), "change n3=10.0.3.0/24@192.0.2.3");
    cluster.executor.run_until(cluster.admin.delete::<Node>("", "n2")).unwrap();
    assert_eq!(cluster.call(), "change -n2");
    cluster.addresses("n3", &json!([{"type": "InternalIP", "address": "192.0.2.33"}]));
    assert_eq!(cluster.call(), "change n3=10.0.3.0/24@192.0.2.33");
    cluster.addresses("own", &json!([{"type": "InternalIP", "address": "192.0.2.11"}]));
    assert_eq!(cluster.call(), "replace own=10.0.1.0/24@192.0.2.11 with n3=10.0.3.0/24@192.0.2.33");
}

#[test]
fn what_failed_is_tried_again() {
    let mut cluster = Cluster::new();
    cluster.node("own", &["10.0.1.0/24"], "192.0.2.1");
    cluster.node("n2", &["10.0.2.0/24"], "192.0.2.2");
    *cluster.told.failures.lock() = 1;
    cluster.told.cut_off.lock().push("n3".into());
    cluster.route();
    let whole = "replace own=10.0.1.0/24@192.0.2.1 with n2=10.0.2.0/24@192.0.2.2";
    assert_eq!([cluster.call(), cluster.call()], [whole, whole]);
    // One that is not reached is tried by itself; one that is reached is left alone.
    cluster.node("n3", &["10.0.3.0/24"], "192.0.2.3");
    let one = "change n3=10.0.3.0/24@192.0.2.3";
    while cluster.call() != one {}
    assert_eq!([cluster.call(), cluster.call()], [one, one]);
    cluster.told.cut_off.lock().clear();
    assert_eq!(cluster.call(), one);
    // Now that it is, the next call is about somebody else. A change that fails has all made anew.
    *cluster.told.failures.lock() = 1;
    cluster.executor.run_until(cluster.admin.delete::<Node>("", "n2")).unwrap();
    let calls = [cluster.call(), cluster.call()];
    assert_eq!(calls, ["change -n2", "replace own=10.0.1.0/24@192.0.2.1 with n3=10.0.3.0/24@192.0.2.3"]);
}

impl Cluster {
    /// What the node says of its network: status and reason.
    fn said(&self) -> String {
        let node = self.executor.run_until(self.admin.get::<Node>("", "own")).unwrap();
        let found = node.status.conditions.iter().find(|condition| condition.type_ == "NetworkUnavailable");
        found.map_or_else(String::new, |own| format!("{} {}", own.status, own.reason.clone().unwrap_or_default()))
    }

    fn comes_to_say(&self, wanted: &str) {
        let clock = self.executor.clock();
        for _ in 0..600 {
            if self.said() == wanted {
                return;
            }
            self.executor.run_until(clock.sleep(Duration::from_millis(100)));
        }
        panic!("the node does not say {wanted}, but {}", self.said());
    }
}

#[test]
fn what_somebody_else_changes_is_made_anew() {
    let mut cluster = Cluster::new();
    cluster.node("own", &["10.0.1.0/24"], "192.0.2.1");
    cluster.node("n2", &["10.0.2.0/24"], "192.0.2.2");
    cluster.route();
    let whole = "replace own=10.0.1.0/24@192.0.2.1 with n2=10.0.2.0/24@192.0.2.2";
    assert_eq!(cluster.call(), whole);
    let disturb = cluster.told.disturb.lock().clone().unwrap();
    let clock = cluster.executor.clock();
    let (begun, times) = (clock.uptime(), 5);
    for _ in 0..times {
        disturb.unbounded_send(()).unwrap();
        assert_eq!(cluster.call(), whole);
    }
    // Somebody who does so all the time does not keep the machine busy.
    assert!(clock.uptime() - begun >= REST * (times - 1), "{:?}", clock.uptime() - begun);
    // When nobody can tell any more, nodes are followed still.
    drop((disturb, cluster.told.disturb.lock().take()));
    cluster.node("n3", &["10.0.3.0/24"], "192.0.2.3");
    assert_eq!(cluster.call(), "change n3=10.0.3.0/24@192.0.2.3");
}

#[test]
fn a_node_says_whether_it_has_routes_and_which_nodes_it_does_not_reach() {
    let mut cluster = Cluster::new();
    cluster.node("own", &["10.0.1.0/24"], "192.0.2.1");
    cluster.node("n2", &["10.0.2.0/24"], "192.0.2.2");
    *cluster.told.failures.lock() = 1;
    cluster.told.cut_off.lock().push("n2".into());
    cluster.route();
    cluster.comes_to_say("True NoRouteCreated");
    // What stood in the way goes: nobody has to wait for the next try. The only other node is not reached still.
    let disturb = cluster.told.disturb.lock().clone().unwrap();
    while cluster.calls.try_recv().is_ok() {}
    disturb.unbounded_send(()).unwrap();
    let begun = cluster.executor.clock().uptime();
    assert!(cluster.call().starts_with("replace"));
    assert!(cluster.executor.clock().uptime() - begun < RETRY / 2);
    assert_eq!(cluster.said(), "True NoRouteCreated");
    let clock = cluster.executor.clock();
    cluster.executor.run_until(clock.sleep(Duration::from_secs(5)));
    let select = Select::namespace("default");
    let events = cluster.executor.run_until(cluster.admin.list::<windlass_api::core::v1::Event>(&select)).unwrap();
    let event = events.iter().find(|event| event.reason.as_deref() == Some("FailedToCreateRoute")).expect("an event");
    assert_eq!(event.involved_object.name.as_deref(), Some("n2"));
    let text = "Could not create route 10.0.2.0/24 for node n2 on node own: netlink is broken";
    assert_eq!(event.message.as_deref(), Some(text));
    // One that is reached is enough.
    cluster.node("n3", &["10.0.3.0/24"], "192.0.2.4");
    cluster.comes_to_say("False RouteCreated");
    cluster.told.cut_off.lock().push("n3".into());
    cluster.addresses("n3", &json!([{"type": "InternalIP", "address": "192.0.2.3"}]));
    cluster.comes_to_say("True NoRouteCreated");
    cluster.told.cut_off.lock().clear();
    cluster.comes_to_say("False RouteCreated");
}
