//! What a registry asks for at a repository, and the answer to it.
//!
//! `oci-client` asks at `/v2/` how to say who it is. Registries that have repositories for everybody let that pass, and ask only
//! where a repository is not for everybody: this is for those. Nothing is asked unless a pull was refused.

use http_auth::{ChallengeRef, parser::ChallengeParser};
use oci_client::{
    secrets::RegistryAuth as Secret,
    token_cache::{RegistryToken, RegistryTokenType as Token},
};
use reqwest::{
    Client, StatusCode, Url,
    header::{HeaderMap, WWW_AUTHENTICATE},
};
use windlass_kernel::{Error, ErrorKind, Result};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// A user with a password, with each request.
    Basic,
    /// A token, which somebody gives at `realm`.
    Token { realm: String, service: Option<String>, scope: Option<String> },
}

/// Asks at a URL what it wants to know, and gets what answers it. `None` where nothing is wanted that `secret` has.
pub(super) async fn answer(client: &Client, url: &str, repository: &str, secret: &Secret) -> Result<Option<Token>> {
    let refused = |error: reqwest::Error| {
        // The URL of a request for a token is not told: it may carry what is nobody's business.
        Error::new(ErrorKind::Unavailable, "a registry's question cannot be answered").with_source(error.without_url())
    };
    let answer = client.get(url).send().await.map_err(refused)?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    match (asked(answer.headers()), secret) {
        (Some(Asked::Basic), Secret::Basic(user, password)) => Ok(Some(Token::Basic(user.clone(), password.clone()))),
        (Some(Asked::Token { realm, service, scope }), Secret::Basic(..) | Secret::Anonymous) => {
            let realm = trusted(&realm, url)?;
            let scope = scope.unwrap_or_else(|| format!("repository:{repository}:pull"));
            let mut request = client.get(realm).query(&[("scope", scope)]);
            if let Some(service) = service {
                request = request.query(&[("service", service)]);
            }
            if let Secret::Basic(user, password) = secret {
                request = request.basic_auth(user, Some(password));
            }
            let given = request.send().await.map_err(refused)?;
            if matches!(given.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Ok(None);
            }
            let given = given.error_for_status().map_err(refused)?.bytes().await.map_err(refused)?;
            let token: RegistryToken = serde_json::from_slice(&given).map_err(|error| {
                Error::new(ErrorKind::Unavailable, "a registry's token server answered with no token")
                    .with_source(error)
            })?;
            Ok(Some(Token::Bearer(token)))
        }
        _ => Ok(None),
    }
}

/// Where a token is given. A secret does not go there in the clear, unless it goes to the registry so, too.
fn trusted(realm: &str, registry: &str) -> Result<Url> {
    let wrong =
        |why: &str| Error::new(ErrorKind::Unavailable, format!("a registry sends for a token to {realm}: {why}"));
    let url: Url = realm.parse().map_err(|error| wrong("that is no URL").with_source(error))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if registry.starts_with("http://") => Ok(url),
        _ => Err(wrong("a secret would go there without TLS")),
    }
}

/// What a refusal asks for; a token goes before a password.
fn asked(headers: &HeaderMap) -> Option<Asked> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut basic = None;
    for challenge in texts.flat_map(ChallengeParser::new).map_while(std::result::Result::ok) {
        let of = |name: &str| parameter(&challenge, name);
        if challenge.scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = of("realm")
        {
            return Some(Asked::Token { realm, service: of("service"), scope: of("scope") });
        }
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Asked::Basic);
        }
    }
    basic
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&'static str], expect: Option<&Asked>) {
        let headers = lines.iter().map(|line| (WWW_AUTHENTICATE, line.parse().unwrap())).collect();
        assert_eq!(asked(&headers).as_ref(), expect, "{lines:?}");
    }

    #[test]
    fn a_refusal_says_what_is_asked_for() {
        let token = |service: Option<&str>, scope: Option<&str>| Asked::Token {
            realm: "https://a.local/token".into(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        check(&["Basic realm=\"r\""], Some(&Asked::Basic));
        check(&["Bearer realm=\"https://a.local/token\""], Some(&token(None, None)));
        let whole = "Bearer realm=\"https://a.local/token\",service=\"a\",scope=\"repository:b:pull,push\"";
        check(&[whole], Some(&token(Some("a"), Some("repository:b:pull,push"))));
        check(&["Basic realm=\"r\"", whole], Some(&token(Some("a"), Some("repository:b:pull,push"))));
        check(&["Bearer scope=\"a\", Basic realm=\"r\""], Some(&Asked::Basic));
        check(&["Negotiate"], None);
        check(&[], None);
    }

    #[test]
    fn a_secret_does_not_go_in_the_clear_where_it_went_by_tls() {
        for (realm, registry, expect) in [
            ("https://a.local/token", "https://b.local/v2/c/manifests/1", true),
            ("http://a.local/token", "https://b.local/v2/c/manifests/1", false),
            ("http://127.0.0.1:5001/token", "http://127.0.0.1:5000/v2/c/manifests/1", true),
            ("file:///etc/passwd", "http://127.0.0.1:5000/v2/c/manifests/1", false),
            ("token", "https://b.local/v2/c/manifests/1", false),
        ] {
            assert_eq!(trusted(realm, registry).is_ok(), expect, "{realm} {registry}");
        }
    }
}
