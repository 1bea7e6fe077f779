//! Authenticators that are made of others, and the simplest one.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use windlass_kernel::{
    Authenticator, Identity, Result,
    access::Credentials,
    error::{Error, ErrorKind},
};

/// The group of everyone who proved who they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// Asks several authenticators in turn; the first that knows the identity wins.
///
/// Whoever is known belongs to `system:authenticated`. A bearer token that nobody knows is refused; no credential at
/// all is nobody (`None`), and so is a certificate alone that nobody knows.
#[derive(Clone, Debug, Default)]
pub struct AnyOf(Vec<Arc<dyn Authenticator>>);

impl AnyOf {
    /// Nobody is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an authenticator, to be asked after the others.
    #[must_use]
    pub fn or(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.0.push(authenticator);
        self
    }
}

#[async_trait]
impl Authenticator for AnyOf {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let mut refusal = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(credentials).await {
                Ok(Some(mut identity)) => {
                    if !identity.belongs_to(AUTHENTICATED) && !identity.belongs_to("system:unauthenticated") {
                        identity.groups.push(AUTHENTICATED.into());
                    }
                    return Ok(Some(identity));
                }
                Ok(None) => {}
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(error) => Err(error),
            None if credentials.bearer.is_some() => Err(Error::new(ErrorKind::Unauthorized, "Unauthorized")),
            None => Ok(None),
        }
    }
}

/// Tokens that were given out beforehand.
#[derive(Clone, Default)]
pub struct StaticTokens(BTreeMap<String, Identity>);

impl StaticTokens {
    /// Adds a token. It must be hard to guess.
    #[must_use]
    pub fn with(mut self, token: impl Into<String>, identity: Identity) -> Self {
        self.0.insert(token.into(), identity);
        self
    }
}

impl std::fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.values().map(|identity| &identity.name)).finish()
    }
}

#[async_trait]
impl Authenticator for StaticTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(given) = credentials.bearer.as_ref().filter(|_| credentials.audiences.is_empty()) else {
            return Ok(None);
        };
        // Every token is compared in full, so that time tells nothing about how much of one was right.
        let known =
            self.0.iter().fold(
                None,
                |known, (token, identity)| {
                    if same(token.as_bytes(), given.as_bytes()) { Some(identity) } else { known }
                },
            );
        Ok(known.cloned())
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
