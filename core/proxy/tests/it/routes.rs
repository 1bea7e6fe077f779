//! Routers of two nodes over one API server, with real routes in namespaces that stand for the nodes.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use windlass_api::core::v1::Node;
use windlass_apiserver::{ApiServer, access::Rbac};
use windlass_client::{Client, Informers, informer::Parts};
use windlass_cni::routes::{Mode, NodeRoutes, Settings};
use windlass_kernel::{ClockExt, Identity, PodRoutes, SpawnExt, Stop, api::PatchType};
use windlass_proxy::Router;
use windlass_store::MemoryStore;
use windlass_testkit::sim::Executor;

use crate::net::{Lab, within};

/// Two of the lab's pods are the nodes: they are on one bridge, which is all that nodes need.
const NODES: [usize; 2] = [0, 1];

struct Cluster {
    executor: Executor,
    admin: Client,
}

impl Cluster {
    fn new() -> Self {
        let executor = Executor::new(7);
        let store = Arc::new(MemoryStore::new(executor.clock(), executor.spawn()));
        let builder = ApiServer::builder()
            .store(Arc::clone(&store) as _)
            .authorizer(Arc::new(Rbac::new(store as _)))
            .clock(executor.clock())
            .entropy(executor.entropy())
            .spawn(executor.spawn());
        let server = executor.run_until(builder.start()).unwrap();
        let identity = Identity::new("admin", &["system:masters", "system:authenticated"]);
        Self { executor, admin: Client::new(server, Arc::new(identity)) }
    }

    fn node(&self, at: usize, ip: IpAddr) {
        let node = json!({"metadata": {"name": format!("n{at}")}, "spec": {"podCIDRs": [format!("10.150.{at}.0/24")]}});
        let node: Node = serde_json::from_value(node).unwrap();
        self.executor.run_until(self.admin.create(&node)).unwrap();
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": ip}]}});
        let patch =
            self.admin.patch_status::<Node>("", node.metadata.name.as_deref().unwrap(), PatchType::Merge, status);
        self.executor.run_until(patch).unwrap();
    }

    /// Runs a router until the answer is dropped.
    fn route(&self, at: usize, routes: NodeRoutes) -> windlass_kernel::Task {
        let (clock, spawn, entropy) = (self.executor.clock(), self.executor.spawn(), self.executor.entropy());
        let proxy = Identity::new("system:kube-proxy", &["system:authenticated"]);
        let client = self.admin.clone().with_identity(Arc::new(proxy));
        let informers = Informers::new(Parts { client, spawn, clock, entropy });
        let router = Router::new(&informers, Arc::new(routes), format!("n{at}"));
        self.executor.spawn().spawn("router", async move {
            router.run(Stop::new()).await;
            drop(informers);
        })
    }

    /// Lets everything happen that is to happen now: time passes only when nothing is left to do.
    fn settle(&self) {
        let clock = self.executor.clock();
        self.executor.run_until(async move { clock.sleep(Duration::from_secs(1)).await });
    }
}

fn routes(lab: &Lab, cluster: &Cluster, folder: &std::path::Path, mode: &Mode, at: usize) -> NodeRoutes {
    let settings = Settings {
        node_file: folder.join(format!("n{at}.json")),
        namespace: Some(lab.pod_space(at)),
        ..Settings::new(mode.clone(), vec!["10.150.0.0/16".parse().unwrap()])
    };
    NodeRoutes::new(settings, cluster.executor.spawn())
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
        cluster.settle();
        assert!(arrives(lab, 0, 1) && arrives(lab, 1, 0), "{mode:?}");
        let led = |at| ip(lab, at, "-4 route show proto 87");
        assert_eq!(led(0).lines().count(), 1);

        cluster.executor.run_until(cluster.admin.delete::<Node>("", "n1")).unwrap();
        cluster.settle();
        assert_eq!(led(0), "", "{mode:?}");
        cluster.node(1, lab.pod(1));
        cluster.settle();
        assert!(arrives(lab, 0, 1));

        // The routers end, a node goes meanwhile, and others begin: what they find is of a node that is no more.
        drop(routers);
        assert!(arrives(lab, 0, 1), "routes outlive their routers");
        cluster.executor.run_until(cluster.admin.delete::<Node>("", "n1")).unwrap();
        let _router = cluster.route(0, routes(lab, &cluster, folder.path(), &mode, 0));
        cluster.settle();
        assert_eq!(led(0), "", "{mode:?}");
        for at in NODES {
            cluster.executor.run_until(routes(lab, &cluster, folder.path(), &mode, at).clear()).unwrap();
        }
    }
}
