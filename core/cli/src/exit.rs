//! How the binary ends: one line on standard error, and a code that scripts can tell apart.

use std::process::ExitCode;

use windlass::kernel::{Error, ErrorKind};

/// Something was wrong with what was asked for; nothing was changed.
const USAGE: u8 = 2;
/// Something that is needed is not there: a port, a directory, a runtime, root.
const UNAVAILABLE: u8 = 3;
/// The cluster refused.
const REFUSED: u8 = 4;
/// A bug or damaged data.
const BROKEN: u8 = 1;

/// Prints an error as one line with its causes, and turns it into an exit code (documented in `docs/cli.md`).
pub(crate) fn code(done: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match done {
        Ok(code) => return code,
        Err(error) => error,
    };
    eprintln!("windlass: {error:#}");
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(Error::kind);
    ExitCode::from(match kind {
        Some(ErrorKind::Invalid | ErrorKind::BadRequest | ErrorKind::NotSupported) => USAGE,
        Some(ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Full) => UNAVAILABLE,
        Some(
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict,
        ) => REFUSED,
        _ => BROKEN,
    })
}
