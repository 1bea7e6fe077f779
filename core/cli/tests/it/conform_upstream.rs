//! `windlass conform upstream`, driving a stand-in for Kubernetes' suite.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{Test, cluster::WINDLASS, stand_in::VERSION};

pub(crate) const TESTS: &[Test] = &[
    ("upstreams_suite_is_run_spec_by_spec_and_goes_on_where_it_ended", resumed),
    ("upstreams_suite_is_narrowed_by_lists_and_parts", narrowed),
    ("a_spec_of_upstreams_suite_is_given_up_after_its_time", given_up),
    ("a_run_of_upstreams_suite_that_passes_can_be_submitted", submitted),
    ("what_is_no_suite_is_told_by_name", wrong),
];

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let own = std::env::current_exe().expect("this program");
        std::os::unix::fs::symlink(own, dir.path().join("e2e.test")).expect("a link");
        fs::write(dir.path().join("kubeconfig"), "kind: Config\n").expect("a kubeconfig");
        Self { dir }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("results").join(name)).expect(name)
    }

    /// Runs the suite; `slow` keeps the spec that never ends.
    fn run(&self, slow: bool, more: &[&str]) -> (Option<i32>, String) {
        let never = self.file("never.txt", "text:never ends\tit never ends\n");
        let mut command = Command::new(WINDLASS);
        command.current_dir(self.dir.path()).args([
            "conform",
            "upstream",
            "--e2e",
            "./e2e.test",
            "--kubeconfig",
            "kubeconfig",
        ]);
        command.args(["--folder", "results", "--jobs", "2"]);
        if !slow {
            command.arg("--skip").arg(never);
        }
        let output = command.args(more).output().expect("windlass runs");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn resumed() {
    let place = Place::new();
    let (code, said) = place.run(false, &[]);
    assert_eq!(code, Some(5), "{said}");
    has(
        &said,
        &[
            "5 specs, 1 of them alone at the end; 1 left out by lists",
            "  skip  [sig-apps] A slow one never ends [Slow] [Conformance]: it never ends",
            "[5/5] FAIL  [sig-apps] An odd one (a.b) [x y] fails until it is mended [Serial] [Conformance]",
            "        [FAILED] 1 < 2",
            "        one node",
            "3 passed, 1 failed, 1 skipped by the suite, 1 left out by lists",
            "results/submission cannot be submitted yet:",
            "  1 spec failed",
        ],
    );
    has(
        &place.read("junit.xml"),
        &["tests=\"6\" disabled=\"2\" errors=\"0\" failures=\"1\"", "status=\"failed\"", "skipped - it never ends"],
    );
    // Each spec has its own log.
    let logs = fs::read_dir(place.dir.path().join("results/specs")).expect("specs");
    let odd: Vec<_> = logs.map(|entry| entry.expect("a folder").path()).filter(|path| named(path, "odd-one")).collect();
    assert_eq!(fs::read_to_string(odd[0].join("e2e.log")).expect("a log"), "  [FAILED] it is odd\n");

    place.file("results/mended", "");
    let (code, said) = place.run(false, &[]);
    assert_eq!(code, Some(0), "{said}");
    has(&said, &["4 came off before and are not run again", "[5/5] ok    [sig-apps] An odd one", ", attempt 2)"]);
    assert!(!said.contains("DNS"), "what passed is not run again: {said}");
}

fn named(path: &Path, part: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(part))
}

fn narrowed() {
    let place = Place::new();
    let focus =
        place.file("focus.txt", "# what is tried\nclass:API\tneeds no node\ntext:no conformance\ttried for once\n");
    let focus = focus.to_str().expect("a path");
    let (code, said) = place.run(false, &["--focus", focus]);
    assert_eq!(code, Some(0), "{said}");
    has(&said, &["2 specs, 0 of them alone", "2 passed, 0 failed", "the focus is not [Conformance]"]);
    let (code, said) = place.run(false, &["--skip", "fake-nodes", "--skip", "one-node", "--shard", "1/2"]);
    assert_eq!(code, Some(0), "{said}");
    has(
        &said,
        &[
            "DNS should provide DNS for the cluster  [Conformance]: containers of fake nodes run nothing",
            "two untainted nodes [Conformance]: it counts at least two nodes",
            "it is one part of several",
        ],
    );
}

fn given_up() {
    let place = Place::new();
    let focus = place.file("focus.txt", "text:never ends\ttried\n");
    let (code, said) = place.run(true, &["--focus", focus.to_str().expect("a path"), "--spec-minutes", "0"]);
    assert_eq!(code, Some(5), "{said}");
    has(&said, &["[1/1] FAIL  [sig-apps] A slow one never ends", "it did not end within 0ns"]);
}

fn submitted() {
    let place = Place::new();
    fs::create_dir_all(place.dir.path().join("results")).expect("a folder");
    place.file("results/mended", "");
    let fields = ["vendor", "name", "version", "website_url", "documentation_url", "type", "description"];
    let product =
        fields.iter().fold("contact_email_address: a@example.com\n".to_owned(), |text, field| text + field + ": x\n");
    let product = place.file("product.yaml", &product);
    let product = ["--product", product.to_str().expect("a path")];
    let (code, said) = place.run(false, &product);
    assert_eq!(code, Some(0), "{said}");
    has(&said, &["cannot be submitted yet:", "  1 spec left out by lists"]);
    assert!(!said.contains("PRODUCT.yaml does not say"), "{said}");
    has(&place.read("submission/README.md"), &["- 1 spec left out by lists"]);
    let (code, said) = place.run(true, &product);
    assert_eq!(code, Some(0), "{said}");
    has(
        &said,
        &["5 came off before", "6 passed, 0 failed", "results/submission can be submitted to cncf/k8s-conformance"],
    );
    let log = place.read("submission/e2e.log");
    has(
        &log,
        &[
            &format!("kube-apiserver version: {VERSION}"),
            "SUCCESS! -- 6 Passed | 0 Failed | 0 Pending | 1 Skipped\nPASS\n",
        ],
    );
    has(
        &place.read("submission/junit_01.xml"),
        &["[It] [sig-node] Pods should get a host IP [NodeConformance] [Conformance]"],
    );
    has(&place.read("submission/PRODUCT.yaml"), &["vendor: x\n"]);
    has(&place.read("submission/README.md"), &["windlass conform upstream --e2e"]);
}

fn wrong() {
    let place = Place::new();
    fs::remove_file(place.dir.path().join("e2e.test")).expect("a link");
    let (code, said) = place.run(false, &[]);
    assert_eq!(code, Some(2), "{said}");
    has(&said, &["there is no suite at ./e2e.test"]);
    std::os::unix::fs::symlink("/bin/true", place.dir.path().join("e2e.test")).expect("a link");
    let (code, said) = place.run(false, &[]);
    assert_eq!(code, Some(2), "{said}");
    has(&said, &["lists no specs by --list-tests"]);
    let unlisted = place.file("list.txt", "tag:Slow\n");
    let (code, said) = place.run(false, &["--skip", unlisted.to_str().expect("a path")]);
    assert_eq!(code, Some(2), "{said}");
    has(&said, &["list.txt:1: there is no reason"]);
}
