use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use windlass_api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Container, Pod, PodSpec},
};
use windlass_client::{Client, Select};
use windlass_kernel::ClockExt;
use windlass_testkit::{
    agent::{Process, Program},
    sim::{Executor, Limits},
};

use super::*;

fn begin(executor: &Executor) -> FakeCluster {
    let rim = Rim::of(&executor.handle());
    let moment = Moment::first(&rim).node(FakeNode::new("n1", 0), &rim);
    executor.run_until(async {
        let whole = moment.begin(Cluster::builder(), rim).await.unwrap();
        whole.cluster().ready().await.unwrap();
        whole
    })
}

fn fork(executor: &Executor, whole: &FakeCluster) -> (Executor, FakeCluster) {
    let other = Executor::beginning_at(9, Limits::default(), executor.clock().uptime());
    let rim = Rim::of(&other.handle());
    let moment = whole.moment(&rim, &Programs::default());
    let fork = other.run_until(moment.begin(Cluster::builder(), rim)).unwrap();
    (other, fork)
}

fn pod(name: &str) -> Pod {
    let mut pod = Pod::default();
    (pod.metadata.namespace, pod.metadata.name) = (Some("default".into()), Some(name.into()));
    let container = Container { name: "c".into(), image: Some("i".into()), ..Container::default() };
    pod.spec = PodSpec { containers: vec![container], ..PodSpec::default() };
    pod
}

async fn running(client: &Client, clock: &Arc<dyn Clock>, name: &str) -> Arc<Pod> {
    loop {
        let pod = client.get::<Pod>("default", name).await.unwrap();
        if pod.status.phase.as_deref() == Some("Running") {
            return pod;
        }
        clock.sleep(Duration::from_secs(1)).await;
    }
}

#[test]
fn pods_of_a_fork_go_on_and_neither_side_sees_the_other() {
    let executor = Executor::new(7);
    let whole = begin(&executor);
    let client = whole.cluster().client();
    let before = executor.run_until(async {
        client.create(&pod("a")).await.unwrap();
        running(&client, &executor.clock(), "a").await
    });
    let (other, forked) = fork(&executor, &whole);
    let theirs = forked.cluster().client();
    other.run_for(Duration::from_secs(120));
    other.run_until(async {
        let same = running(&theirs, &other.clock(), "a").await;
        assert_eq!((&same.metadata.uid, &same.status.pod_ip), (&before.metadata.uid, &before.status.pod_ip));
        assert_eq!(same.status.container_statuses[0].restart_count, 0);
        theirs.create(&pod("b")).await.unwrap();
        running(&theirs, &other.clock(), "b").await;
    });
    executor.run_until(async {
        assert_eq!(client.list::<Pod>(&Select::all()).await.unwrap().len(), 1);
    });
    let found = other.run_until(differences(whole.cluster().store().as_ref(), forked.cluster().store().as_ref()));
    let names: Vec<_> = found
        .unwrap()
        .iter()
        .map(|one| (one.here.is_some(), one.there.as_ref().unwrap().object_key().unwrap().to_string()))
        .collect();
    assert_eq!(names, [(false, "default/b".to_owned())]);
}

#[test]
fn a_fork_at_once_differs_in_nothing() {
    let executor = Executor::new(7);
    let whole = begin(&executor);
    let rim = Rim::of(&executor.handle());
    let moment = whole.moment(&rim, &Programs::default());
    // Nobody else has a turn meanwhile: the cluster still finds its feet.
    let found = differences(whole.cluster().store().as_ref(), moment.store().as_ref()).now_or_never();
    assert_eq!(found.unwrap().unwrap().len(), 0);
}

#[test]
fn a_node_that_is_killed_is_noticed_and_stays_dead_in_a_fork() {
    let executor = Executor::new(7);
    let mut whole = begin(&executor);
    assert!(whole.kill_node("n1") && !whole.kill_node("n1"));
    let (other, forked) = fork(&executor, &whole);
    other.run_for(Duration::from_secs(120));
    let node = other.run_until(forked.cluster().client().get::<windlass_api::core::v1::Node>("", "n1"));
    let ready = node.unwrap().status.conditions.iter().find(|own| own.type_ == "Ready").unwrap().status.clone();
    assert_eq!(ready, "Unknown");
}

#[test]
fn one_seed_is_one_fingerprint() {
    let run = |seed| {
        let executor = Executor::new(seed);
        let whole = begin(&executor);
        executor.run_until(async {
            let mut map = ConfigMap::default();
            (map.metadata.namespace, map.metadata.name) = (Some("default".into()), Some("a".into()));
            whole.cluster().client().create(&map).await.unwrap();
        });
        executor.run_for(Duration::from_secs(60));
        executor.run_until(fingerprint(whole.cluster().store().as_ref(), executor.trace_hash())).unwrap()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

/// Fails once, and then runs until it is told to end.
#[derive(Debug)]
struct Second;

impl Program for Second {
    fn run(&self, process: Process) -> BoxFuture<'static, i32> {
        Box::pin(async move {
            process.write(&format!("run {}\n", process.restarts));
            if process.restarts == 0 {
                return 3;
            }
            process.stopping().wait().await;
            0
        })
    }
}

#[test]
fn a_closure_runs_in_containers_and_again_where_it_failed() {
    let executor = Executor::new(7);
    let rim = Rim::of(&executor.handle());
    let programs = Programs::new(|container| {
        (container.image.as_deref() == Some("i")).then(|| Arc::new(Second) as Arc<dyn Program>)
    });
    let moment = Moment::first(&rim).node(FakeNode { programs, ..FakeNode::new("n1", 0) }, &rim);
    executor.run_until(async {
        let whole = moment.begin(Cluster::builder(), rim).await.unwrap();
        whole.cluster().ready().await.unwrap();
        let client = whole.cluster().client();
        client.create(&pod("a")).await.unwrap();
        let clock = executor.clock();
        clock.sleep(Duration::from_secs(5)).await;
        let status = running(&client, &clock, "a").await.status.container_statuses[0].clone();
        let code = status.last_state.terminated.map(|ended| ended.exit_code);
        assert_eq!((status.restart_count, code, status.ready), (1, Some(3), true));
        client.delete::<Pod>("default", "a").await.unwrap();
        clock.sleep(Duration::from_secs(5)).await;
        assert_eq!(client.list::<Pod>(&Select::all()).await.unwrap().len(), 0);
    });
}

#[track_caller]
fn check_nothing_is_left(end: impl FnOnce(&Executor, FakeCluster)) {
    let executor = Executor::new(7);
    let whole = begin(&executor);
    let client = whole.cluster().client();
    executor.run_until(async {
        client.create(&pod("a")).await.unwrap();
        running(&client, &executor.clock(), "a").await;
    });
    drop(client);
    let (store, server) = (Arc::downgrade(whole.cluster().store()), Arc::downgrade(whole.cluster().server()));
    end(&executor, whole);
    executor.run_for(Duration::from_secs(1));
    assert_eq!((server.strong_count(), store.strong_count()), (0, 0));
}

#[test]
fn nothing_is_left_of_a_cluster_that_ran_pods_and_ended() {
    check_nothing_is_left(|executor, whole| executor.run_until(whole.shut_down()));
    check_nothing_is_left(|_, whole| drop(whole));
}

#[test]
fn another_control_plane_takes_over_from_one_that_is_gone() {
    let executor = Executor::new(3);
    let rim = Rim::of(&executor.handle());
    let store = Arc::clone(Moment::first(&rim).store());
    let plane = |name: &str| {
        let builder = Cluster::builder().shared_store(Arc::clone(&store) as _).candidate(name);
        builder.clock(Arc::clone(&rim.clock)).spawn(Arc::clone(&rim.spawn)).entropy(Arc::clone(&rim.entropy)).start()
    };
    let first = executor.run_until(plane("first")).unwrap();
    executor.run_for(Duration::from_secs(1));
    let mut second = executor.run_until(plane("second")).unwrap();
    executor.run_until(second.add_node(FakeNode::new("n1", 0))).unwrap();
    let client = second.client();
    let holders = || {
        ["kube-controller-manager", "kube-scheduler"].map(|name| {
            let lease = executor.run_until(client.get::<Lease>("kube-system", name)).unwrap();
            lease.spec.holder_identity.clone().unwrap_or_default()
        })
    };
    let runs = |name: &'static str| {
        executor.run_until(async {
            let clock: Arc<dyn Clock> = executor.clock();
            // A pod needs the account that the controllers make.
            while client.create(&pod(name)).await.is_err() {
                clock.sleep(Duration::from_secs(1)).await;
            }
            running(&client, &clock, name).await
        })
    };
    runs("a");
    assert_eq!(holders(), ["first", "first"]);
    drop(first);
    runs("b");
    // Each set of components takes its own lease over, at its own time.
    executor.run_for(Duration::from_secs(60));
    assert_eq!(holders(), ["second", "second"]);
}

/// Says what is mounted, and what it was probed for; ends when it is told to.
#[derive(Debug)]
struct Reader;

impl Program for Reader {
    fn run(&self, process: Process) -> BoxFuture<'static, i32> {
        Box::pin(async move {
            let (_, at) = process.mounts.iter().find(|(path, _)| path == "/etc/c").unwrap().clone();
            process.write(&std::fs::read_to_string(at.join("colour")).unwrap());
            let restarts = process.restarts;
            process.carry_out(Arc::new(move |command| (command == ["alive"]).then_some((1 - restarts.min(1), vec![]))));
            process.stopping().wait().await;
            7
        })
    }
}

#[test]
fn a_closure_reads_its_volumes_and_is_probed() {
    let executor = Executor::new(7);
    let rim = Rim::of(&executor.handle());
    let programs = Programs::new(|container| {
        (container.image.as_deref() == Some("i")).then(|| Arc::new(Reader) as Arc<dyn Program>)
    });
    let moment = Moment::first(&rim).node(FakeNode { programs, ..FakeNode::new("n1", 0) }, &rim);
    executor.run_until(async {
        let whole = moment.begin(Cluster::builder(), rim).await.unwrap();
        whole.cluster().ready().await.unwrap();
        let client = whole.cluster().client();
        let mut map = ConfigMap { data: [("colour".into(), "blue".into())].into(), ..ConfigMap::default() };
        (map.metadata.namespace, map.metadata.name) = (Some("default".into()), Some("c".into()));
        client.create(&map).await.unwrap();
        let mut reads = pod("a");
        reads.spec = serde_json::from_value(serde_json::json!({
            "volumes": [{"name": "c", "configMap": {"name": "c"}}],
            "containers": [{
                "name": "c", "image": "i", "volumeMounts": [{"name": "c", "mountPath": "/etc/c"}],
                "livenessProbe": {"exec": {"command": ["alive"]}, "periodSeconds": 1, "failureThreshold": 2},
            }],
        }))
        .unwrap();
        client.create(&reads).await.unwrap();
        let clock = executor.clock();
        clock.sleep(Duration::from_secs(60)).await;
        let status = running(&client, &clock, "a").await.status.container_statuses[0].clone();
        let code = status.last_state.terminated.map(|ended| ended.exit_code);
        assert_eq!((status.restart_count, code, status.ready), (1, Some(7), true));
    });
}
