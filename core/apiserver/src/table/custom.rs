//! The columns of a custom resource, as its definition lists them (`additionalPrinterColumns`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::custom::path::JsonPath;

/// The columns of one version of a custom resource.
#[derive(Debug)]
pub struct Columns(Vec<Column>);

#[derive(Debug)]
struct Column {
    /// The definition of the column, as tables state it.
    shown: Value,
    kind: String,
    path: Option<JsonPath>,
}

impl Columns {
    /// Reads the columns of a version; one that lists none shows the age.
    pub(crate) fn read(version: &Value) -> Self {
        let column = |column: &Value| {
            let text = |name: &str| column[name].as_str().unwrap_or_default();
            let shown = json!({"name": text("name"), "type": text("type"), "format": text("format"),
                "description": text("description"), "priority": column["priority"].as_i64().unwrap_or_default()});
            Column { shown, kind: text("type").to_owned(), path: JsonPath::read(text("jsonPath")) }
        };
        let listed = version["additionalPrinterColumns"].as_array().filter(|columns| !columns.is_empty());
        Self(match listed {
            Some(columns) => columns.iter().map(column).collect(),
            None => vec![column(&json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}))],
        })
    }

    /// The column definitions, the name first.
    pub(super) fn definitions(&self) -> Value {
        let name = json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0});
        std::iter::once(name).chain(self.0.iter().map(|column| column.shown.clone())).collect()
    }

    /// The cells of an object.
    pub(super) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = object["metadata"]["name"].clone();
        std::iter::once(name).chain(self.0.iter().map(|column| column.cell(object, now))).collect()
    }
}

impl Column {
    fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(found) = self.path.as_ref().and_then(|path| path.first(object)) else { return Value::Null };
        match (self.kind.as_str(), found) {
            (_, Value::Null) => Value::Null,
            ("string", Value::String(_)) => found.clone(),
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(number)) => {
                let whole = number.as_i64().or_else(|| number.as_f64().map(|number| number as i64));
                whole.map_or(Value::Null, Value::from)
            }
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => found.clone(),
            ("date", Value::String(text)) if text.parse::<Timestamp>().is_ok() => age(text, now).into(),
            ("date", Value::String(_)) => "<invalid>".into(),
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_type_of_their_column() {
        let columns = Columns::read(&json!({"additionalPrinterColumns": [
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1},
            {"name": "Rule", "type": "string", "jsonPath": ".spec.rule"},
            {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            {"name": "Absent", "type": "string", "jsonPath": ".spec.absent"},
            {"name": "Wrong", "type": "integer", "jsonPath": ".spec.rule"}]}));
        let object = json!({"metadata": {"name": "x", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"replicas": 3, "rule": {"a": 1}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let cells = columns.cells(&object, Timestamp::from_second(300).unwrap());
        assert_eq!(
            cells,
            [json!("x"), json!(3), json!("True"), json!("{\"a\":1}"), json!("5m"), json!(null), json!(null)]
        );
        let plain = Columns::read(&json!({}));
        assert_eq!(plain.definitions()[1]["name"], "Age");
        assert_eq!(columns.definitions()[2]["priority"], 1);
    }
}
