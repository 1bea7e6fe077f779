//! Who asks and whether they may: tokens, certificates, impersonation and role-based access control.
//!
//! Nothing here opens a connection; credentials come in and identities go out.

mod authenticators;
mod authorizers;
pub mod bootstrap;
mod bootstrap_tokens;
mod escalation;
mod impersonation;
#[cfg(feature = "http")]
mod keys;
mod node;
mod oidc;
mod rbac;
mod token;
#[cfg(feature = "http")]
mod x509;

#[cfg(feature = "cel")]
pub(crate) use self::authenticators::AUTHENTICATED;
#[cfg(feature = "http")]
pub(crate) use self::impersonation::forbidden;
pub(crate) use self::node::node_of;
pub use self::{
    authenticators::{AnyOf, StaticTokens},
    authorizers::InTurn,
    bootstrap_tokens::BootstrapTokens,
    escalation::Escalation,
    impersonation::{Impersonation, impersonate},
    node::NodeAuthorizer,
    oidc::{jwks, openid_configuration},
    rbac::{PolicyRule, Rbac, Scope},
    token::{Binding, Lookup, ServiceAccountTokens, TokenClaims, issue},
};
#[cfg(feature = "http")]
pub use self::{keys::EcdsaKeys, x509::ClientCertificates};
