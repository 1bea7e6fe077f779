//! How long a cluster in this process takes to answer: built, started, asked. `cargo xtask bench` reads what it prints.

use std::time::{Duration, Instant};

use windlass::{Cluster, api::core::v1::Namespace, kernel::Result};

const WARM: usize = 20;

#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
async fn once() -> Result<Duration> {
    let started = Instant::now();
    let cluster = Cluster::builder().start().await?;
    cluster.client().get::<Namespace>("", "default").await?;
    let took = started.elapsed();
    cluster.shut_down().await;
    Ok(took)
}

async fn measure() -> Result<(Duration, Duration)> {
    let first = once().await?;
    let mut more = Vec::new();
    for _ in 0..WARM {
        more.push(once().await?);
    }
    more.sort_unstable();
    Ok((first, more[WARM / 2]))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (first, median) = runtime.block_on(measure())?;
    println!("first_us={} median_us={}", first.as_micros(), median.as_micros());
    Ok(())
}
