//! What types and fields mean, for `kubectl explain`: an input, so that only programs for people carry the texts.

use std::{collections::BTreeMap, fmt::Debug};

/// What a type and its fields are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The type itself; empty where nothing is known.
    pub text: String,
    /// The fields, by their JSON names.
    pub fields: BTreeMap<String, String>,
}

/// Where the texts of a document come from.
///
/// # Contract
///
/// 1. **For one document.** A server opens the texts for each document that it writes and drops them with it, so whatever
///    is kept to answer quickly lives no longer than that.
pub trait Texts: Debug + Send + Sync + 'static {
    /// What the texts are known by; it changes when they do, because clients keep documents for as long as their name
    /// stays the same.
    fn edition(&self) -> &str;

    /// Opens the texts.
    fn open(&self) -> Box<dyn Describe>;
}

/// Texts that are being read.
pub trait Describe {
    /// What the type of an OpenAPI definition is, such as `io.k8s.api.core.v1.Pod`. Asked once for each definition.
    fn describe(&mut self, definition: &str) -> Option<Description>;
}

/// Says nothing.
impl Texts for () {
    fn edition(&self) -> &'static str {
        ""
    }

    fn open(&self) -> Box<dyn Describe> {
        Box::new(())
    }
}

impl Describe for () {
    fn describe(&mut self, _: &str) -> Option<Description> {
        None
    }
}
