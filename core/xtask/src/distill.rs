//! `cargo xtask distill`: upstream's published documents become the sentence-free tables of `core/api/data`.
//!
//! It keeps names, numbers, flags and keys; it copies no description. `zero.tsv` is kept by hand: it says, where the
//! OpenAPI documents do not, which fields are pointers (`p`) and which are left out when empty (`o`) or zero (`z`).

mod definitions;
mod proto;
mod resources;

use crate::tables::{Field, Resource, Type, data};
use anyhow::Context as _;
use std::path::Path;

/// Writes `types.tsv`, `fields.tsv` and `resources.tsv` from the documents in `from`.
pub(crate) fn run(from: &Path) -> anyhow::Result<()> {
    let messages = proto::load(&from.join("proto-fields.tsv"))?;
    let flags = definitions::zero_flags()?;
    let (types, fields) = definitions::distill(&from.join("openapi-v3-1.36"), &messages, &flags)?;
    let resources = resources::distill(&from.join("api-resources.tsv"))?;

    write("types.tsv", Type::HEADER, types.iter().map(Type::line))?;
    write("fields.tsv", Field::HEADER, fields.iter().map(Field::line))?;
    write("resources.tsv", Resource::HEADER, resources.iter().map(Resource::line))?;
    println!("{} types, {} fields, {} resources and sub-resources", types.len(), fields.len(), resources.len());
    Ok(())
}

fn write(name: &str, header: &str, lines: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let path = data().join(name);
    let mut text = format!("{header}\n");
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
