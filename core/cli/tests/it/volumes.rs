//! Volumes of `windlass up` in real containers: a database as a StatefulSet, whose data outlives its pods.

use std::{fs, path::Path, sync::Arc};

use serde_json::Value;
use windlass::{
    csi::{
        hostpath::{HostPath, Settings},
        skel::{self, Setup},
    },
    kernel::Stop,
    rim::{SystemClock, TokioSpawn},
};

use crate::{
    Test,
    cluster::{Cluster, until_so},
    real::{self, Ended, Network, build_images},
};

pub(crate) const TESTS: &[Test] =
    &[("a_database_keeps_its_data_through_all_that_happens", a_database_keeps_its_data_through_all_that_happens)];

/// Why this machine cannot run the database, if it cannot.
pub(crate) fn missing() -> Option<String> {
    real::missing(&[("mariadbd", "/usr/sbin/mariadbd"), ("mariadb", "/usr/bin/mariadb")])
}

const MANIFEST: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 3306}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 20
      securityContext: {fsGroup: 998}
      containers:
      - name: db
        image: registry.local/mariadb:10.11
        args: [--skip-grant-tables, --datadir=/var/lib/mysql/data, --socket=/var/lib/mysql/sock,
          --innodb-log-file-size=8M, --innodb-buffer-pool-size=16M]
        readinessProbe:
          exec: {command: [mariadb, --no-defaults, --socket=/var/lib/mysql/sock, --execute=select 1]}
          periodSeconds: 1
          timeoutSeconds: 10
        volumeMounts: [{name: data, mountPath: /var/lib/mysql}]
      initContainers:
      - name: folder
        image: registry.local/busybox:1.35
        command: [mkdir, -p, /var/lib/mysql/data]
        securityContext: {runAsUser: 998}
        volumeMounts: [{name: data, mountPath: /var/lib/mysql}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 256Mi}}}
"#;

fn a_database_keeps_its_data_through_all_that_happens() {
    let network = Network::new();
    let listen = format!("{}:6443", network.host);
    let mut cluster = Cluster::prepare(&["--runtime", "auto", "--listen", &listen], Some(&network.name));
    build_images(&cluster.data().join("images"), &["mariadb"]);
    cluster.up();
    let mut cluster = Ended(cluster);
    let cluster = &mut cluster.0;

    let class = get(cluster, "storageclasses", "hostpath");
    let is_default = &class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"];
    assert_eq!((is_default, &class["volumeBindingMode"]), (&"true".into(), &"WaitForFirstConsumer".into()));
    apply(cluster, "test", MANIFEST);
    let first = ready(cluster, None);
    sql(cluster, "create database shop; create table shop.orders (id int primary key, what text)");
    sql(cluster, "insert into shop.orders values (1, 'bread')");

    // Deletion: another pod of the same name finds what the first one wrote.
    cluster.windlass(&["delete", "pod", "db-0"]).ok();
    let second = ready(cluster, Some(&first));
    assert_eq!(orders(cluster), "bread\n");

    // Growth, while it is in use.
    apply(cluster, "size", &claim("384Mi"));
    until_so("the claim has grown", || get(cluster, "pvc", "data-db-0")["status"]["capacity"]["storage"] == "384Mi");
    assert_eq!(orders(cluster), "bread\n");

    // The control plane dies, and the pod with its volume does not notice.
    cluster.end(false);
    cluster.up();
    // What was written down before says that all is well: it is so once the node's agent answers.
    until_so("the agent answers", || cluster.windlass(&["exec", "db-0", "--", "mariadb", "--version"]).code == Some(0));
    assert_eq!(ready(cluster, None), second);
    sql(cluster, "insert into shop.orders values (2, 'wine')");

    // Rescheduling: nothing runs for a while, and nothing is mounted; then it is placed anew.
    scale(cluster, 0);
    until_so("no pod is left", || cluster.windlass(&["get", "pods"]).ok().lines().all(|line| !line.contains("db-0")));
    let data = cluster.data().display().to_string();
    let mounts = || {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
        table.lines().filter(|line| line.contains(&data) && line.contains("kubernetes.io")).count()
    };
    until_so("the volume is not mounted", || mounts() == 0);
    scale(cluster, 1);
    ready(cluster, Some(&second));
    assert_eq!(orders(cluster), "bread\nwine\n");

    a_driver_that_registers_itself_serves_pods(cluster);

    // What is deleted is gone from the machine.
    let volumes = cluster.data().join("volumes/volumes");
    assert_eq!(count(&volumes), 1);
    cluster.windlass(&["delete", "statefulset", "db"]).ok();
    cluster.windlass(&["delete", "pvc", "data-db-0"]).ok();
    until_so("the volume is deleted", || count(&volumes) == 0);
    cluster.windlass(&["down", "--purge"]).ok();
    cluster.ended();
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
    assert!(!table.contains(&data), "mounts are left: {table}");
}

/// The name of a driver that is not the cluster's own.
const OTHER: &str = "other.csi.example.com";

/// A pod with a volume of its own, of another driver.
const POD: &str = r"
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: other.csi.example.com}
spec: {attachRequired: false, podInfoOnMount: true, volumeLifecycleModes: [Ephemeral]}
---
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: registry.local/busybox:1.35
    command: [sh, -c, 'echo mine > /v/file; sleep 1000000']
    readinessProbe: {exec: {command: [cat, /v/file]}, periodSeconds: 1}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, csi: {driver: other.csi.example.com}}]
";

/// A driver that another program serves is known while its socket is in the node's folder for that.
fn a_driver_that_registers_itself_serves_pods(cluster: &Cluster) {
    let folder = tempfile::Builder::new().prefix("csi").tempdir().expect("a folder");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let spawn = TokioSpawn::on(runtime.handle().clone());
    let setup = Setup { clock: Arc::new(SystemClock::new()), spawn: Arc::new(spawn) };
    let settings = Settings { name: OTHER.into(), ..Settings::at(folder.path().join("root"), "elsewhere") };
    let driver = Arc::new(HostPath::open(settings, setup).expect("a driver"));
    let (endpoint, stop) = (folder.path().join("csi.sock"), Stop::new());
    let serving = runtime.spawn({
        let (endpoint, stop) = (endpoint.clone(), stop.clone());
        async move { skel::serve(driver, &endpoint, stop).await }
    });
    let socket = cluster.data().join("node/plugins_registry/other-reg.sock");
    let gone = Stop::new();
    let registered = runtime.spawn({
        let gone = gone.clone();
        async move { skel::register(OTHER, &endpoint, &socket, gone).await }
    });
    let known = || cluster.windlass(&["get", "csinodes", "-o", "json"]).ok().contains(OTHER);
    until_so("the driver is known", known);
    apply(cluster, "test", POD);
    until_so("the pod is ready", || {
        let said = cluster.windlass(&["get", "pod", "guest"]);
        said.out.contains("1/1")
    });
    assert_eq!(cluster.windlass(&["exec", "guest", "--", "cat", "/v/file"]).ok(), "mine\n");
    cluster.windlass(&["delete", "pod", "guest"]).ok();
    until_so("its volume is gone", || count(&folder.path().join("root/volumes")) == 0);
    gone.stop();
    until_so("the driver is forgotten", || !known());
    stop.stop();
    runtime.block_on(registered).expect("a task").expect("it ends well");
    runtime.block_on(serving).expect("a task").expect("it ends well");
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn get(cluster: &Cluster, kind: &str, name: &str) -> Value {
    let said = cluster.windlass(&["get", kind, name, "-o", "json"]).ok();
    serde_json::from_str(&said).expect("JSON")
}

/// Applies what a manager has to say, which is all that it says.
fn apply(cluster: &Cluster, manager: &str, text: &str) {
    let file = cluster.file("objects.yaml", text);
    let file = file.to_str().expect("a path");
    cluster.windlass(&["apply", "--force-conflicts", "--field-manager", manager, "-f", file]).ok();
}

fn claim(size: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data-db-0}}\nspec: {{resources: {{requests: \
         {{storage: {size}}}}}}}\n"
    )
}

fn scale(cluster: &Cluster, replicas: u32) {
    apply(
        cluster,
        "scale",
        &format!("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec: {{replicas: {replicas}}}\n"),
    );
}

/// Waits until the database's pod is ready, and is not the one before; answers its uid.
fn ready(cluster: &Cluster, before: Option<&str>) -> String {
    let mut uid = String::new();
    until_so("the database is ready", || {
        let said = cluster.windlass(&["get", "pod", "db-0", "-o", "json"]);
        let Ok(pod) = serde_json::from_str::<Value>(&said.out) else { return false };
        uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().any(|own| own["type"] == "Ready" && own["status"] == "True");
        ready && before != Some(uid.as_str())
    });
    uid
}

fn sql(cluster: &Cluster, text: &str) -> String {
    let words = ["mariadb", "--no-defaults", "--socket=/var/lib/mysql/sock", "--skip-column-names"];
    let execute = format!("--execute={text}");
    cluster.windlass(&[&["exec", "db-0", "--"], &words[..], &[&execute]].concat()).ok()
}

fn orders(cluster: &Cluster) -> String {
    sql(cluster, "select what from shop.orders order by id")
}
