//! A log of what happened, to compare one run with another.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;

/// Lines in the order they were appended. Clones share one log.
#[derive(Clone, Default)]
pub struct EventLog(Arc<Mutex<Vec<String>>>);

/// The first line in which two logs differ; `None` is a side that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The line's number, from 0.
    pub line: usize,
    /// What this log says.
    pub here: Option<String>,
    /// What the other says.
    pub there: Option<String>,
}

impl EventLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a line.
    pub fn append(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    /// A copy of the lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// The SHA-256 of all lines, in hexadecimal. The same in every process.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for line in self.0.lock().iter() {
            digest.update(line.as_bytes());
            digest.update(b"\n");
        }
        digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where two logs begin to differ.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let (here, there) = (self.lines(), other.lines());
        let line = (0..here.len().max(there.len())).find(|at| here.get(*at) != there.get(*at))?;
        Some(Difference { line, here: here.get(line).cloned(), there: there.get(line).cloned() })
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("lines", &self.0.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_differ_from_the_first_unequal_line_on() {
        let (a, b) = (EventLog::new(), EventLog::new());
        for log in [&a, &b] {
            log.append("same");
        }
        assert_eq!((a.hash(), a.difference(&b)), (b.hash(), None));
        b.append("more");
        assert_ne!(a.hash(), b.hash());
        assert_eq!(a.difference(&b), Some(Difference { line: 1, here: None, there: Some("more".into()) }));
    }
}
