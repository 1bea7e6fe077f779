//! The scheduler at scale, one workload in a process of its own: `scheduler WORKLOAD [NODES PODS]`.
//!
//! `cargo xtask bench scheduler` runs them all and reads what they print. Workloads of one name with upstream's
//! scheduler_perf have its nodes, pods and sizes. Pods are created before the clock starts; events are written.

mod borg;
mod rig;
mod whole;
mod workloads;

use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
fn now() -> Instant {
    Instant::now()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let said: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [workload, sizes @ ..] = said.as_slice() else {
        return Err("say which workload".into());
    };
    let sizes = sizes.iter().map(|size| size.parse()).collect::<Result<Vec<usize>, _>>()?;
    let size = |at: usize, usual| sizes.get(at).copied().unwrap_or(usual);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match workload.as_str() {
            "deployment" => whole::deployment(size(0, 5000), size(1, 50_000)).await,
            "compaction" => borg::compaction(size(0, 1000), size(1, 10_000)).await,
            "relaxed" => borg::relaxed(size(0, 5000), size(1, 5000)).await,
            "repack" => borg::repack(size(0, 5000), size(1, 20_000)).await,
            "garbage" => whole::garbage(size(1, 100_000)).await,
            "steady" => whole::steady(size(0, 5000), size(1, 150_000)).await,
            name => workloads::run(name, size(0, 5000), sizes.get(1).copied()).await,
        }
    })?;
    Ok(())
}
