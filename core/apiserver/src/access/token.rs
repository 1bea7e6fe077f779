//! Service-account tokens: JSON Web Tokens (RFC 7519) bound to an account and, if wanted, to a pod, secret or node.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_kernel::{
    Authenticator, Clock, Entropy, EntropyExt, Identity, Keys, Result,
    access::Credentials,
    api::GroupVersionResource,
    error::{Error, ErrorKind},
    keys::Signature,
};

/// An object's name and uid inside a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The name.
    pub name: String,
    /// The uid; empty where it is not checked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What a token says under `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Private {
    namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Binding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<Binding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Binding>,
    serviceaccount: Binding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warnafter: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    #[serde(deserialize_with = "one_or_many")]
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    iss: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Private,
    nbf: i64,
    sub: String,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(from)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

/// What a token is to say.
#[derive(Clone, Debug, Default)]
pub struct TokenClaims {
    /// Who issues it.
    pub issuer: String,
    /// Whom it is for.
    pub audiences: Vec<String>,
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub account: Binding,
    /// The pod it dies with.
    pub pod: Option<Binding>,
    /// The secret it dies with.
    pub secret: Option<Binding>,
    /// The node it dies with, or that its pod runs on.
    pub node: Option<Binding>,
    /// For how many seconds it is valid.
    pub seconds: i64,
    /// After how many seconds its use is worth a warning.
    pub warn_after: Option<i64>,
}

/// A signed token and the second (Unix time) at which it expires.
///
/// # Errors
///
/// Those of `keys`.
pub async fn issue(
    wanted: TokenClaims,
    keys: &dyn Keys,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(String, i64)> {
    let now = clock.now().as_second();
    let claims = Claims {
        aud: wanted.audiences,
        exp: now + wanted.seconds,
        iat: now,
        iss: wanted.issuer,
        jti: entropy.uuid(),
        nbf: now,
        sub: format!("system:serviceaccount:{}:{}", wanted.namespace, wanted.account.name),
        kubernetes: Private {
            namespace: wanted.namespace,
            node: wanted.node,
            pod: wanted.pod,
            secret: wanted.secret,
            serviceaccount: wanted.account,
            warnafter: wanted.warn_after.map(|after| now + after),
        },
    };
    let (key, algorithm) = keys.current();
    let head = serde_json::json!({"alg": algorithm, "kid": key});
    let mut token = encode(&head)?;
    token.push('.');
    token.push_str(&encode(&claims)?);
    let signature = keys.sign(token.as_bytes()).await?;
    if signature.key != key || signature.algorithm != algorithm {
        return Err(Error::new(ErrorKind::Unavailable, "the signing key changed while a token was made"));
    }
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(&signature.bytes));
    Ok((token, claims.exp))
}

fn encode(value: &impl Serialize) -> Result<String> {
    let bytes = serde_json::to_vec(value);
    let bytes = bytes.map_err(|error| Error::new(ErrorKind::Internal, "cannot encode a token").with_source(error))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads the objects that tokens are bound to.
#[async_trait]
pub trait Lookup: Debug + Send + Sync + 'static {
    /// The object's `metadata`; `None` where it does not exist.
    async fn metadata(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Option<Value>>;
}

/// Knows the service accounts behind tokens.
#[derive(Debug)]
pub struct ServiceAccountTokens {
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
    lookup: Arc<dyn Lookup>,
    issuer: String,
    audiences: Vec<String>,
}

impl ServiceAccountTokens {
    /// Accepts tokens of `issuer` for one of `audiences`.
    #[must_use]
    pub fn new(
        keys: Arc<dyn Keys>,
        clock: Arc<dyn Clock>,
        lookup: Arc<dyn Lookup>,
        issuer: impl Into<String>,
        audiences: Vec<String>,
    ) -> Self {
        Self { keys, clock, lookup, issuer: issuer.into(), audiences }
    }

    /// The identity behind a token for one of `audiences`, with those of them that the token is for.
    ///
    /// `None` where the token is not one of this issuer.
    ///
    /// # Errors
    ///
    /// [`Unauthorized`](ErrorKind::Unauthorized) where it is, but is not valid now.
    pub async fn review(&self, token: &str, audiences: &[String]) -> Result<Option<(Identity, Vec<String>)>> {
        let Some((claims, signed, signature)) = self.read(token) else { return Ok(None) };
        if !self.keys.verify(signed.as_bytes(), &signature) {
            return Err(refuse("invalid bearer token"));
        }
        let now = self.clock.now().as_second();
        if now >= claims.exp {
            return Err(refuse("service account token has expired"));
        }
        if now < claims.nbf {
            return Err(refuse("service account token is not valid yet"));
        }
        let shared: Vec<String> = audiences.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
        if shared.is_empty() {
            return Err(refuse("token audiences do not match"));
        }
        self.still_there(&claims.kubernetes).await?;
        Ok(Some((identity(claims), shared)))
    }

    fn read<'t>(&self, token: &'t str) -> Option<(Claims, &'t str, Signature)> {
        #[derive(Deserialize)]
        struct Head {
            alg: String,
            kid: String,
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let head: Head = serde_json::from_slice(&bytes(head)?).ok()?;
        let claims: Claims = serde_json::from_slice(&bytes(claims)?).ok()?;
        if claims.iss != self.issuer {
            return None;
        }
        Some((claims, signed, Signature { key: head.kid, algorithm: head.alg, bytes: bytes(signature)? }))
    }

    async fn still_there(&self, bound: &Private) -> Result<()> {
        let core = |resource| GroupVersionResource::of("", "v1", resource);
        let namespace = bound.namespace.as_str();
        self.exists(core("serviceaccounts"), namespace, &bound.serviceaccount).await?;
        for (resource, binding) in [("pods", &bound.pod), ("secrets", &bound.secret)] {
            if let Some(binding) = binding {
                self.exists(core(resource), namespace, binding).await?;
            }
        }
        match &bound.node {
            // The node of a pod is information; a node alone is what the token is bound to.
            Some(node) if bound.pod.is_none() => self.exists(core("nodes"), "", node).await,
            _ => Ok(()),
        }
    }

    async fn exists(&self, resource: GroupVersionResource, namespace: &str, bound: &Binding) -> Result<()> {
        let found = self.lookup.metadata(&resource, namespace, &bound.name).await?;
        let found = found.filter(|meta| bound.uid.is_empty() || meta["uid"] == bound.uid.as_str());
        let Some(meta) = found else {
            return Err(refuse("service account token is bound to an object that is gone"));
        };
        // An object that was to be gone a minute ago does not speak for anyone (KEP-1205).
        let gone = meta["deletionTimestamp"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        if gone.is_some_and(|at| at.as_second() + 60 < self.clock.now().as_second()) {
            return Err(refuse("service account token is bound to an object that is being deleted"));
        }
        Ok(())
    }
}

fn refuse(reason: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, "Unauthorized").with_source(reason)
}

fn identity(claims: Claims) -> Identity {
    let bound = claims.kubernetes;
    let namespace = &bound.namespace;
    let mut extra = BTreeMap::new();
    let mut say = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    if !claims.jti.is_empty() {
        say("credential-id", &format!("JTI={}", claims.jti));
    }
    for (word, binding) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(binding) = binding {
            say(&format!("{word}-name"), &binding.name);
            say(&format!("{word}-uid"), &binding.uid);
        }
    }
    let groups = vec![
        "system:serviceaccounts".into(),
        format!("system:serviceaccounts:{namespace}"),
        super::authenticators::AUTHENTICATED.into(),
    ];
    let name = format!("system:serviceaccount:{namespace}:{}", bound.serviceaccount.name);
    Identity { name, uid: bound.serviceaccount.uid, groups, extra }
}

#[async_trait]
impl Authenticator for ServiceAccountTokens {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(token) = &credentials.bearer else { return Ok(None) };
        let audiences = if credentials.audiences.is_empty() { &self.audiences } else { &credentials.audiences };
        Ok(self.review(token, audiences).await?.map(|(identity, _)| identity))
    }
}
