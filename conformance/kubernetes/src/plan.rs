//! What of a suite is run, and in which order. Pure.

use windlass_kernel::{Error, ErrorKind, Result};

use crate::{list::List, spec::Spec};

/// One part of several, each of which another machine may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    index: usize,
    of: usize,
}

impl Part {
    /// Everything.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Part `number` (from one) of `of`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where there is no such part.
    pub fn new(number: usize, of: usize) -> Result<Self> {
        if number == 0 || number > of {
            return Err(Error::new(ErrorKind::Invalid, format!("there is no part {number} of {of}")));
        }
        Ok(Self { index: number - 1, of })
    }

    /// Whether this is all there is.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.of == 1
    }
}

/// What is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Specs that may run beside each other, by name.
    pub parallel: Vec<Spec>,
    /// Specs that run alone, by name.
    pub serial: Vec<Spec>,
    /// Specs that were asked for and are not run, with the reason.
    pub skipped: Vec<(Spec, String)>,
    /// How many specs the suite has that were not asked for.
    pub others: usize,
}

impl Plan {
    /// Chooses from a suite: what `focus` selects, but for what a list of `skip` selects; of that, one part.
    #[must_use]
    pub fn new(mut specs: Vec<Spec>, focus: &List, skip: &[List], part: Part) -> Self {
        specs.sort_by(|one, other| one.name.cmp(&other.name));
        let mut plan = Self::default();
        let mut number = 0;
        for spec in specs {
            if focus.reason(&spec).is_none() {
                plan.others += 1;
                continue;
            }
            if let Some(reason) = skip.iter().find_map(|list| list.reason(&spec)) {
                let reason = reason.to_owned();
                plan.skipped.push((spec, reason));
                continue;
            }
            let own = number % part.of == part.index;
            number += 1;
            match own {
                false => plan.others += 1,
                true if spec.tagged("Serial") || spec.tagged("Disruptive") => plan.serial.push(spec),
                true => plan.parallel.push(spec),
            }
        }
        plan
    }

    /// How many are run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parallel.len() + self.serial.len()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn suite() -> Vec<Spec> {
        spec::read(
            "  a.go:1: [sig-a] one [Conformance]\n  a.go:2: [sig-a] two [Serial] [Conformance]\n  a.go:3: [sig-a] three\n  \
             a.go:4: [sig-a] four [Conformance]\n  a.go:5: [sig-a] five [Disruptive] [Conformance]\n",
        )
    }

    fn check(skip: &[List], part: Part, expect: &str) {
        let plan = Plan::new(suite(), &List::conformance(), skip, part);
        let last = |spec: &Spec| spec::plain(&spec.name).rsplit(' ').next().unwrap_or_default().to_owned();
        let words = |specs: &[Spec]| specs.iter().map(last).collect::<Vec<_>>().join(" ");
        let skipped: Vec<_> = plan.skipped.iter().map(|(spec, why)| format!("{} ({why})", last(spec))).collect();
        let shown =
            format!("{} | {} | {} | {}", words(&plan.parallel), words(&plan.serial), skipped.join(" "), plan.others);
        assert_eq!(shown, expect);
    }

    #[test]
    fn what_may_not_run_beside_others_comes_last() {
        check(&[], Part::WHOLE, "four one | five two |  | 1");
    }

    #[test]
    fn what_is_skipped_has_a_reason() {
        let list = List::read("l", "tag:Disruptive\tthe cluster is needed\n").unwrap();
        check(&[list], Part::WHOLE, "four one | two | five (the cluster is needed) | 1");
    }

    #[test]
    fn parts_are_together_the_whole() {
        check(&[], Part::new(1, 2).unwrap(), "one | five |  | 3");
        check(&[], Part::new(2, 2).unwrap(), "four | two |  | 3");
        assert!(Part::new(3, 2).is_err() && Part::new(0, 2).is_err());
    }
}
