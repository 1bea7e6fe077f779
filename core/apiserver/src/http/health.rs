//! `/healthz`, `/livez` and `/readyz`.

use std::{
    fmt::{Debug, Write as _},
    sync::Arc,
};

use async_trait::async_trait;
use windlass_kernel::{Result, Store};

/// Something that must work for the server to be ready.
#[async_trait]
pub trait Check: Debug + Send + Sync + 'static {
    /// The check's name, as in `/readyz/NAME`.
    fn name(&self) -> &str;

    /// Whether it works.
    async fn check(&self) -> Result<()>;
}

/// Checks that the store answers.
#[derive(Clone, Debug)]
pub struct StoreCheck(Arc<dyn Store>);

impl StoreCheck {
    /// Asks `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl Check for StoreCheck {
    fn name(&self) -> &str {
        "store"
    }

    async fn check(&self) -> Result<()> {
        self.0.latest().await.map(drop)
    }
}

/// What the checks found: whether all is well, and the text to answer.
pub(super) fn report(page: &str, found: &[(String, Option<String>)], verbose: bool) -> (bool, String) {
    let well = found.iter().all(|(_, failure)| failure.is_none());
    if well && !verbose {
        return (true, "ok".into());
    }
    let mut text = String::new();
    for (name, failure) in found {
        // Writing to a String cannot fail.
        let _ = match failure {
            None => writeln!(text, "[+]{name} ok"),
            Some(_) => writeln!(text, "[-]{name} failed: reason withheld"),
        };
    }
    text.push_str(&format!("{page} check {}\n", if well { "passed" } else { "failed" }));
    (well, text)
}
