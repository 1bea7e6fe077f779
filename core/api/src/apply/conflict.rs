//! What is said when appliers disagree: one cause per field and a summary, in the words clients know.

use std::fmt;

use super::manager::{ManagedEntry, Operation};
use super::set::FieldSet;

/// The `type` of a cause in the status of a conflict.
const CAUSE: &str = "FieldManagerConflict";

/// A field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it, as messages name it: `"kubectl" using apps/v1`.
    pub owner: String,
    /// Which field: `.spec.replicas`.
    pub field: String,
}

/// Every field that stands in the way of an apply without force, grouped by owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(Vec<Conflict>);

impl Conflicts {
    /// The reason that every cause carries.
    pub const REASON: &'static str = CAUSE;

    /// Collects the fields of each owner; the owners are sorted.
    pub(super) fn new(mut owned: Vec<(&ManagedEntry, FieldSet)>) -> Self {
        let rank = |e: &ManagedEntry| (e.manager.clone(), e.operation, e.api_version.clone(), e.subresource.clone());
        owned.sort_by_key(|(entry, _)| rank(entry));
        let mut conflicts = Vec::new();
        for (entry, fields) in owned {
            let owner = describe(entry);
            fields.for_each(|path| {
                let field = path.iter().map(ToString::to_string).collect();
                conflicts.push(Conflict { owner: owner.clone(), field });
            });
        }
        Self(conflicts)
    }

    /// The conflicts, in order.
    #[must_use]
    pub fn list(&self) -> &[Conflict] {
        &self.0
    }
}

impl Conflict {
    /// The message of the cause: `conflict with "kubectl" using apps/v1`.
    #[must_use]
    pub fn message(&self) -> String {
        format!("conflict with {}", self.owner)
    }
}

fn describe(entry: &ManagedEntry) -> String {
    let mut text = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        text += &format!(" with subresource {:?}", entry.subresource);
    }
    if entry.operation == Operation::Update {
        text += &format!(" using {}", entry.api_version);
    }
    text
}

impl fmt::Display for Conflicts {
    /// Writes the summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "Apply failed with 1 conflict: {}: {}", only.message(), only.field);
        }
        write!(f, "Apply failed with {} conflicts: ", self.0.len())?;
        for (at, group) in self.0.chunk_by(|a, b| a.owner == b.owner).enumerate() {
            write!(f, "{}conflicts with {}:", if at == 0 { "" } else { "\n" }, group[0].owner)?;
            for conflict in group {
                write!(f, "\n- {}", conflict.field)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}
