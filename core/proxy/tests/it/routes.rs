//! Routers of two nodes over one API server, with real routes in namespaces that stand for the nodes.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::runtime::Runtime;
use windlass_api::core::v1::Node;
use windlass_apiserver::{ApiServer, access::Rbac};
use windlass_client::{Client, Informers, informer::Parts};
use windlass_cni::routes::{Mode, NodeRoutes, Settings};
use windlass_kernel::{Clock, ClockExt, Identity, PodRoutes, SpawnExt, Stop, api::PatchType};
use windlass_machine::Machine;
use windlass_proxy::Router;
use windlass_store::MemoryStore;

use crate::net::{Lab, within};

/// Two of the lab's pods are the nodes: they are on one bridge, which is all that nodes need.
const NODES: [usize; 2] = [0, 1];

/// On the real machine: the kernel tells of changes when it likes.
struct Cluster {
    machine: Arc<Machine>,
    admin: Client,
    _tokio: Runtime,
}

impl Cluster {
    fn new() -> Self {
        let tokio = Runtime::new().unwrap();
        let machine = Arc::new(Machine::on(tokio.handle().clone()));
        let store = Arc::new(MemoryStore::new(machine.clone(), machine.clone()));
        let builder = ApiServer::builder()
            .store(Arc::clone(&store) as _)
            .authorizer(Arc::new(Rbac::new(store as _)))
            .clock(machine.clone())
            .entropy(machine.clone())
            .spawn(machine.clone());
        let server = machine.block_on(builder.start()).unwrap();
        let identity = Identity::new("admin", &["system:masters", "system:authenticated"]);
        Self { machine, admin: Client::new(server, Arc::new(identity)), _tokio: tokio }
    }

    fn node(&self, at: usize, ip: IpAddr) {
        let node = json!({"metadata": {"name": format!("n{at}")}, "spec": {"podCIDRs": [format!("10.150.{at}.0/24")]}});
        let node: Node = serde_json::from_value(node).unwrap();
        self.machine.block_on(self.admin.create(&node)).unwrap();
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": ip}]}});
        let patch =
            self.admin.patch_status::<Node>("", node.metadata.name.as_deref().unwrap(), PatchType::Merge, status);
        self.machine.block_on(patch).unwrap();
    }

    /// Runs a router until the answer is dropped.
    fn route(&self, at: usize, routes: NodeRoutes) -> windlass_kernel::Task {
        let (clock, spawn, entropy) = (self.machine.clone(), self.machine.clone(), self.machine.clone());
        let proxy = Identity::new("system:kube-proxy", &["system:authenticated"]);
        let client = self.admin.clone().with_identity(Arc::new(proxy));
        let informers = Informers::new(Parts { client, spawn, clock, entropy });
        let router = Router::new(&informers, Arc::new(routes), format!("n{at}"));
        self.machine.spawn("router", async move {
            router.run(Stop::new()).await;
            drop(informers);
        })
    }

    /// Waits until it is so.
    fn until(&self, what: &str, is: impl Fn() -> bool) {
        let end = self.machine.uptime() + Duration::from_secs(20);
        while !is() {
            assert!(self.machine.uptime() < end, "{what}: it does not come to be so");
            self.machine.block_on(self.machine.sleep(Duration::from_millis(20)));
        }
    }
}

fn routes(lab: &Lab, cluster: &Cluster, folder: &std::path::Path, mode: &Mode, at: usize) -> NodeRoutes {
    let settings = Settings {
        node_file: folder.join(format!("n{at}.json")),
        namespace: Some(lab.pod_space(at)),
        ..Settings::new(mode.clone(), vec!["10.150.0.0/16".parse().unwrap()])
    };
    NodeRoutes::new(settings, cluster.machine.clone())
}

fn ip(lab: &Lab, at: usize, words: &str) -> String {
    let words: Vec<String> = words.split(' ').map(Into::into).collect();
    let output = within(&lab.name(&format!("pod{at}")), move || Command::new("ip").args(words).output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a connection from a node to an address in another's range arrives there.
fn arrives(lab: &Lab, from: usize, to: usize) -> bool {
    let address: SocketAddr = format!("10.150.{to}.9:99").parse().unwrap();
    let listener = within(&lab.name(&format!("pod{to}")), move || TcpListener::bind(address)).unwrap();
    let patience = Duration::from_secs(2);
    let connect = move || TcpStream::connect_timeout(&address, patience);
    let stream: io::Result<TcpStream> = within(&lab.name(&format!("pod{from}")), connect);
    stream.is_ok() && listener.accept().is_ok()
}

pub(crate) fn follow(lab: &Lab) {
    for mode in [Mode::Routed, Mode::VXLAN] {
        let (cluster, folder) = (Cluster::new(), tempfile::tempdir().unwrap());
        for at in NODES {
            // In place of a pod: an address of the node's range.
            ip(lab, at, &format!("addr replace 10.150.{at}.9/32 dev lo"));
            cluster.node(at, lab.pod(at));
        }
        let routers = NODES.map(|at| cluster.route(at, routes(lab, &cluster, folder.path(), &mode, at)));
        let led = |at| ip(lab, at, "-4 route show proto 87");
        let there = || NODES.iter().all(|at| led(*at).lines().count() == 1);
        cluster.until("both lead to each other", there);
        assert!(arrives(lab, 0, 1) && arrives(lab, 1, 0), "{mode:?}");

        // Somebody takes away what the routers made.
        ip(lab, 0, "-4 route flush proto 87");
        cluster.until("a route that was taken away is there again", there);
        assert!(arrives(lab, 0, 1), "{mode:?}");

        cluster.machine.block_on(cluster.admin.delete::<Node>("", "n1")).unwrap();
        cluster.until("a node that is gone is not led to", || led(0).is_empty());
        cluster.node(1, lab.pod(1));
        cluster.until("it is back", there);
        assert!(arrives(lab, 0, 1));

        // The routers end, a node goes meanwhile, and others begin: what they find is of a node that is no more.
        drop(routers);
        assert!(arrives(lab, 0, 1), "routes outlive their routers");
        cluster.machine.block_on(cluster.admin.delete::<Node>("", "n1")).unwrap();
        let _router = cluster.route(0, routes(lab, &cluster, folder.path(), &mode, 0));
        cluster.until("what an earlier router left goes", || led(0).is_empty());
        for at in NODES {
            cluster.machine.block_on(routes(lab, &cluster, folder.path(), &mode, at).clear()).unwrap();
        }
    }
}
