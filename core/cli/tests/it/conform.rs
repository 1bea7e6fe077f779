//! `windlass conform` on Debian's CNI plugins: verdicts, reports and exit codes. What those plugins keep is another test's.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::{Value, json};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("conform_says_what_was_kept_and_writes_it_down", verdicts),
    ("conform_shows_what_a_plugin_was_told_where_it_fails", failure),
    ("conform_names_what_is_wrong_with_its_input", wrong),
];

const PLUGINS: &str = "/usr/lib/cni";

pub(crate) fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("network namespaces need root".into());
    }
    (!Path::new(PLUGINS).join("bridge").exists()).then(|| "Debian's CNI plugins are not there".into())
}

fn conform(folder: &Path, list: &Value, more: &[&str]) -> (Option<i32>, String) {
    let conf = folder.join("net.conflist");
    fs::write(&conf, list.to_string()).expect("a configuration");
    let output = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .args(["conform", "cni", "--bin-dir", PLUGINS, "--conf"])
        .arg(&conf)
        .args(more)
        .output()
        .expect("windlass runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

fn bridge(name: &str) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [{
        "type": "bridge", "bridge": "deb0", "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.91.0.0/24"},
    }]})
}

fn verdicts() {
    let folder = tempfile::tempdir().expect("a folder");
    let (junit, json) = (folder.path().join("junit.xml"), folder.path().join("report.json"));
    let reports =
        ["--only", "port", "--junit", junit.to_str().expect("a path"), "--json", json.to_str().expect("a path")];
    let (code, said) = conform(folder.path(), &bridge("net"), &reports);
    // The plugin alone maps no ports: that is said, and not counted as kept.
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("  skip  a port of the node leads to the pod: the network maps no ports"), "{said}");
    assert!(said.contains("0 passed, 0 failed, 2 skipped"), "{said}");
    let (code, said) =
        conform(folder.path(), &bridge("net"), &[&["--only", "detaching_again"], &reports[2..]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("  ok    detaching again or what never was succeeds ("), "{said}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).expect("a report")).expect("JSON");
    assert_eq!((&report["passed"], &report["cases"][0]["verdict"]), (&json!(1), &json!("passed")));
    let xml = fs::read_to_string(&junit).expect("a report");
    assert!(
        xml.contains("<testcase classname=\"network\" name=\"detaching_again_or_what_never_was_succeeds\""),
        "{xml}"
    );
    let links = Command::new("ip").args(["link", "show", "deb0"]).output().expect("ip runs");
    assert!(!links.status.success(), "the lab is seen outside");
}

/// A plugin that forgets to delete.
fn failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugin = folder.path().join("forgetful");
    fs::write(&plugin, "#!/bin/sh\n[ \"$CNI_COMMAND\" = DEL ] || exec /usr/lib/cni/bridge\n").expect("a plugin");
    fs::set_permissions(&plugin, PermissionsExt::from_mode(0o755)).expect("a program");
    let mut list = bridge("net");
    list["plugins"][0]["type"] = "forgetful".into();
    let json = folder.path().join("report.json");
    let (own, report) = (folder.path().to_str().expect("a path"), json.to_str().expect("a path"));
    let more = ["--bin-dir", own, "--only", "nothing_is_left", "--json", report];
    let (code, said) = conform(folder.path(), &list, &more);
    assert_eq!(code, Some(5), "{said}");
    for part in ["  FAIL  nothing is left of a detached pod", "file /var/lib/cni/networks/net/10.91.0.", "tests: DEL: "]
    {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let told = format!("| $ CNI_COMMAND=DEL CNI_PATH=/usr/lib/cni:{own} CNI_CONTAINERID=");
    assert!(said.contains(&told) && said.contains("|   stdin: {\"bridge\":\"deb0\""), "{said}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).expect("a report")).expect("JSON");
    let trace = report["cases"][0]["trace"].as_array().expect("a trace").len();
    assert!(report["failed"] == 1 && trace > 10, "{report:#}");
}

fn wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, said) = conform(folder.path(), &json!({"name": "net"}), &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("net.conflist: "), "{said}");
    let mut list = bridge("net");
    list["plugins"][0]["type"] = "nobody".into();
    let (code, said) = conform(folder.path(), &list, &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("no CNI plugin \"nobody\" in /usr/lib/cni"), "{said}");
}
