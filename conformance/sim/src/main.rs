//! Runs the simulation of one seed and prints what happened: `windlass-sim SEED`.
//!
//! The last line is the hash of the event log. The same seed prints the same hash on every machine, under every load.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let seed = std::env::args().nth(1).context("usage: windlass-sim SEED")?;
    let seed: u64 = seed.parse().with_context(|| format!("the seed {seed:?} is not a number"))?;
    let history = windlass_sim::rollout::run(seed);
    for line in &history.story {
        println!("{line}");
    }
    println!("seed {seed}: {} changes, {} polls, hash {}", history.changes, history.polls, history.hash);
    Ok(())
}
