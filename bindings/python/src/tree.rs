//! JSON as objects of Python, made in one pass: names and short texts that come again are one string.

use std::{cell::RefCell, fmt};

use pyo3::{
    IntoPyObjectExt,
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString, PyType},
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use windlass::kernel::api::List;

/// Longer texts are seldom the same.
const SHORT: usize = 40;
/// How many texts are known at a time.
const KNOWN: usize = 1024;
/// Whole numbers from here on may be the nearest ones only.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads JSON: an object becomes an `outer`, those within it become `inner`, both subclasses of `dict`.
///
/// A `ValueError` says that it cannot be read here. Python's own reader takes more, such as numbers of any size, and
/// says more.
#[pyfunction]
pub(crate) fn parse<'py>(
    json: &Bound<'py, PyBytes>,
    outer: &Bound<'py, PyType>,
    inner: &Bound<'py, PyType>,
) -> PyResult<Bound<'py, PyAny>> {
    let trees = Trees::new(inner);
    whole(json.as_bytes(), Tree { trees: &trees, of: outer })
}

/// A list as it was read: its objects are made Python's by whoever knows their classes.
#[pyclass(frozen, module = "windlass._native")]
pub(crate) struct Listed(List);

impl Listed {
    pub(crate) fn new(list: List) -> Self {
        Self(list)
    }
}

#[pymethods]
impl Listed {
    /// The resource version that was read.
    fn resource_version(&self) -> String {
        self.0.revision.to_string()
    }

    /// Where the next page begins; empty on the last.
    fn continue_token(&self) -> &str {
        &self.0.continue_token
    }

    /// The bytes of all objects.
    fn size(&self) -> usize {
        self.0.items.iter().map(windlass::kernel::Document::len).sum()
    }

    /// The objects, which say what they are before anything else; as [`parse`] makes them, and what it cannot read as
    /// `other` makes it of the bytes.
    fn objects<'py>(
        &self,
        outer: &Bound<'py, PyType>,
        inner: &Bound<'py, PyType>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = outer.py();
        let trees = Trees::new(inner);
        let kind = self.0.kind.strip_suffix("List").unwrap_or_default();
        let known = [("apiVersion", self.0.api_version.as_str()), ("kind", kind)];
        let known = known.map(|(name, value)| (trees.text(name), trees.text(value)));
        let made = PyList::empty(py);
        let mut json = Vec::new();
        for item in &self.0.items {
            json.clear();
            item.write_to(&mut json);
            let object = new(outer)?;
            for (name, value) in &known {
                object.set_item(name, value)?;
            }
            if whole(&json, Fields { trees: &trees, into: &object }).is_err() {
                object.call_method1("update", (other.call1((PyBytes::new(py, &json),))?,))?;
            }
            made.append(object)?;
        }
        Ok(made)
    }
}

/// An empty object of a class.
fn new<'py>(of: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyDict>> {
    Ok(of.call0()?.cast_into()?)
}

fn whole<'de, S: DeserializeSeed<'de>>(json: &'de [u8], seed: S) -> PyResult<S::Value> {
    let mut from = serde_json::Deserializer::from_slice(json);
    let read = seed.deserialize(&mut from).and_then(|made| from.end().map(|()| made));
    read.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// A text, and the string that was made of it.
type Known<'py> = Option<(Box<str>, Bound<'py, PyString>)>;

/// What trees are made with.
struct Trees<'py> {
    inner: Bound<'py, PyType>,
    /// By their sum.
    known: RefCell<Vec<Known<'py>>>,
}

impl<'py> Trees<'py> {
    fn new(inner: &Bound<'py, PyType>) -> Self {
        Self { inner: inner.clone(), known: RefCell::new(vec![None; KNOWN]) }
    }

    fn py(&self) -> Python<'py> {
        self.inner.py()
    }

    /// The string of a text; that of before where it is known.
    fn text(&self, text: &str) -> Bound<'py, PyString> {
        if text.len() > SHORT {
            return PyString::new(self.py(), text);
        }
        let sum = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let at = usize::try_from(sum >> 32).unwrap_or(0) % KNOWN;
        let place = &mut self.known.borrow_mut()[at];
        match place {
            Some((own, string)) if **own == *text => string.clone(),
            _ => {
                let string = PyString::new(self.py(), text);
                *place = Some((text.into(), string.clone()));
                string
            }
        }
    }
}

/// Any value; an object is one of a class.
struct Tree<'t, 'py> {
    trees: &'t Trees<'py>,
    of: &'t Bound<'py, PyType>,
}

impl<'de, 'py> DeserializeSeed<'de> for Tree<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

/// What Python makes of a plain value.
fn plain<'py, T: IntoPyObject<'py>, E: Error>(py: Python<'py>, value: T) -> Result<Bound<'py, PyAny>, E> {
    value.into_bound_py_any(py).map_err(failed)
}

fn failed<E: Error>(error: PyErr) -> E {
    E::custom(error)
}

impl<'de, 'py> Visitor<'de> for Tree<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.trees.py().None().into_bound(self.trees.py()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        plain(self.trees.py(), value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        plain(self.trees.py(), value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        plain(self.trees.py(), value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        if value.abs() >= EXACT {
            return Err(E::custom("a number is too large to be exact"));
        }
        plain(self.trees.py(), value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.trees.text(value).into_any())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.trees.py());
        while let Some(item) = items.next_element_seed(Tree { trees: self.trees, of: &self.trees.inner })? {
            list.append(item).map_err(failed)?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        let object = new(self.of).map_err(failed)?;
        Fields { trees: self.trees, into: &object }.visit_map(fields)?;
        Ok(object.into_any())
    }
}

/// The fields of an object that is there.
struct Fields<'t, 'py> {
    trees: &'t Trees<'py>,
    into: &'t Bound<'py, PyDict>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key_seed(Name(self.trees))? {
            let value = fields.next_value_seed(Tree { trees: self.trees, of: &self.trees.inner })?;
            self.into.set_item(name, value).map_err(failed)?;
        }
        Ok(())
    }
}

/// The name of a field.
struct Name<'t, 'py>(&'t Trees<'py>);

impl<'de, 'py> DeserializeSeed<'de> for Name<'_, 'py> {
    type Value = Bound<'py, PyString>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'py> Visitor<'_> for Name<'_, 'py> {
    type Value = Bound<'py, PyString>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.text(name))
    }
}
