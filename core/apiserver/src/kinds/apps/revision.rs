//! ControllerRevisions.

use serde_json::{Value, json};

use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup};
use crate::kinds::{BASE, Kind};

pub(in crate::kinds) static REVISION: Kind = Kind { validate, ..BASE };

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (number, data) = (Field::top(new, "revision"), Field::top(new, "data"));
    if let Some(old) = old {
        errors.immutable(&data, lookup(old, "data"));
    } else if !data.present() {
        errors.required(&data, "data is mandatory");
    }
    if number.number() < 0 {
        errors.invalid(&number.with(&json!(number.number())), "must be greater than or equal to 0");
    }
}
