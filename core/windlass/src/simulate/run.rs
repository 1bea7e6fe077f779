//! Runs simulated nodes: each comes up in its time, fails as its group says, and returns.

use std::{sync::Arc, time::Duration};

use windlass_kernel::{ClockExt, EntropyExt, Result, SpawnExt, Task};

use super::{
    Simulation,
    group::{Fail, Planned},
};
use crate::cluster::{Cluster, node::Rim};

impl Simulation {
    /// Adds the nodes to a cluster, as many as are wanted. They live as long as the tasks.
    ///
    /// # Errors
    ///
    /// Those of [`nodes`](Self::nodes), and those of starting a node.
    pub async fn start(&self, cluster: &Cluster, wanted: Option<u16>) -> Result<Vec<Task>> {
        let mut tasks = Vec::new();
        for planned in self.planned(wanted)? {
            if planned.start.is_zero() && planned.fail.is_none() {
                tasks.push(cluster.run_node(&planned.node, rim(cluster)).await?);
            } else {
                let life = live(cluster.handle(), planned);
                tasks.push(cluster.spawn().spawn("simulate.node", life));
            }
        }
        Ok(tasks)
    }
}

fn rim(cluster: &Cluster) -> Rim {
    (Arc::clone(cluster.clock()), Arc::clone(cluster.spawn()), Arc::clone(cluster.entropy()))
}

/// The life of a node that starts late, or fails.
async fn live(cluster: Cluster, planned: Planned) {
    let Planned { node, start, fail } = planned;
    cluster.clock().sleep(start).await;
    loop {
        let host = match cluster.run_node(&node, rim(&cluster)).await {
            Ok(host) => host,
            Err(error) => {
                tracing::warn!(node = node.name, %error, "a simulated node does not start");
                return;
            }
        };
        let Some(Fail { every, away }) = fail else {
            host.ended().await;
            return;
        };
        cluster.clock().sleep(up(&cluster, every.0)).await;
        tracing::info!(node = node.name, "a simulated node fails");
        // As by a power cut: nobody is told.
        drop(host);
        cluster.agents().remove(&node.name);
        let Some(away) = away else { return };
        cluster.clock().sleep(away.0).await;
    }
}

/// How long a node is up.
fn up(cluster: &Cluster, mean: Duration) -> Duration {
    let most = u64::try_from(mean.as_millis()).unwrap_or(u64::MAX).saturating_mul(2);
    Duration::from_millis(cluster.entropy().below(most))
}
