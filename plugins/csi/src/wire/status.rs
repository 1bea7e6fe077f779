//! Errors and codes of gRPC, both ways. The table is in `docs/errors.md`.

use tonic::{Code, Status};
use windlass_grpc::{code_of, kind_of, may_be_done};
use windlass_kernel::{Error, ErrorKind, volume::Refusal};

/// A field that is refused, by name.
pub(crate) fn refused(name: &str, why: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Invalid, format!("{name}: {}", why.as_ref()))
}

/// What a driver's status says, for a call that did `what`.
pub(crate) fn from_status(what: &str, status: Status) -> Error {
    let message = format!("cannot {what}: {}", status.message());
    // Only what the connection did has a cause here: a driver's own words have none.
    let cut = std::error::Error::source(&status).is_some();
    let code = match status.code() {
        Code::Unknown | Code::Internal if cut => Code::Unavailable,
        code => code,
    };
    let error = match refusal_of(code) {
        Some(refusal) => refusal.error(message),
        None => Error::new(kind_of(code), message),
    };
    let error = error.with_source(status);
    if may_be_done(code) { error.maybe_applied() } else { error }
}

fn refusal_of(code: Code) -> Option<Refusal> {
    match code {
        Code::Aborted => Some(Refusal::Pending),
        Code::FailedPrecondition => Some(Refusal::Precondition),
        Code::OutOfRange => Some(Refusal::OutOfRange),
        _ => None,
    }
}

/// A driver's error, for the wire.
pub(crate) fn to_status(error: &Error) -> Status {
    let code = match Refusal::of(error) {
        Some(Refusal::Pending) => Code::Aborted,
        Some(Refusal::Precondition) => Code::FailedPrecondition,
        Some(Refusal::OutOfRange) => Code::OutOfRange,
        None => code_of(error.kind()),
    };
    // The cause stays here: it may name what the caller should not know.
    Status::new(code, error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_as_they_went() {
        for code in (1..=16).map(Code::from).filter(|code| !matches!(code, Code::Cancelled | Code::Unknown)) {
            assert_eq!(to_status(&from_status("try", Status::new(code, "no"))).code(), code);
        }
    }
}
