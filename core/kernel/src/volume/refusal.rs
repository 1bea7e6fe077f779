//! What drivers refuse for reasons that no kind has: each is a kind with a word in its details, and a code of gRPC.

use crate::error::{Details, Error, ErrorKind};

/// A refusal that the CSI specification tells from others of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another call on the same volume goes on, or a list's token is unknown: try again. [`Conflict`](ErrorKind::Conflict),
    /// `ABORTED`.
    Pending,
    /// The volume is in use, is elsewhere, or lacks a step before this one. [`Conflict`](ErrorKind::Conflict),
    /// `FAILED_PRECONDITION`.
    Precondition,
    /// The size that was asked for cannot be. [`Invalid`](ErrorKind::Invalid), `OUT_OF_RANGE`.
    OutOfRange,
}

impl Refusal {
    const ALL: [Self; 3] = [Self::Pending, Self::Precondition, Self::OutOfRange];

    fn word(self) -> (ErrorKind, &'static str) {
        match self {
            Self::Pending => (ErrorKind::Conflict, "Aborted"),
            Self::Precondition => (ErrorKind::Conflict, "FailedPrecondition"),
            Self::OutOfRange => (ErrorKind::Invalid, "OutOfRange"),
        }
    }

    /// The refusal as an error.
    #[must_use]
    pub fn error(self, message: impl Into<String>) -> Error {
        let (kind, word) = self.word();
        Error::new(kind, message).with_details(Details { reason: word.into(), ..Details::default() })
    }

    /// Which refusal an error is, if it is one.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        let reason = error.details()?.reason.as_str();
        Self::ALL.into_iter().find(|refusal| refusal.word() == (error.kind(), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_again_and_no_other_error_is_one() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of(&refusal.error("no")), Some(refusal));
        }
        assert_eq!(Refusal::of(&Error::new(ErrorKind::Conflict, "no")), None);
    }
}
