//! Explanations of what a framework decides: every node, every score, whose leaving was considered, and the smallest
//! change that would let a pod in. Pure, and apart from the cycle: it looks at every node, remembers nothing of
//! alike pods, and is in no hurry.

mod room;
mod search;
mod shapes;
mod study;

use std::sync::Arc;

use windlass_kernel::{
    Result,
    scheduler::{
        Cycle, Diagnose, Diagnosis, NodeDiagnosis, NodeView, Nodes, PodView, Refused, Relevance, Remedy, Scored, Turn,
        Verdict,
    },
};

use self::study::{Refusal, Study};
use super::{
    Framework,
    watch::{At, Watch, guarded},
};

/// What a host knows and a decision begins with.
#[derive(Clone, Copy)]
struct Given<'a> {
    framework: &'a Framework,
    at: &'a At,
    facts: &'a Cycle,
}

impl Diagnose for Framework {
    fn diagnose(&self, turn: Turn<'_>) -> Result<Diagnosis> {
        self.tell_domains(turn.cycle);
        let watch = turn.cycle.get::<Watch>().cloned();
        guarded(watch.as_ref(), |at| {
            let given = Given { framework: self, at, facts: turn.cycle };
            diagnosis(given, turn.pod, &turn.nodes)
        })
    }

    fn remedy(&self, turn: Turn<'_>) -> Result<Option<Remedy>> {
        self.tell_domains(turn.cycle);
        let watch = turn.cycle.get::<Watch>().cloned();
        guarded(watch.as_ref(), |at| {
            let given = Given { framework: self, at, facts: turn.cycle };
            search::smallest(given, turn.pod, turn.nodes.all())
        })
    }
}

fn diagnosis(given: Given<'_>, pod: &Arc<PodView>, nodes: &Nodes<'_>) -> Diagnosis {
    let study = Study::new(given, pod, nodes);
    let mut told = Diagnosis::of(pod, Verdict::Nowhere);
    told.overall.clone_from(&study.overall);
    let mut feasible = Vec::new();
    for (place, node) in nodes.all().iter().enumerate() {
        let refused = study.refusal(place).map(|refusal| refused(&study, node, refusal));
        if refused.is_none() {
            feasible.push(place);
        }
        told.nodes.push(NodeDiagnosis { node: Arc::clone(&node.name), refused, scores: Vec::new() });
    }
    if !feasible.is_empty() {
        score(study, nodes, &feasible, &mut told.nodes);
        let highest = feasible.iter().map(|place| told.nodes[*place].total()).max();
        let best = feasible.iter().filter(|place| Some(told.nodes[**place].total()) == highest);
        told.best = best.map(|place| Arc::clone(&nodes.all()[*place].name)).collect();
        told.verdict = Verdict::Fits;
    } else if study.overall.is_none() && !nodes.is_empty() {
        let (room, chosen) = room::considered(&study, nodes);
        if let Some(chosen) = chosen {
            told.verdict = Verdict::Preempts(chosen);
        }
        told.room = room;
    }
    if !pod.gates.is_empty() {
        told.verdict = Verdict::Gated(pod.gates.clone());
    }
    told.remedy = search::smallest(given, pod, nodes.all());
    told
}

fn refused(study: &Study<'_>, node: &NodeView, refusal: Refusal<'_>) -> Refused {
    let details = study.with_nominated(node, refusal.nominated, |cycle, node| match refusal.filter {
        Some(filter) => filter.details(cycle, study.pod, node),
        None => Vec::new(),
    });
    Refused {
        plugin: refusal.plugin,
        reasons: refusal.reasons,
        details,
        curable: refusal.curable,
        nominated: refusal.nominated,
    }
}

/// Asks every score about every possible node, also where there is but one.
fn score(study: Study<'_>, nodes: &Nodes<'_>, feasible: &[usize], told: &mut [NodeDiagnosis]) {
    let Study { given, pod, mut cycle, .. } = study;
    let some = nodes.at(feasible);
    for (weight, plugin) in &given.framework.scores {
        given.at.set(plugin.name());
        if plugin.prepare(&mut cycle, pod, &some) != Relevance::Relevant {
            continue;
        }
        for place in feasible {
            let node = &nodes.all()[*place];
            let (raw, normalized) = (plugin.raw(&cycle, pod, node), plugin.score(&cycle, pod, node).get());
            told[*place].scores.push(Scored { plugin: plugin.name(), raw, normalized, weight: *weight });
        }
    }
}

#[cfg(test)]
mod tests;
