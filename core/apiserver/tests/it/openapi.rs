//! OpenAPI documents as clients read them: version 3 by group, version 2 as JSON and as gnostic's protobuf.

use crate::rim::{self, Answer};

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The fields of a message, by number; numbers as one byte each are enough here.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut out, mut shift) = (0, 0);
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            out |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return out;
            }
        }
    }
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                let before = bytes;
                varint(&mut bytes);
                out.push((tag >> 3, &before[..before.len() - bytes.len()]));
                continue;
            }
            1 => 8,
            _ => usize::try_from(varint(&mut bytes)).unwrap(),
        };
        let (field, rest) = bytes.split_at(length);
        out.push((tag >> 3, field));
        bytes = rest;
    }
    out
}

/// All fields of one number.
fn all(message: &[u8], number: u64) -> Vec<&[u8]> {
    fields(message).into_iter().filter(|(own, _)| *own == number).map(|(_, field)| field).collect()
}

/// The first field behind these numbers, one message inside the other.
fn at<'m>(message: &'m [u8], numbers: &[u64]) -> &'m [u8] {
    numbers.iter().fold(message, |message, number| all(message, *number).into_iter().next().unwrap_or_default())
}

/// The message of that name among named ones.
fn named<'m>(message: &'m [u8], number: u64, name: &str) -> &'m [u8] {
    let found = all(message, number).into_iter().find(|pair| at(pair, &[1]) == name.as_bytes());
    at(found.unwrap_or_else(|| panic!("no {name}")), &[2])
}

#[tokio::test]
async fn version_2_is_also_protobuf() {
    let rim = rim::start().await;
    let answer = rim.send(&format!("GET /openapi/v2\naccept: {PROTOBUF}")).await;
    assert_eq!(answer.header("content-type"), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let document = &answer.body[..];
    assert_eq!((at(document, &[1]), at(document, &[2, 1])), (&b"2.0"[..], &b"Kubernetes"[..]));

    let path = named(at(document, &[8]), 2, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    let patch = at(path, &[8]);
    assert_eq!(at(patch, &[5]), b"patchAppsV1NamespacedDeployment");
    let kind = named(patch, 13, "x-kubernetes-group-version-kind");
    assert_eq!(at(kind, &[2]), br#"{"group":"apps","kind":"Deployment","version":"v1"}"#);
    // A body among the parameters of the operation, a path parameter among those of the path.
    let bodies: Vec<_> = all(patch, 8).into_iter().map(|item| at(item, &[1, 1, 3])).collect();
    assert!(bodies.contains(&&b"body"[..]), "{bodies:?}");
    let queries: Vec<_> = all(patch, 8).into_iter().map(|item| at(item, &[1, 2, 3, 4])).collect();
    assert!(queries.contains(&&b"fieldValidation"[..]), "{queries:?}");
    let names: Vec<_> = all(path, 9).into_iter().map(|item| at(item, &[1, 2, 4, 4])).collect();
    assert!(names.contains(&&b"namespace"[..]), "{names:?}");
    let ok = named(at(patch, &[9]), 1, "200");
    assert_eq!(at(ok, &[1, 2, 1, 1]), b"#/definitions/io.k8s.api.apps.v1.Deployment");

    let spec = named(at(document, &[9]), 1, "io.k8s.api.core.v1.PodSpec");
    let containers = named(at(spec, &[25]), 1, "containers");
    assert_eq!(at(containers, &[22, 1]), b"array");
    assert_eq!(at(containers, &[23, 1, 1]), b"#/definitions/io.k8s.api.core.v1.Container");
    assert_eq!(at(named(containers, 31, "x-kubernetes-patch-merge-key"), &[2]), br#""name""#);
    assert_eq!(all(spec, 19), [&b"containers"[..]]);
}

#[tokio::test]
async fn a_known_document_is_not_sent_again() {
    let rim = rim::start().await;
    let again = async |path: &str, accept: &str, first: &Answer| {
        let tag = first.header("etag").to_owned();
        assert!(!tag.is_empty(), "{path}");
        rim.send(&format!("GET {path}\naccept: {accept}\nif-none-match: {tag}")).await.code
    };
    let mut tags = Vec::new();
    for (path, accept) in [
        ("/openapi/v2", "application/json"),
        ("/openapi/v2", PROTOBUF),
        ("/openapi/v3", "application/json"),
        ("/openapi/v3/apis/apps/v1", "application/json"),
    ] {
        let first = rim.send(&format!("GET {path}\naccept: {accept}")).await;
        assert_eq!((first.code, again(path, accept, &first).await), (200, 304), "{path} {accept}");
        tags.push(first.header("etag").to_owned());
    }
    assert_ne!(tags[0], tags[1], "the two forms are two entities");
    assert_eq!(rim.send("GET /openapi/v2\naccept: text/html").await.code, 406);
    let plain = rim.send("GET /openapi/v2").await;
    assert_eq!((plain.header("content-type"), plain.json()["swagger"].as_str()), ("application/json", Some("2.0")));
}
