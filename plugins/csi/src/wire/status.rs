//! Errors and codes of gRPC, both ways. The table is in `docs/errors.md`.

use tonic::{Code, Status};
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
    let lost = matches!(
        code,
        Code::DeadlineExceeded
            | Code::Unavailable
            | Code::Cancelled
            | Code::DataLoss
            | Code::Ok
            | Code::Unknown
            | Code::Internal
    );
    let error = error.with_source(status);
    if lost { error.maybe_applied() } else { error }
}

fn refusal_of(code: Code) -> Option<Refusal> {
    match code {
        Code::Aborted => Some(Refusal::Pending),
        Code::FailedPrecondition => Some(Refusal::Precondition),
        Code::OutOfRange => Some(Refusal::OutOfRange),
        _ => None,
    }
}

fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Invalid,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::PermissionDenied => ErrorKind::Forbidden,
        Code::Unauthenticated => ErrorKind::Unauthorized,
        Code::FailedPrecondition | Code::Aborted => ErrorKind::Conflict,
        Code::ResourceExhausted => ErrorKind::Full,
        Code::Unimplemented => ErrorKind::NotSupported,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Unavailable | Code::Cancelled => ErrorKind::Unavailable,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
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

fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Unauthorized => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::MethodNotAllowed | ErrorKind::NotSupported => Code::Unimplemented,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::Compacted | ErrorKind::FutureRevision => Code::OutOfRange,
        ErrorKind::BadRequest
        | ErrorKind::NotAcceptable
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMediaType
        | ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::TooManyRequests | ErrorKind::Full => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Corrupt => Code::DataLoss,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_of_the_table() {
        let table = include_str!("../../../../docs/errors.md").split("\n## ").nth(1).unwrap();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
            .collect();
        assert_eq!(rows.len(), ErrorKind::ALL.len());
        for (row, kind) in rows.iter().zip(ErrorKind::ALL) {
            let code = format!("{:?}", to_status(&Error::new(*kind, "no")).code());
            assert_eq!(code.to_uppercase(), row[3].replace('_', ""), "{kind:?}");
        }
    }

    #[test]
    fn codes_come_back_as_they_went() {
        for code in (1..=16).map(Code::from).filter(|code| !matches!(code, Code::Cancelled | Code::Unknown)) {
            assert_eq!(to_status(&from_status("try", Status::new(code, "no"))).code(), code);
        }
    }
}
