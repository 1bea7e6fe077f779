//! Everything that is served and is not a resource: discovery, OpenAPI, health, metrics, keys and the version.

use std::{fmt::Write as _, sync::Arc};

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use windlass_kernel::{
    Result,
    error::{Error, ErrorKind},
};

use super::{
    body::{Body, full},
    documents::Packed,
    gzip,
    handler::Server,
    health,
    negotiate::clauses,
    options,
};
use crate::{
    access,
    discovery::{self, AggregatedVersion, Snapshot},
};

/// OpenAPI 2 as protobuf, as clients ask for it.
const GNOSTIC: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const GNOSTIC_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const OPEN: &str = "application/openmetrics-text";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const AGGREGATED: [AggregatedVersion; 2] = [AggregatedVersion::V2, AggregatedVersion::V2Beta1];

/// One request for a page.
pub(super) struct Page<'r> {
    pub(super) path: &'r str,
    pub(super) query: &'r str,
    pub(super) headers: &'r HeaderMap,
}

impl Server {
    /// Answers a page; `None` where there is no such page.
    pub(super) async fn page(&self, page: &Page<'_>) -> Result<Option<Response<Body>>> {
        let path = page.path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(page.path);
        let snapshot = self.parts().catalog.snapshot();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let document = |value: Option<Value>| value.map(|value| tagged(page, "application/json", &value));
        Ok(match segments[..] {
            [""] => Some(json_answer(&json!({"paths": self.paths(&snapshot)}))),
            ["version"] => Some(json_answer(&discovery::version())),
            ["healthz" | "livez" | "readyz", ..] => self.health(&segments, page).await,
            ["metrics"] => {
                let asked = page.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
                let open = asked.flat_map(|value| value.split(',')).any(|clause| clause.trim().starts_with(OPEN));
                let kind = if open { OPEN_METRICS } else { PROMETHEUS };
                if let Some(inside) = &self.parts().inside {
                    self.metrics().stored(&inside.stored().await?);
                }
                Some(answer(kind, self.metrics().text(open)))
            }
            ["api"] => Some(self.groups(&snapshot, page, true)),
            ["apis"] => Some(self.groups(&snapshot, page, false)),
            ["api", version] => document(discovery::api_resource_list(&snapshot, "", version)),
            ["apis", group] => document(discovery::api_group(&snapshot, group)),
            ["apis", group, version] => document(discovery::api_resource_list(&snapshot, group, version)),
            ["openapi", "v2"] => Some(self.openapi_v2(&snapshot, page).await?),
            ["openapi", "v3"] => Some(tagged(page, "application/json", &self.documents().index(&snapshot))),
            ["openapi", "v3", "api", version] => self.openapi_v3(&snapshot, "", version, page).await?,
            ["openapi", "v3", "apis", group, version] => self.openapi_v3(&snapshot, group, version, page).await?,
            [".well-known", "openid-configuration"] => self.issuer().map(|issuer| {
                let document = access::openid_configuration(&issuer.issuer, &issuer.jwks_uri, &*issuer.keys);
                cached(answer("application/json", document.to_string()))
            }),
            ["openid", "v1", "jwks"] => self
                .issuer()
                .map(|issuer| cached(answer("application/jwk-set+json", access::jwks(&*issuer.keys).to_string()))),
            _ => None,
        })
    }

    fn paths(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for (group, versions) in snapshot.groups() {
            let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
            paths.extend(versions.iter().map(|version| format!("{root}/{version}")));
            paths.push(root);
        }
        let fixed = ["/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
        paths.extend(fixed.map(str::to_owned));
        if self.issuer().is_some() {
            paths.extend(["/.well-known/openid-configuration".to_owned(), "/openid/v1/jwks".to_owned()]);
        }
        paths.sort();
        paths
    }

    /// `/api` and `/apis`, with everything below them for clients that ask for that.
    fn groups(&self, snapshot: &Snapshot, page: &Page<'_>, core: bool) -> Response<Body> {
        for clause in clauses(page.headers) {
            let wanted = AGGREGATED.iter().find(|version| {
                clause.media_type == "application/json"
                    && clause.parameter("as") == "APIGroupDiscoveryList"
                    && clause.parameter("g") == "apidiscovery.k8s.io"
                    && clause.parameter("v") == version.as_str()
            });
            if let Some(version) = wanted {
                let document = discovery::aggregated(snapshot, core, *version);
                return vary(tagged(page, version.media_type(), &document));
            }
            if clause.parameter("as").is_empty() {
                break;
            }
        }
        let document = if core {
            discovery::api_versions(snapshot, &self.parts().address)
        } else {
            discovery::api_group_list(snapshot)
        };
        vary(tagged(page, "application/json", &document))
    }

    async fn health(&self, segments: &[&str], page: &Page<'_>) -> Option<Response<Body>> {
        let mut found = vec![("ping".to_owned(), None)];
        let (name, only) = (segments[0], segments.get(1));
        if name != "livez" && self.stop().stopped() {
            found.push(("shutdown".into(), Some("the server is ending".into())));
        }
        for check in &self.parts().checks {
            let failure = check.check().await.err().map(|error| error.to_string());
            if let Some(failure) = &failure {
                tracing::warn!(check = check.name(), failure, "health check failed");
            }
            found.push((check.name().to_owned(), failure));
        }
        if let Some(only) = only {
            found.retain(|(name, _)| name == only);
            if found.is_empty() || segments.len() > 2 {
                return None;
            }
        }
        let verbose = options::parameter(page.query, "verbose").is_some();
        let (well, text) = health::report(name, &found, verbose);
        let mut out = answer("text/plain; charset=utf-8", text);
        out.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !well {
            *out.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        Some(out)
    }

    async fn openapi_v2(&self, snapshot: &Arc<Snapshot>, page: &Page<'_>) -> Result<Response<Body>> {
        let clauses = clauses(page.headers);
        let json = |media: &str| matches!(media, "*/*" | "application/*" | "application/json");
        let wanted = clauses.iter().find_map(|clause| match clause.media_type.as_str() {
            media if json(media) => Some("application/json"),
            // What clients ask for has an `@` in it, and what they are answered has a dot, as upstream's.
            GNOSTIC | "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" => Some(GNOSTIC_ANSWER),
            _ => None,
        });
        let Some(media_type) = wanted.or(clauses.is_empty().then_some("application/json")) else {
            let message = format!("only the following media types are accepted: application/json, {GNOSTIC}");
            return Err(Error::new(ErrorKind::NotAcceptable, message));
        };
        let (documents, snapshot) = (Arc::clone(self.documents()), Arc::clone(snapshot));
        let make = move || {
            if media_type == GNOSTIC_ANSWER { documents.v2_protobuf(&snapshot) } else { documents.v2(&snapshot) }
        };
        let document = self.apart("http.openapi", make).await?;
        Ok(vary(packed(page, media_type, &document)?))
    }

    async fn openapi_v3(
        &self,
        snapshot: &Arc<Snapshot>,
        group: &str,
        version: &str,
        page: &Page<'_>,
    ) -> Result<Option<Response<Body>>> {
        if !snapshot.serves(group, version) {
            return Ok(None);
        }
        let (documents, snapshot) = (Arc::clone(self.documents()), Arc::clone(snapshot));
        let (group, version) = (group.to_owned(), version.to_owned());
        let document = self.apart("http.openapi", move || documents.v3(&snapshot, &group, &version)).await?;
        let asked = options::parameter(page.query, "hash");
        if let Some(stale) = asked.as_ref().filter(|hash| **hash != document.tag) {
            // Old names lead to the new document (kube-openapi's handler3).
            tracing::debug!(stale, "redirecting to the current OpenAPI document");
            let mut out = answer("text/plain; charset=utf-8", String::new());
            *out.status_mut() = StatusCode::MOVED_PERMANENTLY;
            let mut place = page.path.to_owned();
            let _ = write!(place, "?hash={}", document.tag);
            if let Ok(place) = HeaderValue::try_from(place) {
                out.headers_mut().insert(header::LOCATION, place);
            }
            return Ok(Some(out));
        }
        let mut out = vary(packed(page, "application/json", &document)?);
        if asked.is_some() {
            let forever = HeaderValue::from_static("public, immutable");
            out.headers_mut().insert(header::CACHE_CONTROL, forever);
        }
        Ok(Some(out))
    }
}

/// A packed document, unpacked for those who do not take gzip.
fn packed(page: &Page<'_>, media_type: &'static str, document: &Packed) -> Result<Response<Body>> {
    let tag = format!("\"{}\"", document.tag);
    if let Some(unchanged) = unchanged(page, &tag) {
        return Ok(unchanged);
    }
    let mut out = if gzip::accepted(page.headers) {
        let mut out = answer(media_type, document.gzip.clone());
        out.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        out
    } else {
        let plain = gzip::unpack(&document.gzip);
        answer(media_type, plain.map_err(|error| Error::new(ErrorKind::Internal, "cannot unpack").with_source(error))?)
    };
    set(&mut out, header::ETAG, &tag);
    Ok(out)
}

/// A small document with a tag made from its bytes.
fn tagged(page: &Page<'_>, media_type: &'static str, document: &Value) -> Response<Body> {
    let text = document.to_string();
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let tag = digest.as_ref()[..16].iter().fold(String::from("\""), |mut tag, byte| {
        let _ = write!(tag, "{byte:02X}");
        tag
    }) + "\"";
    if let Some(unchanged) = unchanged(page, &tag) {
        return unchanged;
    }
    let mut out = if text.len() > gzip::THRESHOLD && gzip::accepted(page.headers) {
        match gzip::pack(|out| out.write_all(text.as_bytes())) {
            Ok(packed) => {
                let mut out = answer(media_type, packed);
                out.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                out
            }
            Err(_) => answer(media_type, text),
        }
    } else {
        answer(media_type, text)
    };
    set(&mut out, header::ETAG, &tag);
    set(&mut out, header::CACHE_CONTROL, "public");
    out
}

fn unchanged(page: &Page<'_>, tag: &str) -> Option<Response<Body>> {
    let known = page.headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let matches = known.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag);
    matches.then(|| {
        let mut out = Response::new(super::body::empty());
        *out.status_mut() = StatusCode::NOT_MODIFIED;
        set(&mut out, header::ETAG, tag);
        out
    })
}

fn vary(mut out: Response<Body>) -> Response<Body> {
    set(&mut out, header::VARY, "Accept");
    out
}

fn cached(mut out: Response<Body>) -> Response<Body> {
    set(&mut out, header::CACHE_CONTROL, "public, max-age=3600");
    out
}

fn set(out: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        out.headers_mut().insert(name, value);
    }
}

fn json_answer(value: &Value) -> Response<Body> {
    answer("application/json", format!("{value:#}"))
}

/// 200 with these bytes.
pub(super) fn answer(media_type: &'static str, bytes: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut out = Response::new(full(bytes));
    out.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    out
}
