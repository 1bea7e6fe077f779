//! Simulated nodes from files: how many, of which size and where, how they start and fail, and how pods behave on them.
//!
//! A file holds any number of YAML documents: simulations of ours, and `Stage`s of KWOK. [`Simulation::read`] takes
//! them all; [`Simulation::start`] adds the nodes to a cluster.

mod group;
mod rule;
mod run;
mod stage;

use serde::Deserialize;
use serde_json::Value;
use windlass_api::manifests;
use windlass_kernel::{Error, ErrorKind, Result};
use windlass_testkit::{
    FakeNode,
    agent::{Scene, Scripts},
};

use self::{group::Group, rule::Rule, stage::Stages};

/// What is to be simulated.
#[derive(Clone, Debug, Default)]
pub struct Simulation {
    groups: Vec<Group>,
    rules: Vec<Rule>,
    stages: Stages,
}

/// One document of ours.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default, rename = "apiVersion")]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    nodes: Vec<Group>,
    #[serde(default)]
    pods: Vec<Rule>,
}

const VERSION: &str = "windlass.dev/v1alpha1";
const KIND: &str = "Simulation";

impl Simulation {
    /// Reads a file's text and adds what it says to what is known.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where it says something that cannot be meant,
    /// [`NotSupported`](ErrorKind::NotSupported) where a `Stage` asks for what cannot be played. Both name the place.
    pub fn read(&mut self, text: &str) -> Result<()> {
        let documents = manifests::documents(text)
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("it is not YAML: {error}")))?;
        for manifests::Document { number, value } in documents {
            self.add(value)
                .map_err(|error| Error::new(error.kind(), format!("document {number}: {}", error.message())))?;
        }
        Ok(())
    }

    fn add(&mut self, value: Value) -> Result<()> {
        if value["apiVersion"].as_str().is_some_and(|version| version.starts_with("kwok.x-k8s.io/")) {
            return self.stages.add(value);
        }
        let document: Document = serde_json::from_value(value)
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("it is no simulation: {error}")))?;
        let of_ours = document.api_version.as_deref().is_none_or(|version| version == VERSION)
            && document.kind.as_deref().is_none_or(|kind| kind == KIND);
        if !of_ours {
            let message = format!("a simulation is {VERSION} {KIND}; KWOK's Stage is read too, and nothing else");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        for group in &document.nodes {
            group.check()?;
        }
        self.groups.extend(document.nodes);
        self.rules.extend(document.pods);
        Ok(())
    }

    /// The nodes, where so many are wanted: groups without a count share what others leave. `None` takes counts alone.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where the counts and what is wanted do not agree.
    pub fn nodes(&self, wanted: Option<u16>) -> Result<Vec<FakeNode>> {
        Ok(self.planned(wanted)?.into_iter().map(|planned| planned.node).collect())
    }

    /// How a pod behaves: the first rule that means it, else KWOK's stages, else its annotations.
    fn scripts(&self) -> Scripts {
        let (rules, stages) = (self.rules.clone(), self.stages.clone());
        Scripts::new(move |pod| {
            let rule = rules.iter().find(|rule| rule.means(pod));
            rule.map_or_else(|| Scene { behaviour: stages.play(pod), ..Scene::default() }, |rule| rule.scene(pod))
        })
    }
}

#[cfg(test)]
mod tests;
