//! Where logs go, over a runtime in memory, which makes no files.

use libtest_mimic::Trial;
use serde_json::json;
use tokio::runtime::{Handle, Runtime};
use windlass_lab::rim;

use crate::bench::Bench;

pub(crate) fn trials() -> Vec<Trial> {
    let run = || {
        Runtime::new()?.block_on(folder());
        Ok(())
    };
    vec![Trial::test("the_folder_of_a_log_is_there_before_its_container", run).with_kind("fake runtime")]
}

/// CRI-O, unlike containerd, makes none.
async fn folder() {
    let mut bench = Bench::fake("logs", &rim(&Handle::current())).await;
    let pod =
        bench.pod(json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "command": ["run"]}]}));
    bench.sync(&pod).await;
    bench.ready().await;
    let folder = bench.config.data_dir.join("logs/test_logs_uid-logs/main");
    assert!(folder.is_dir(), "{} is not there", folder.display());
    bench.delete(&pod, 0).await;
    std::fs::remove_dir_all(&bench.config.data_dir).expect("the folder goes");
}
