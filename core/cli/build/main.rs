//! Packs the texts of `kubectl explain`, from the schemas of the k8s-openapi crate, into one file for the binary.
//!
//! Data, not code: the texts are another project's, so they are taken from its crate and never checked in (ADR 19).

mod roots;

use std::{collections::BTreeMap, env, error::Error, fs::File, path::Path};

use flate2::{Compression, write::GzEncoder};
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// What a type is, and what its fields are.
type Description<'t> = (&'t str, BTreeMap<&'t str, &'t str>);

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    roots::add_all(&mut generator);
    let texts: BTreeMap<&str, Description<'_>> =
        generator.definitions().iter().map(|(name, schema)| (name.as_str(), described(schema))).collect();
    let folder = env::var_os("OUT_DIR").ok_or("cargo names a folder")?;
    let mut file = GzEncoder::new(File::create(Path::new(&folder).join("texts.json.gz"))?, Compression::best());
    serde_json::to_writer(&mut file, &texts)?;
    file.finish()?;
    Ok(())
}

fn described(schema: &Value) -> Description<'_> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let fields = fields.filter_map(|(name, field)| Some((name.as_str(), field["description"].as_str()?))).collect();
    (schema["description"].as_str().unwrap_or_default(), fields)
}
