//! The host over plugins that are small shell scripts: what it hands them, and what it makes of those that misbehave.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_cni::host::{CniNetwork, Exchange, Settings};
use windlass_kernel::{
    Certainty, Error, ErrorKind, PodNetwork,
    network::{Attachment, AttachmentKey, PodIdentity, Rate},
    runtime::{PortMapping, Protocol},
};

use windlass_machine::Machine;

pub(crate) type Test = fn(&Arc<Machine>);

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a_chain_hands_on_results_and_declared_capabilities", chain),
    ("a_detach_is_made_with_the_configuration_of_the_attach", old_configuration),
    ("check_and_gc_can_be_turned_off", turned_off),
    ("gc_detaches_what_is_stale_before_it_asks_the_plugins", gc),
    ("a_plugin_that_hangs_is_killed_at_its_deadline", hangs),
    ("a_plugin_that_prints_garbage_is_quoted", garbage),
    ("a_plugin_that_dies_is_named_with_its_end", dies),
    ("a_plugin_that_is_not_there_is_named", absent),
    ("a_failed_add_is_followed_by_del", failed_add),
    ("what_a_plugin_leaves_running_keeps_nobody_waiting", daemon),
];

/// A plugin that notes its input and says what it is told to.
const OBEDIENT: &str = r#"
echo "$0 $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $CNI_ARGS $(cat)" >> "$(dirname "$0")/log"
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.5/24"}]}'
"#;

struct Bench {
    folder: TempDir,
    seen: Arc<Mutex<Vec<Exchange>>>,
    network: CniNetwork,
    machine: Arc<Machine>,
}

impl Bench {
    fn new(machine: &Arc<Machine>, scripts: &[(&str, &str)], list: &Value, deadline: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, script) in scripts {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let seen: Arc<Mutex<Vec<Exchange>>> = Arc::default();
        let settings = Settings {
            config_dir: folder.path().join("conf"),
            network: None,
            plugin_dirs: vec![folder.path().to_owned()],
            cache_dir: folder.path().join("cache"),
            deadline,
        };
        let noted = Arc::clone(&seen);
        let network = CniNetwork::new(settings, machine.clone(), machine.clone());
        let network = network.observed(Arc::new(move |exchange| noted.lock().push(exchange.clone())));
        let bench = Self { folder, seen, network, machine: Arc::clone(machine) };
        bench.configure(list);
        bench
    }

    fn configure(&self, list: &Value) {
        let conf = self.folder.path().join("conf");
        fs::create_dir_all(&conf).unwrap();
        fs::write(conf.join("10-net.conflist"), list.to_string()).unwrap();
    }

    fn wanted(&self) -> Attachment {
        // A file is enough: the scripts do not enter it.
        let namespace = self.folder.path().join("netns");
        fs::write(&namespace, "").unwrap();
        Attachment { key: AttachmentKey::new("abc", "eth0"), namespace: Some(namespace), ..Attachment::default() }
    }

    fn attach(&self, wanted: &Attachment) -> windlass_kernel::Result<Vec<String>> {
        let attached = self.machine.block_on(self.network.attach(wanted))?;
        Ok(attached.ips().map(|ip| ip.to_string()).collect())
    }

    fn detach(&self, wanted: &Attachment) {
        self.machine.block_on(self.network.detach(wanted)).unwrap();
    }

    /// What was run since the last time: plugin and verb.
    fn ran(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.seen.lock().drain(..).map(|exchange| format!("{} {}", name(&exchange.plugin), exchange.verb)).collect()
    }

    fn inputs(&self) -> Vec<Value> {
        self.seen.lock().iter().map(|exchange| serde_json::from_str(&exchange.input).unwrap()).collect()
    }
}

fn list(plugins: &Value) -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "plugins": plugins})
}

const LONG: Duration = Duration::from_secs(60);

fn chain(machine: &Arc<Machine>) {
    let plugins = json!([
        {"type": "one", "own": 1},
        {"type": "two", "capabilities": {"portMappings": true, "bandwidth": false}},
    ]);
    let bench = Bench::new(machine, &[("one", OBEDIENT), ("two", OBEDIENT)], &list(&plugins), LONG);
    let mut wanted = bench.wanted();
    let port = PortMapping { protocol: Protocol::Udp, container_port: 53, host_port: 5353, host_ip: String::new() };
    wanted.wishes.ports.push(port);
    wanted.wishes.bandwidth.ingress = Some(Rate { bits: 1, burst: 1 });
    wanted.pod = Some(PodIdentity { namespace: "shop".into(), name: "web".into(), uid: "u".into() });
    assert_eq!(bench.attach(&wanted).unwrap(), ["10.1.0.5"]);
    let inputs = bench.inputs();
    assert_eq!(inputs[0], json!({"cniVersion": "1.1.0", "name": "net", "type": "one", "own": 1}));
    let ports = json!({"portMappings": [{"hostPort": 5353, "containerPort": 53, "protocol": "udp"}]});
    assert_eq!(inputs[1]["runtimeConfig"], ports, "only what is declared, and declared as true");
    assert_eq!(inputs[1]["prevResult"]["ips"][0]["address"], "10.1.0.5/24");
    assert_eq!(inputs[1].get("capabilities"), None);
    machine.block_on(bench.network.check(&wanted)).unwrap();
    assert_eq!(bench.inputs()[2]["prevResult"]["ips"][0]["address"], "10.1.0.5/24");
    bench.detach(&wanted);
    assert_eq!(bench.inputs()[4]["prevResult"]["ips"][0]["address"], "10.1.0.5/24");
    let ran = ["one ADD", "two ADD", "one CHECK", "two CHECK", "two DEL", "one DEL"];
    assert_eq!(bench.ran(), ran);
    let log = fs::read_to_string(bench.folder.path().join("log")).unwrap();
    let words = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u";
    assert!(log.lines().all(|line| line.contains(words) && line.contains(" abc eth0 ")), "{log}");
}

fn old_configuration(machine: &Arc<Machine>) {
    let plugins = json!([{"type": "one", "mtu": 1400}]);
    let bench = Bench::new(machine, &[("one", OBEDIENT), ("two", OBEDIENT)], &list(&plugins), LONG);
    let wanted = bench.wanted();
    bench.attach(&wanted).unwrap();
    let again = bench.attach(&wanted).unwrap_err();
    assert!(again.is(ErrorKind::AlreadyExists), "{again}");
    bench.configure(&list(&json!([{"type": "two"}])));
    bench.detach(&wanted);
    assert_eq!(bench.ran(), ["one ADD", "one DEL"]);
    // Now it was never attached; and the plugins of today are asked.
    bench.detach(&wanted);
    assert_eq!(bench.ran(), ["two DEL"]);
}

fn turned_off(machine: &Arc<Machine>) {
    let mut list = list(&json!([{"type": "one"}]));
    list["disableCheck"] = true.into();
    list["disableGC"] = true.into();
    let bench = Bench::new(machine, &[("one", OBEDIENT)], &list, LONG);
    let wanted = bench.wanted();
    bench.attach(&wanted).unwrap();
    machine.block_on(bench.network.check(&wanted)).unwrap();
    machine.block_on(bench.network.collect(std::slice::from_ref(&wanted.key))).unwrap();
    assert_eq!(bench.ran(), ["one ADD"]);
    list["cniVersion"] = "1.0.0".into();
    list["disableGC"] = false.into();
    bench.configure(&list);
    machine.block_on(bench.network.collect(std::slice::from_ref(&wanted.key))).unwrap();
    machine.block_on(bench.network.ready()).unwrap();
    assert_eq!(bench.ran(), Vec::<String>::new(), "1.0.0 has neither GC nor STATUS");
}

fn gc(machine: &Arc<Machine>) {
    let bench = Bench::new(machine, &[("one", OBEDIENT)], &list(&json!([{"type": "one"}])), LONG);
    let (keep, mut stale) = (bench.wanted(), bench.wanted());
    stale.key = AttachmentKey::new("old", "eth0");
    bench.attach(&keep).unwrap();
    bench.attach(&stale).unwrap();
    machine.block_on(bench.network.collect(std::slice::from_ref(&keep.key))).unwrap();
    let valid = json!([{"containerID": "abc", "ifname": "eth0"}]);
    assert_eq!(bench.inputs()[3]["cni.dev/valid-attachments"], valid);
    assert_eq!(bench.ran(), ["one ADD", "one ADD", "one DEL", "one GC"]);
    machine.block_on(bench.network.ready()).unwrap();
    assert_eq!(bench.ran(), ["one STATUS"]);
}

/// An attach that must fail.
fn fails(machine: &Arc<Machine>, script: &str, deadline: Duration) -> Error {
    let bench = Bench::new(machine, &[("one", script)], &list(&json!([{"type": "one"}])), deadline);
    bench.attach(&bench.wanted()).unwrap_err()
}

fn hangs(machine: &Arc<Machine>) {
    // Both the shell and what it started are killed: else the pipe of the second would stay open.
    let error = fails(machine, "sleep 1000 & wait", Duration::from_millis(200));
    assert!(error.is(ErrorKind::Timeout), "{error}");
    assert_eq!(error.certainty(), Certainty::Unknown);
    assert_eq!(error.message(), "plugin \"one\" did not answer ADD within 200ms and was killed");
}

fn garbage(machine: &Arc<Machine>) {
    let said = |script: &str| fails(machine, script, LONG).to_string();
    let text = said("[ $CNI_COMMAND = DEL ] || echo hello");
    assert!(text.contains("plugin \"one\" to ADD cannot be read") && text.contains("\"hello\""), "{text}");
    let text = said("[ $CNI_COMMAND = DEL ] || echo '{\"ips\":[{\"address\":\"nowhere\"}]}'");
    assert!(text.contains("nowhere"), "{text}");
    // More than anybody would read: it ends, and a part is quoted.
    let text = said("[ $CNI_COMMAND = DEL ] || yes");
    assert!(text.contains("yes") || text.contains("y\\ny"), "{text}");
    assert!(text.len() < 1000, "{}", text.len());
}

fn dies(machine: &Arc<Machine>) {
    let said = |script: &str| fails(machine, script, LONG).to_string();
    let text = said("[ $CNI_COMMAND = DEL ] || { echo oh no >&2; exit 7; }");
    assert!(text.contains("exit status: 7") && text.contains("oh no"), "{text}");
    let text = said("[ $CNI_COMMAND = DEL ] || kill -9 $$");
    assert!(text.contains("signal: 9"), "{text}");
    let error = fails(
        machine,
        "[ $CNI_COMMAND = DEL ] || { echo '{\"code\":11,\"msg\":\"later\",\"details\":\"busy\"}'; exit 1; }",
        LONG,
    );
    assert!(error.is(ErrorKind::Unavailable), "{error}");
    assert!(error.message().contains("later (CNI error 11): busy"), "{error}");
    assert!(error.details().is_some_and(|details| details.retry_after.is_some()));
}

fn absent(machine: &Arc<Machine>) {
    let bench = Bench::new(machine, &[], &list(&json!([{"type": "one"}])), LONG);
    let error = bench.attach(&bench.wanted()).unwrap_err();
    assert!(error.is(ErrorKind::Unavailable) && error.message().contains("no CNI plugin \"one\""), "{error}");
    assert!(machine.block_on(bench.network.ready()).is_err());
    bench.configure(&list(&json!([{"type": "../one"}])));
    let error = machine.block_on(bench.network.ready()).unwrap_err();
    assert!(error.message().contains("../one"), "a name leads out of the folders: {error}");
}

fn failed_add(machine: &Arc<Machine>) {
    let refuses = "[ $CNI_COMMAND != ADD ] || { echo '{\"code\":100,\"msg\":\"no\"}'; exit 1; }";
    let plugins = json!([{"type": "one"}, {"type": "two"}]);
    let bench = Bench::new(machine, &[("one", OBEDIENT), ("two", refuses)], &list(&plugins), LONG);
    let wanted = bench.wanted();
    bench.attach(&wanted).unwrap_err();
    assert_eq!(bench.ran(), ["one ADD", "two ADD", "two DEL", "one DEL"]);
    assert_eq!(fs::read_dir(bench.folder.path().join("cache/results")).unwrap().count(), 0, "a note is left");
}

fn daemon(machine: &Arc<Machine>) {
    // Longer than the test may take: it holds the plugin's outputs all the while.
    let script = format!("[ $CNI_COMMAND != ADD ] || {{ sleep 3600 & echo $! > \"$0.pid\"; }}\n{OBEDIENT}");
    let bench = Bench::new(machine, &[("one", &script)], &list(&json!([{"type": "one"}])), LONG);
    assert_eq!(bench.attach(&bench.wanted()).unwrap(), ["10.1.0.5"]);
    let pid = fs::read_to_string(bench.folder.path().join("one.pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}
