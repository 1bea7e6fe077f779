//! The one error that crosses every boundary: what to do now (kind), whether it may have happened (certainty), and
//! what a Kubernetes Status needs to say about it (details).

mod status;

use std::{error, fmt, time::Duration};

use crate::store::Revision;

/// A result with the kernel's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what the caller can do about it.
///
/// `docs/errors.md` maps each kind to an HTTP status and reason, a gRPC code and a Python exception.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The request cannot be understood. 400 `BadRequest`.
    BadRequest,
    /// No valid credential came with the request. 401 `Unauthorized`.
    Unauthorized,
    /// The identity may not do this. 403 `Forbidden`.
    Forbidden,
    /// What was named does not exist. 404 `NotFound`.
    NotFound,
    /// The resource does not support the verb. 405 `MethodNotAllowed`.
    MethodNotAllowed,
    /// No representation that the client accepts exists. 406 `NotAcceptable`.
    NotAcceptable,
    /// Something of that name exists already. 409 `AlreadyExists`.
    AlreadyExists,
    /// The object changed since it was read, or a precondition does not hold. 409 `Conflict`.
    Conflict,
    /// The revision is no longer kept. 410 `Expired`.
    Compacted,
    /// The body is too large. 413 `RequestEntityTooLarge`.
    TooLarge,
    /// The body's media type is not supported. 415 `UnsupportedMediaType`.
    UnsupportedMediaType,
    /// The object breaks its kind's rules. 422 `Invalid`.
    Invalid,
    /// Too many requests, or a budget forbids it now. 429 `TooManyRequests`.
    TooManyRequests,
    /// A bug or a broken promise of a part. 500 `InternalError`.
    Internal,
    /// Asked for something that this build does not do. 501 `NotImplemented`.
    NotSupported,
    /// A part that is needed cannot be reached now. 503 `ServiceUnavailable`.
    Unavailable,
    /// The deadline passed. 504 `Timeout`.
    Timeout,
    /// The revision asked for lies in the future. 504 `Timeout` with cause `ResourceVersionTooLarge`.
    FutureRevision,
    /// Stored data does not match its checksum or format. 500 `InternalError`.
    Corrupt,
    /// A disk or quota is full; reads still work. 507, reason `InsufficientStorage`.
    Full,
}

/// Whether a failed call may still have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It did not.
    NotApplied,
    /// It may have: the answer was lost. Read before retrying.
    Unknown,
}

/// One reason among several, as in `StatusCause`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// A machine-readable word, such as `FieldValueRequired`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The field's path, such as `spec.containers[0].name`.
    pub field: String,
}

/// What a Kubernetes Status says beyond its message (`StatusDetails`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name.
    pub name: String,
    /// The API group.
    pub group: String,
    /// The kind, or the resource's plural name where upstream says that.
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// Every reason that was found.
    pub causes: Vec<Cause>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The oldest revision still kept, with [`ErrorKind::Compacted`].
    pub compacted: Option<Revision>,
    /// A continue token that goes on inconsistently, with [`ErrorKind::Compacted`].
    pub continue_token: String,
    /// The Status reason, where it is not the kind's own.
    pub reason: String,
}

/// A failure, with what its reader needs to act.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    certainty: Certainty,
    message: String,
    details: Option<Box<Details>>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// Creates an error that is known to have had no effect.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, certainty: Certainty::NotApplied, message: message.into(), details: None, source: None }
    }

    /// Marks the call as possibly applied.
    #[must_use]
    pub fn maybe_applied(mut self) -> Self {
        self.certainty = Certainty::Unknown;
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Attaches what a Status needs.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Changes the details in place, starting from empty ones.
    #[must_use]
    pub fn detailed(mut self, change: impl FnOnce(&mut Details)) -> Self {
        change(self.details.get_or_insert_default());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the call may have taken effect.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        self.certainty
    }

    /// The message alone, without causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a Status needs, if anything was attached.
    #[must_use]
    pub fn details(&self) -> Option<&Details> {
        self.details.as_deref()
    }

    /// Whether the error is of that kind.
    #[must_use]
    pub fn is(&self, kind: ErrorKind) -> bool {
        self.kind == kind
    }

    /// A copy for a second reader; the source is kept as text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            kind: self.kind,
            certainty: self.certainty,
            message: self.message.clone(),
            details: self.details.clone(),
            source: self.source.as_ref().map(|source| source.to_string().into()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
