//! `Accept` headers: which encoding and shape an answer takes. Pure.

use hyper::{HeaderMap, header};
use windlass_kernel::{
    Result,
    error::{Error, ErrorKind},
};

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

impl Encoding {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What an answer shows of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// All of them.
    Whole,
    /// Rows; the text is the version asked for.
    Table(&'static str),
    /// Their metadata; the text is the version asked for.
    Metadata(&'static str),
}

/// What an answer can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    /// Whether a protobuf form exists.
    pub(super) protobuf: bool,
    /// Whether the answer is made of objects with metadata.
    pub(super) shapes: bool,
    /// Whether it is a stream of events, which YAML has no form for.
    pub(super) stream: bool,
}

/// One alternative of an `Accept` header.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clause {
    pub(super) media_type: String,
    pub(super) parameters: Vec<(String, String)>,
    quality: f32,
}

impl Clause {
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// The alternatives, the most wanted first.
pub(super) fn clauses(headers: &HeaderMap) -> Vec<Clause> {
    let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut out: Vec<Clause> = texts.flat_map(|text| text.split(',')).filter_map(clause).collect();
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    out
}

fn clause(text: &str) -> Option<Clause> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().filter(|text| !text.is_empty())?.to_ascii_lowercase();
    let mut out = Clause { media_type, quality: 1.0, ..Clause::default() };
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "q" => out.quality = value.parse().unwrap_or(1.0),
            _ => out.parameters.push((key.into(), value.trim_matches('"').into())),
        }
    }
    (out.quality > 0.0).then_some(out)
}

/// Whether protobuf is what is wanted most, as typed clients say it: those are refused in protobuf, too.
pub(super) fn begins_with_protobuf(headers: &HeaderMap) -> bool {
    let first = headers.get(header::ACCEPT).map(|value| value.as_bytes());
    first.is_some_and(|text| text.starts_with(Encoding::Protobuf.media_type().as_bytes()))
}

/// The first alternative that can be offered; JSON where nothing is asked for.
pub(super) fn choose(headers: &HeaderMap, offer: Offer) -> Result<(Encoding, Shape)> {
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok((Encoding::Json, Shape::Whole));
    }
    clauses.iter().find_map(|clause| fits(clause, offer)).ok_or_else(|| {
        let known = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
        let known = if offer.protobuf { &known[..] } else { &known[..2] };
        Error::new(
            ErrorKind::NotAcceptable,
            format!("only the following media types are accepted: {}", known.join(", ")),
        )
    })
}

fn fits(clause: &Clause, offer: Offer) -> Option<(Encoding, Shape)> {
    let encoding = match clause.media_type.as_str() {
        "application/json" | "application/*" | "*/*" => Encoding::Json,
        "application/yaml" if !offer.stream => Encoding::Yaml,
        "application/vnd.kubernetes.protobuf" if offer.protobuf => Encoding::Protobuf,
        _ => return None,
    };
    let version = match clause.parameter("v") {
        "v1" => "v1",
        "v1beta1" => "v1beta1",
        _ => "",
    };
    let shape = match (clause.parameter("as"), version) {
        ("", _) => Shape::Whole,
        (_, "") => return None,
        ("Table", version) => Shape::Table(version),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", version) => Shape::Metadata(version),
        _ => return None,
    };
    if shape != Shape::Whole && (!offer.shapes || clause.parameter("g") != "meta.k8s.io") {
        return None;
    }
    // Tables have no protobuf form worth having: their cells are JSON.
    if encoding == Encoding::Protobuf && matches!(shape, Shape::Table(_)) {
        return None;
    }
    Some((encoding, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer = Offer { protobuf: true, shapes: true, stream: false };

    fn check(accept: &str, offer: Offer, expect: Option<(Encoding, Shape)>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        assert_eq!(choose(&headers, offer).ok(), expect, "{accept}");
    }

    #[test]
    fn the_first_alternative_that_exists_is_taken() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        check("*/*", ALL, Some((Encoding::Json, Shape::Whole)));
        check("application/vnd.kubernetes.protobuf,application/json", ALL, Some((Encoding::Protobuf, Shape::Whole)));
        let no_protobuf = Offer { protobuf: false, ..ALL };
        check(
            "application/vnd.kubernetes.protobuf,application/json",
            no_protobuf,
            Some((Encoding::Json, Shape::Whole)),
        );
        check(&format!("{table},application/json"), ALL, Some((Encoding::Json, Shape::Table("v1"))));
        check(
            &format!("{table},application/json"),
            Offer { shapes: false, ..ALL },
            Some((Encoding::Json, Shape::Whole)),
        );
        check(table, Offer { shapes: false, ..ALL }, None);
        check("application/json;q=0.5,application/yaml", ALL, Some((Encoding::Yaml, Shape::Whole)));
        check("application/yaml", Offer { stream: true, ..ALL }, None);
        check("application/cbor", ALL, None);
        check("application/json;stream=watch", Offer { stream: true, ..ALL }, Some((Encoding::Json, Shape::Whole)));
    }
}
