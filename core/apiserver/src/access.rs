//! Who asks and whether they may: tokens, certificates, impersonation and role-based access control.
//!
//! Nothing here opens a connection; credentials come in and identities go out.

mod authenticators;
pub mod bootstrap;
mod escalation;
mod impersonation;
#[cfg(feature = "http")]
mod keys;
mod oidc;
mod rbac;
mod token;
#[cfg(feature = "http")]
mod x509;

#[cfg(feature = "http")]
pub(crate) use self::impersonation::forbidden;
pub use self::{
    authenticators::{AnyOf, StaticTokens},
    escalation::Escalation,
    impersonation::{Impersonation, impersonate},
    oidc::{jwks, openid_configuration},
    rbac::{PolicyRule, Rbac, Scope},
    token::{Binding, Lookup, ServiceAccountTokens, TokenClaims, issue},
};
#[cfg(feature = "http")]
pub use self::{keys::EcdsaKeys, x509::ClientCertificates};
