//! The fact tables of `core/api/data`: their rows, and reading and writing them as tab-separated text.
//!
//! What a row means is said here once; `distill` fills the tables, `codegen` turns them into Rust.

use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};

/// A row of `types.tsv`.
#[derive(Clone, Debug)]
pub(crate) struct Type {
    /// The OpenAPI definition name.
    pub name: String,
    /// The variant of `schema::Codec`.
    pub codec: String,
    /// Whether the object is owned as a whole (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// The kinds that the type stands for, as `group/version/Kind`; meta types of every group list the core one only.
    pub kinds: Vec<String>,
    /// Whether upstream publishes a definition of it (the others are known from protobuf only).
    pub published: bool,
}

/// A row of `fields.tsv`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Field {
    /// The definition that has the field.
    pub of_type: String,
    /// The JSON name; empty for an embedded message.
    pub json: String,
    /// The protobuf number, 0 where there is none on this level.
    pub number: u32,
    /// `one`, `list` or `map`.
    pub shape: String,
    /// `string`, `bytes`, `bool`, `int32`, `int64`, `double` or a definition name.
    pub kind: String,
    /// Whether the definition lists it as required.
    pub required: bool,
    /// `pointer`, `omit` or `write`.
    pub zero: String,
    /// The list or map type, or empty.
    pub list: String,
    /// The keys of a list of type map.
    pub keys: Vec<String>,
    /// The patch strategies.
    pub strategy: Vec<String>,
    /// The merge key of patches, or empty.
    pub merge_key: String,
    /// The published default as JSON, or empty.
    pub default: String,
}

/// A row of `resources.tsv`: a resource, or a sub-resource of the row before.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub subresource: String,
    pub namespaced: bool,
    pub kind: String,
    pub kind_group: String,
    pub kind_version: String,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub patches: Vec<String>,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// The folder of the fact tables.
pub(crate) fn data() -> PathBuf {
    root().join("core/api/data")
}

/// Reads a table's rows below its header; every row has `width` cells.
pub(crate) fn read(path: &Path, width: usize) -> anyhow::Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows = text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| {
        ensure!(row.len() == width, "{}: a row has {} cells, not {width}: {row:?}", path.display(), row.len());
        Ok(row)
    })
    .collect()
}

/// The rows of a table that is distilled, and of the one that is kept by hand beside it.
fn both(name: &str, width: usize) -> anyhow::Result<Vec<Vec<String>>> {
    let mut rows = read(&data().join(name), width)?;
    rows.extend(read(&data().join(format!("own-{name}")), width)?);
    Ok(rows)
}

fn words(cell: &str) -> Vec<String> {
    cell.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

impl Type {
    /// The header of `types.tsv`.
    pub(crate) const HEADER: &str = "type\tcodec\tatomic\tkinds\tpublished";

    /// The row as a line.
    pub(crate) fn line(&self) -> String {
        [&self.name, &self.codec, flag(self.atomic), &self.kinds.join(","), flag(self.published)].join("\t")
    }

    /// Reads `types.tsv`.
    pub(crate) fn load() -> anyhow::Result<Vec<Self>> {
        let rows = both("types.tsv", 5)?;
        let of = |r: Vec<String>| Self {
            name: r[0].clone(),
            codec: r[1].clone(),
            atomic: r[2] == "yes",
            kinds: words(&r[3]),
            published: r[4] == "yes",
        };
        Ok(rows.into_iter().map(of).collect())
    }
}

impl Field {
    /// The header of `fields.tsv`.
    pub(crate) const HEADER: &str =
        "type\tfield\tnumber\tshape\tof\trequired\tzero\tlist\tkeys\tstrategy\tmerge_key\tdefault";

    /// Whether the field is a message embedded in its parent's JSON object.
    pub(crate) fn inline(&self) -> bool {
        self.json.is_empty()
    }

    /// The row as a line.
    pub(crate) fn line(&self) -> String {
        let cells: [&str; 12] = [
            &self.of_type,
            &self.json,
            &self.number.to_string(),
            &self.shape,
            &self.kind,
            flag(self.required),
            &self.zero,
            &self.list,
            &self.keys.join(","),
            &self.strategy.join(","),
            &self.merge_key,
            &self.default,
        ];
        cells.join("\t")
    }

    /// Reads `fields.tsv`.
    pub(crate) fn load() -> anyhow::Result<Vec<Self>> {
        let of = |r: Vec<String>| -> anyhow::Result<Self> {
            Ok(Self {
                of_type: r[0].clone(),
                json: r[1].clone(),
                number: r[2].parse()?,
                shape: r[3].clone(),
                kind: r[4].clone(),
                required: r[5] == "yes",
                zero: r[6].clone(),
                list: r[7].clone(),
                keys: words(&r[8]),
                strategy: words(&r[9]),
                merge_key: r[10].clone(),
                default: r[11].clone(),
            })
        };
        both("fields.tsv", 12)?.into_iter().map(of).collect()
    }
}

impl Resource {
    /// The header of `resources.tsv`.
    pub(crate) const HEADER: &str = "group\tversion\tplural\tsubresource\tnamespaced\tkind\tkind_group\tkind_version\t\
                                     verbs\tshort_names\tcategories\tpatches";

    /// The row as a line.
    pub(crate) fn line(&self) -> String {
        let cells: [&str; 12] = [
            &self.group,
            &self.version,
            &self.plural,
            &self.subresource,
            flag(self.namespaced),
            &self.kind,
            &self.kind_group,
            &self.kind_version,
            &self.verbs.join(","),
            &self.short_names.join(","),
            &self.categories.join(","),
            &self.patches.join(","),
        ];
        cells.join("\t")
    }

    /// Reads `resources.tsv`.
    pub(crate) fn load() -> anyhow::Result<Vec<Self>> {
        let of = |r: Vec<String>| Self {
            group: r[0].clone(),
            version: r[1].clone(),
            plural: r[2].clone(),
            subresource: r[3].clone(),
            namespaced: r[4] == "yes",
            kind: r[5].clone(),
            kind_group: r[6].clone(),
            kind_version: r[7].clone(),
            verbs: words(&r[8]),
            short_names: words(&r[9]),
            categories: words(&r[10]),
            patches: words(&r[11]),
        };
        Ok(both("resources.tsv", 12)?.into_iter().map(of).collect())
    }
}

fn flag(yes: bool) -> &'static str {
    if yes { "yes" } else { "" }
}
