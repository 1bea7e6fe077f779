//! What each of Borg's ideas is worth, without a cluster around it: the framework decides, and nothing is written.

use std::sync::Arc;

use windlass::{
    kernel::{
        Entropy, EntropyExt, Error, ErrorKind, Result, Scheduler,
        scheduler::{Changes, Cycle, Decision, NodeIndex, NodeView, Nodes, PodView, Resources, Step, Turn},
    },
    scheduler::{
        Framework,
        plugins::{NodeResourcesFit, Packing},
    },
    testkit::SeededEntropy,
};

/// As many as Borg's authors take; the ninetieth percentile counts.
const SEEDS: u64 = 11;

/// Nodes that pods are placed on.
struct Cell {
    nodes: Vec<NodeView>,
    index: NodeIndex,
    changes: Changes,
}

impl Cell {
    fn of(nodes: Vec<NodeView>) -> Self {
        Self { index: NodeIndex::of(&nodes), nodes, changes: Changes::default() }
    }

    /// Places a pod; the score that its node had beside others is not known. `None` where it fits nowhere.
    async fn place(
        &mut self,
        framework: &Framework,
        pod: &Arc<PodView>,
        chance: &dyn Entropy,
    ) -> Result<Option<usize>> {
        let nodes = Nodes::new(&self.nodes, &self.index).changed(&self.changes);
        let decision = framework.schedule(Turn { pod, nodes, cycle: &mut Cycle::new(), entropy: chance }).await?;
        let Decision::Place(placement) = decision else { return Ok(None) };
        self.nodes[placement.place].add(Arc::clone(pod));
        self.changes.push(Step::Came(placement.place, Arc::clone(pod)));
        Ok(Some(placement.place))
    }
}

fn number(chance: &dyn Entropy, below: u64) -> i64 {
    i64::try_from(chance.below(below)).unwrap_or(0)
}

/// A machine of one of a few kinds, as in a cell that was bought over years.
fn machine(at: usize, chance: &dyn Entropy) -> NodeView {
    const GIB: i64 = 1 << 30;
    let (cores, memory) = [(32, 128), (32, 64), (64, 256), (16, 64)][usize::try_from(chance.below(4)).unwrap_or(0)];
    NodeView::named(&format!("m{at:05}")).offering(Resources::new(cores * 1000, memory * GIB), 110)
}

/// A pod of a workload where most are small, a few are large, and CPU and memory do not go together.
fn pod(at: usize, chance: &dyn Entropy) -> Arc<PodView> {
    // Each doubling is half as likely: sizes over three orders of magnitude.
    let size = |chance: &dyn Entropy| 1_i64 << number(chance, 1 << 7).trailing_zeros().min(6);
    let cpu = 100 * size(chance) * (1 + number(chance, 4));
    let memory = (128 << 20) * size(chance) * (1 + number(chance, 4)) * 2;
    let name = format!("p{at:06}");
    let requests = Resources::new(cpu, memory);
    let mut pod = PodView { uid: name.clone(), requests: requests.clone(), estimated: requests, ..PodView::default() };
    pod.key.name = name;
    Arc::new(pod)
}

/// How many machines a workload needs: machines are taken away at random for as long as it fits.
async fn compacted(framework: &Framework, machines: usize, pods: &[Arc<PodView>], seed: u64) -> Result<usize> {
    let chance = SeededEntropy::new(seed);
    let mut order: Vec<NodeView> = (0..machines).map(|at| machine(at, &chance)).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, usize::try_from(chance.below(u64::try_from(at + 1).unwrap_or(1))).unwrap_or(0));
    }
    let (mut fits, mut too_few) = (machines, 0);
    // The first machines of one order: fewer never hold what more cannot.
    while fits - too_few > 1 {
        let tried = too_few + (fits - too_few) / 2;
        if all_fit(framework, &order[..tried], pods, seed).await? { fits = tried } else { too_few = tried }
    }
    Ok(fits)
}

async fn all_fit(framework: &Framework, machines: &[NodeView], pods: &[Arc<PodView>], seed: u64) -> Result<bool> {
    let (mut cell, chance) = (Cell::of(machines.to_vec()), SeededEntropy::new(seed));
    // Borg lets so few of the picky tasks wait.
    let mut waiting = pods.len() / 500;
    for pod in pods {
        if cell.place(framework, pod, &chance).await?.is_none() {
            match waiting.checked_sub(1) {
                Some(left) => waiting = left,
                None => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// Cell compaction: how many machines each packing needs for the same work.
pub(super) async fn compaction(machines: usize, pods: usize) -> Result<()> {
    let policies = [("worst", Packing::Worst), ("best", Packing::Best), ("hybrid", Packing::Hybrid)];
    let mut line = format!("machines={machines} pods={pods} seeds=1..{SEEDS}");
    for (name, packing) in policies {
        let mut needed = Vec::new();
        for seed in 1..=SEEDS {
            let chance = SeededEntropy::new(1000 + seed);
            let pods: Vec<_> = (0..pods).map(|at| pod(at, &chance)).collect();
            let framework = Framework::empty().filter(NodeResourcesFit).packing(packing).sample(100);
            needed.push(compacted(&framework, machines, &pods, seed).await?);
        }
        needed.sort_unstable();
        let ninetieth = needed[needed.len() * 9 / 10];
        line += &format!(" {name}={ninetieth}");
        eprintln!("{name}: {needed:?}");
    }
    println!("{line}");
    Ok(())
}

/// What a sample of the nodes loses against all of them: how much emptier the chosen node could have been.
pub(super) async fn relaxed(nodes: usize, pods: usize) -> Result<()> {
    let seed = 1;
    let mut line = format!("nodes={nodes} pods={pods} seed={seed}");
    for percentage in [100, 50, 20, 5] {
        let chance = SeededEntropy::new(seed);
        let machines: Vec<_> = (0..nodes).map(|at| machine(at, &chance)).collect();
        let mut cell = Cell::of(machines);
        let pods: Vec<_> = (0..pods).map(|at| pod(at, &chance)).collect();
        let framework = Framework::default().without_classes().sample(percentage);
        let started = super::now();
        for pod in &pods {
            cell.place(&framework, pod, &chance).await?;
        }
        let took = started.elapsed().as_secs_f64();
        let used = cell.nodes.iter().filter(|node| !node.pods().is_empty()).count();
        // The default preference is for empty nodes: the most that one is filled says how well load was spread.
        let fullest = cell.nodes.iter().map(|node| node.used.cpu * 1000 / node.allocatable.cpu.max(1)).max();
        line += &format!(
            " us_{percentage}={:.1} fullest_{percentage}={} used_{percentage}={used}",
            took * 1e6 / pods.len() as f64,
            fullest.unwrap_or(0),
        );
    }
    println!("{line}");
    Ok(())
}

/// A repack of a whole cell with and without classes: the same placements, and how much longer the search takes.
pub(super) async fn repack(nodes: usize, pods: usize) -> Result<()> {
    let mut placed = Vec::new();
    let mut line = format!("nodes={nodes} pods={pods}");
    for (name, framework) in [("classes", Framework::default()), ("search", Framework::default().without_classes())] {
        let chance = SeededEntropy::new(1);
        let mut cell = Cell::of((0..nodes).map(|at| machine(at, &chance)).collect());
        // Jobs of a hundred tasks each.
        let jobs: Vec<_> = (0..pods.div_ceil(100)).map(|at| pod(at, &chance)).collect();
        let framework = framework.sample(100);
        let started = super::now();
        let mut places = Vec::new();
        for at in 0..pods {
            let job = &jobs[at / 100];
            let uid = format!("{}-{at}", job.uid);
            let mut task = PodView { uid: uid.clone(), ..PodView::clone(job) };
            task.key.name = uid;
            places.push(cell.place(&framework, &Arc::new(task), &chance).await?);
        }
        line += &format!(" {name}_seconds={:.3}", started.elapsed().as_secs_f64());
        placed.push(places);
    }
    if placed[0] != placed[1] {
        return Err(Error::new(ErrorKind::Internal, "classes placed pods otherwise than the search"));
    }
    println!("{line}");
    Ok(())
}
