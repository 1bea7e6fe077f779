//! What a stage's templates come to: the phase that a pod gets, and the exit code of its containers.

use windlass_api::core::v1::Pod;

/// What a stage does to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It waits for something before it runs.
    Prepare,
    /// Its containers run and are ready.
    Run,
    /// Its containers end.
    End(Code),
    /// It goes.
    Go,
    /// Nothing that a simulated pod does not do by itself.
    Nothing,
}

/// An exit code, which an annotation may state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Code {
    usual: i32,
    annotation: Option<String>,
}

impl Code {
    pub(super) fn of(&self, pod: &Pod) -> i32 {
        let said = self.annotation.as_ref().and_then(|key| super::annotations(pod).get(key));
        said.and_then(|text| text.parse().ok()).unwrap_or(self.usual)
    }
}

/// What a stage says.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) templates: Vec<String>,
    pub(super) delete: bool,
}

impl Told {
    /// Refuses what is done to nodes, but for what a simulated node does by itself: conditions, addresses, amounts.
    pub(super) fn node(&self) -> Result<(), String> {
        let plain = |template: &String| template.trim().is_empty() || template.contains("range NodeConditions");
        if self.delete || !self.templates.iter().all(plain) {
            return Err("nodes fail as `fail` of a Simulation says, not by a stage".into());
        }
        Ok(())
    }

    /// What is done to pods that are going, or to others.
    pub(super) fn pod(&self, going: bool) -> Result<Effect, String> {
        match (going, self.delete) {
            (true, true) => return Ok(Effect::Go),
            (true, false) => return Ok(Effect::Nothing),
            (false, true) => return Err("it deletes pods that nobody deleted".into()),
            (false, false) => {}
        }
        match self.lines("phase:").last() {
            Some("Running") => Ok(Effect::Run),
            Some("Succeeded") => Ok(Effect::End(Code { usual: 0, annotation: None })),
            Some("Failed") => self.code().map(Effect::End),
            Some("Pending") => Ok(Effect::Prepare),
            Some(other) => Err(format!("it gives pods the phase {other:?}")),
            None if self.templates.iter().all(|template| template.trim().is_empty()) => Ok(Effect::Nothing),
            None if self.lines("waiting:").next().is_some() && self.lines("reason:").any(fails) => {
                Err("containers that cannot be created are not simulated".into())
            }
            None => Ok(Effect::Prepare),
        }
    }

    /// What stands behind a word at the start of lines.
    fn lines<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.templates.iter().flat_map(|template| template.lines());
        lines
            .filter_map(move |line| line.trim().trim_start_matches("- ").strip_prefix(word))
            .map(|rest| rest.trim().trim_matches('"'))
    }

    /// The exit code of the last container that ends: a number, or a variable with one, or an annotation's.
    fn code(&self) -> Result<Code, String> {
        let Some(said) = self.lines("exitCode:").last() else { return Ok(Code { usual: 1, annotation: None }) };
        if let Ok(usual) = said.parse::<i32>() {
            return Ok(Code { usual: if usual == 0 { 1 } else { usual }, annotation: None });
        }
        let unknown = || format!("the exit code {said} cannot be read");
        let variable = said.trim_start_matches("{{").trim_end_matches("}}").trim();
        let value = self.variable(variable).ok_or_else(unknown)?;
        if let Ok(usual) = value.parse() {
            return Ok(Code { usual, annotation: None });
        }
        let annotation = value.split('"').nth(1).filter(|_| value.contains("$annotations")).map(str::to_owned);
        let usual = value.split_whitespace().last().and_then(|last| self.variable(last)?.parse().ok());
        match (annotation, usual) {
            (Some(annotation), Some(usual)) => Ok(Code { usual, annotation: Some(annotation) }),
            _ => Err(unknown()),
        }
    }

    /// What a variable is set to.
    fn variable(&self, name: &str) -> Option<&str> {
        let lines = self.templates.iter().flat_map(|template| template.lines());
        lines.filter_map(|line| line.trim().strip_prefix("{{")?.strip_suffix("}}")).find_map(|line| {
            let (own, value) = line.split_once(":=")?;
            (own.trim() == name).then(|| value.trim())
        })
    }
}

/// Whether a container waits because something went wrong.
fn fails(reason: &str) -> bool {
    !matches!(
        reason,
        "ContainerCreating" | "PodInitializing" | "ContainersNotReady" | "ContainersNotInitialized" | "''" | ""
    )
}
