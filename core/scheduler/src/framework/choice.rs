//! Choosing among possible nodes: scores, and extenders that have a say.

use std::sync::Arc;

use windlass_kernel::{
    Error, ErrorKind, Result,
    scheduler::{Explanation, Extender, Fit, Refusal, Relevance, Turn},
};

use super::{
    Framework,
    pick::best,
    search::Settled,
    watch::{At, Watch, guarded},
};

impl Framework {
    fn totals(&self, at: &At, turn: &mut Turn<'_>, places: &[usize]) -> Vec<i64> {
        let nodes = turn.nodes.at(places);
        let mut totals = vec![0; places.len()];
        for (weight, plugin) in &self.scores {
            at.set(plugin.name());
            if plugin.prepare(turn.cycle, turn.pod, &nodes) == Relevance::Relevant {
                for (total, node) in totals.iter_mut().zip(nodes.iter()) {
                    *total += weight * plugin.score(turn.cycle, turn.pod, node).get();
                }
            }
        }
        totals
    }

    /// Keeps the places that extenders accept.
    pub(super) async fn extended(&self, turn: &Turn<'_>, mut found: Vec<usize>) -> Result<Settled<Vec<usize>>> {
        let mut refusals = Vec::new();
        for (_, extender) in self.extenders.iter().filter(|(_, extender)| extender.interested(turn.pod)) {
            enter(turn, extender.as_ref());
            let asked = extender.filter(turn.pod, &turn.nodes.at(&found)).await;
            let fits = match asked.and_then(|fits| aligned(extender.as_ref(), fits, found.len())) {
                Err(_) if extender.ignorable() => continue,
                fits => fits?,
            };
            let mut kept = Vec::with_capacity(found.len());
            for (place, fit) in found.iter().copied().zip(fits) {
                let (reasons, curable) = match fit {
                    Fit::Yes => {
                        kept.push(place);
                        continue;
                    }
                    Fit::No(reasons) => (reasons, true),
                    Fit::Never(reasons) => (reasons, false),
                };
                let node = Arc::clone(&turn.nodes.all()[place].name);
                refusals.push(Refusal { place, node, plugin: extender.name(), reasons, curable });
            }
            found = kept;
        }
        let nodes = turn.nodes.len();
        if found.is_empty() {
            return Ok(Err(Box::new(Explanation { nodes, refusals, ..Explanation::default() })));
        }
        Ok(Ok(found))
    }

    pub(super) async fn choose(&self, mut turn: Turn<'_>, places: &[usize]) -> Result<usize> {
        if let [only] = places {
            return Ok(*only);
        }
        let watch = turn.cycle.get::<Watch>().cloned();
        let mut totals = match guarded(watch.as_ref(), |at| self.totals(at, &mut turn, places)) {
            Ok(totals) => totals,
            Err(_) => self.totals_of_sound(watch.as_ref(), &mut turn, places),
        };
        for (weight, extender) in self.extenders.iter().filter(|(_, extender)| extender.interested(turn.pod)) {
            enter(&turn, extender.as_ref());
            let asked = extender.score(turn.pod, &turn.nodes.at(places)).await;
            let scores = match asked.and_then(|scores| aligned(extender.as_ref(), scores, places.len())) {
                Err(_) if extender.ignorable() => continue,
                scores => scores?,
            };
            totals.iter_mut().zip(scores).for_each(|(total, score)| *total += weight * score.get());
        }
        Ok(places[best(&totals, turn.entropy)])
    }
}

/// Tells who watches that an extender is at work.
fn enter(turn: &Turn<'_>, extender: &dyn Extender) {
    if let Some(watch) = turn.cycle.get::<Watch>() {
        watch.enter(extender.name());
    }
}

/// The answers of an extender, of which there has to be one for each node.
fn aligned<T>(extender: &dyn Extender, answers: Vec<T>, nodes: usize) -> Result<Vec<T>> {
    if answers.len() == nodes {
        return Ok(answers);
    }
    let (name, count) = (extender.name(), answers.len());
    Err(Error::new(ErrorKind::Internal, format!("extender {name} gave {count} answers for {nodes} nodes")))
}
