//! Field paths as validation messages write them: `spec.containers[0].name`, `metadata.labels[app]`.
//!
//! A path borrows its parent, so that descending costs nothing until a message is written.

use std::fmt;

/// Where in an object a value stands.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Nowhere,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// No path at all; messages write it `<nil>`, and its children start anew.
    pub const NOWHERE: Path<'static> = Path { parent: None, step: Step::Nowhere };

    /// Starts a path at a top-level field.
    #[must_use]
    pub const fn new(field: &'a str) -> Self {
        Self { parent: None, step: Step::Field(field) }
    }

    /// Descends into a field.
    #[must_use]
    pub const fn child(&'a self, field: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(field) }
    }

    /// Descends into an item of a list.
    #[must_use]
    pub const fn index(&'a self, at: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(at) }
    }

    /// Descends into an entry of a map.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    fn is_nowhere(&self) -> bool {
        matches!(self.step, Step::Nowhere)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = self.parent.filter(|parent| !parent.is_nowhere());
        if let Some(parent) = parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Nowhere => f.write_str("<nil>"),
            Step::Field(name) if parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(at) => write!(f, "[{at}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_messages_write_them() {
        let spec = Path::new("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        assert_eq!(first.child("name").to_string(), "spec.containers[0].name");
        let metadata = Path::new("metadata");
        assert_eq!(metadata.child("labels").key("a/b").to_string(), "metadata.labels[a/b]");
        assert_eq!(Path::NOWHERE.to_string(), "<nil>");
        assert_eq!(Path::NOWHERE.child("values").index(1).to_string(), "values[1]");
    }
}
