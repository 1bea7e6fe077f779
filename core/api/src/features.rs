//! Upstream's feature gates: their names, how ripe they are, and what a command line makes of them.
//!
//! Which of them changes anything is known where something is changed.

use std::{collections::BTreeMap, fmt, str::FromStr};

static TABLE: &str = include_str!("../data/feature-gates.tsv");

/// How many names an error lists that resemble an unknown one.
const CLOSE: usize = 3;

/// A feature gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// `ALPHA`, `BETA`, `DEPRECATED`, or nothing once it is stable, as metrics say it.
    pub stage: &'static str,
    /// Whether it is on unless somebody says otherwise.
    pub default: bool,
    /// Whether nobody can say otherwise any more.
    pub locked: bool,
}

/// Every gate, sorted by name.
pub fn all() -> impl Iterator<Item = Feature> {
    TABLE.lines().skip(1).map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        let (name, stage) = (next(), next());
        let stage = match stage {
            "alpha" => "ALPHA",
            "beta" => "BETA",
            "deprecated" => "DEPRECATED",
            _ => "",
        };
        Feature { name, stage, default: next() == "yes", locked: next() == "yes" }
    })
}

/// What gates were set, as `--feature-gates` has them: `A=true,B=false`, with `AllAlpha` and `AllBeta` for many at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    set: BTreeMap<&'static str, bool>,
}

/// Why gates cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateError(String);

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GateError {}

impl Gates {
    /// Whether a gate is on; false for what is none.
    #[must_use]
    pub fn enabled(&self, name: &str) -> bool {
        let default = || all().find(|feature| feature.name == name).is_some_and(|feature| feature.default);
        self.set.get(name).copied().unwrap_or_else(default)
    }

    /// The gates that are not as they would be if nobody had said anything, sorted by name.
    pub fn changed(&self) -> impl Iterator<Item = (Feature, bool)> {
        let set = |feature: Feature| self.set.get(feature.name).map(|on| (feature, *on));
        all().filter_map(set).filter(|(feature, on)| feature.default != *on)
    }

    /// Sets what follows in `text` over what is set.
    ///
    /// # Errors
    ///
    /// Says which word is wrong, and which names there are that it resembles.
    pub fn with(mut self, text: &str) -> Result<Self, GateError> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let words = words.map(word).collect::<Result<Vec<_>, _>>()?;
        // What is said of one gate counts more than what is said of all, wherever it stands.
        for (name, on) in &words {
            let stage = match *name {
                "AllAlpha" => "ALPHA",
                "AllBeta" => "BETA",
                _ => continue,
            };
            let own = all().filter(|feature| feature.stage == stage && !feature.locked);
            self.set.extend(own.map(|feature| (feature.name, *on)));
        }
        for (name, on) in words {
            if matches!(name, "AllAlpha" | "AllBeta") {
                continue;
            }
            let feature = all().find(|feature| feature.name == name).ok_or_else(|| unknown(name))?;
            if feature.locked && feature.default != on {
                let message =
                    format!("cannot set feature gate {name} to {on}, feature is locked to {}", feature.default);
                return Err(GateError(message));
            }
            self.set.insert(feature.name, on);
        }
        Ok(self)
    }
}

impl FromStr for Gates {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        Self::default().with(text)
    }
}

fn word(word: &str) -> Result<(&str, bool), GateError> {
    let (name, value) =
        word.split_once('=').ok_or_else(|| GateError(format!("missing bool value for {word}: write {word}=true")))?;
    // What Go's strconv.ParseBool takes.
    let on = match value.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        other => return Err(GateError(format!("invalid value of {name}={other}: expected true or false"))),
    };
    Ok((name.trim(), on))
}

fn unknown(name: &str) -> GateError {
    let names: Vec<&str> = all().map(|feature| feature.name).chain(["AllAlpha", "AllBeta"]).collect();
    let close = nearest(name, &names);
    let hint = if close.is_empty() { "of Kubernetes 1.36 none is called so".into() } else { close.join(", ") };
    let hint = if close.is_empty() { hint } else { format!("did you mean {hint}?") };
    GateError(format!("unrecognized feature gate: {name}: {hint}"))
}

/// The known names that a mistyped one resembles most, the closest first.
#[must_use]
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Vec<&'n str> {
    let wanted = name.to_lowercase();
    let mut close: Vec<(usize, &str)> = known
        .iter()
        .map(|known| {
            let lower = known.to_lowercase();
            let part = wanted.len() > 3 && lower.contains(&wanted);
            (if part { 1 } else { distance(&wanted, &lower) }, *known)
        })
        .filter(|(distance, _)| *distance <= wanted.len() / 3)
        .collect();
    close.sort_unstable();
    close.into_iter().take(CLOSE).map(|(_, known)| known).collect()
}

/// How many letters are to be added, taken away or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (corner + usize::from(letter != *other)).min(above + 1).min(row[j] + 1);
            corner = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = match text.parse::<Gates>() {
            Ok(gates) => gates.changed().map(|(feature, on)| format!("{}={on}", feature.name)).collect::<Vec<_>>(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(shown.join(" "), expect, "{text}");
    }

    #[test]
    fn gates_are_known_by_name() {
        let names: Vec<_> = all().map(|feature| feature.name).collect();
        assert!(names.is_sorted() && names.len() > 200, "{}", names.len());
        check("", "");
        check("WatchList=true, HPAScaleToZero=true", "HPAScaleToZero=true");
        check("ImageVolume=f,MemoryQoS=T", "ImageVolume=false MemoryQoS=true");
    }

    #[test]
    fn one_gate_counts_more_than_all_of_a_stage() {
        let gates: Gates = "MemoryQoS=false,AllAlpha=true".parse().unwrap();
        assert!(gates.enabled("HPAScaleToZero") && !gates.enabled("MemoryQoS") && gates.enabled("WatchList"));
        let gates: Gates = "AllBeta=false".parse().unwrap();
        assert!(!gates.enabled("WatchList") && gates.enabled("SidecarContainers") && !gates.enabled("Nonsense"));
    }

    #[test]
    fn what_cannot_be_set_is_explained() {
        check("WatchLst=true", "unrecognized feature gate: WatchLst: did you mean WatchList?");
        check("zzz=true", "unrecognized feature gate: zzz: of Kubernetes 1.36 none is called so");
        check("WatchList", "missing bool value for WatchList: write WatchList=true");
        check("WatchList=maybe", "invalid value of WatchList=maybe: expected true or false");
        check(
            "SidecarContainers=false",
            "cannot set feature gate SidecarContainers to false, feature is locked to true",
        );
        check("SidecarContainers=true", "");
    }
}
