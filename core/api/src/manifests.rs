//! Texts that state objects: YAML with any number of documents, and JSON, which is YAML. Reading files is not done here.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Which of the text's documents it is, from 1. Empty ones count.
    pub number: usize,
    /// What it says.
    pub value: Value,
}

/// Why a text states no objects, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// In which of the text's documents, from 1.
    pub document: usize,
    /// The line and the column, from 1, where the reader can tell.
    pub place: Option<(usize, usize)>,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// The documents of a text, without the empty ones.
///
/// A field that is stated twice is an error. Keys that are numbers or booleans become strings.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut found = Vec::new();
    for (at, document) in yaml_serde::Deserializer::from_str(text).enumerate() {
        let number = at + 1;
        // By way of YAML's own tree, which refuses a field that is stated twice.
        let tree = yaml_serde::Value::deserialize(document).map_err(|error| SyntaxError {
            document: number,
            place: error.location().map(|place| (place.line(), place.column())),
            message: error.to_string(),
        })?;
        let value = serde_json::to_value(tree).map_err(|error| SyntaxError {
            document: number,
            place: None,
            message: error.to_string(),
        })?;
        if !value.is_null() {
            found.push(Document { number, value });
        }
    }
    Ok(found)
}

/// A tree as YAML.
#[must_use]
pub fn to_yaml(tree: &Value) -> String {
    yaml_serde::to_string(tree).expect("a JSON tree has a YAML form")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = match documents(text) {
            Ok(found) => {
                found.iter().map(|one| format!("{}: {}", one.number, one.value)).collect::<Vec<_>>().join("; ")
            }
            Err(error) => format!("{} {:?}", error.document, error.place),
        };
        assert_eq!(shown, expect, "{text:?}");
    }

    #[test]
    fn a_text_holds_several_documents() {
        check("---\n# nothing\n---\na: 1\n---\n{b: [true]}\n", r#"2: {"a":1}; 3: {"b":[true]}"#);
        check("1: x\n", r#"1: {"1":"x"}"#);
        check("", "");
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        check("a: 1\n---\nb:\n  - c\n d: [\n", "2 Some((5, 2))");
        check("a: 1\nb: 2\na: 3\n", "1 Some((1, 1))");
    }

    #[test]
    fn a_tree_is_written_as_it_was_read() {
        let tree = documents("a:\n- b: x\n").unwrap().remove(0).value;
        assert_eq!(to_yaml(&tree), "a:\n- b: x\n");
    }
}
